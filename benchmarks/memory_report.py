"""The tables of the memory benchmarks."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.machine import describe
from benchmarks.memory_data import DIMENSION, SLICE
from benchmarks.memory_jobs import CHUNK_SIZE, CONSTRUCTION_WIDTH, LINKS
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of

REPORT = "memory"
_VERSIONS = ("faiss-cpu", "numpy", "uvloop", "protobuf", "asyncpg", "sentence-transformers", "torch")
_MIB = float(1 << 20)
_KINDS = {
    "all": "vectors",
    "half": "vectors, a filter that half fit",
    "tenth": "vectors, a tenth",
    "hundredth": "vectors, a hundredth",
    "chunks": "vectors, with the chunks read",
    "keyword": "words (BM25)",
    "hybrid": "vectors and words, 40 of each",
}

Figures = Mapping[str, float]
Case = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 1
    """Times that everything is measured, each in fresh processes."""
    sizes: tuple[int, ...] = (10_000, 100_000)
    """Numbers of chunks, with vectors like those of texts and with random ones."""
    queries: int = 300
    """Queries of each kind."""
    random_queries: int = 100
    """The same, of random vectors."""
    postgres_size: int = 20_000
    """Number of chunks in PostgreSQL."""
    turns: int = 3
    """Turns of the embedding model alone and of a bulk insertion."""
    documents: int = 12
    """Documents of a turn."""

    @classmethod
    def of(cls, *, rounds: int, quick: bool) -> "Plan":
        """Returns the usual plan, or one that is enough to see that everything runs; its figures mean little."""
        if quick:
            return cls(rounds, (2_000, 5_000), 50, 50, 2_000, 1, 4)
        return cls(rounds)

    @property
    def cases(self) -> list[Case]:
        """Kinds of vectors and numbers of chunks."""
        return [(kind, size) for kind in ("clustered", "random") for size in self.sizes]


@dataclass(frozen=True)
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    beside: Mapping[Case, Sequence[Figures]]
    """Bare library and store in turns, for each round."""
    alone: Sequence[Figures]
    """The store alone in its process, with the largest bank, for each round."""
    postgres: Sequence[Figures]
    """Bare pgvector and the PostgreSQL store in turns, for each round."""
    ingestion: Sequence[Figures]
    """The embedding model and a bulk insertion in turns, for each round."""


def report(outcome: Outcome, command: str) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        command: How to measure it again.
    """
    plan = outcome.plan
    alike = f"M={LINKS}, efConstruction={CONSTRUCTION_WIDTH}, one thread, 1000 chunks a write"
    conditions = [
        f"`{command}`",
        *describe(_VERSIONS),
        f"{DIMENSION} dimensions, cosine. Bare library: faiss IndexHNSWFlat, single precision. Both: {alike}.",
        "PostgreSQL on the same machine, fsync off, shared_buffers 256 MB; bare: a table of halfvec with pgvector's HNSW, both of m=16.",
        f"{plan.rounds} rounds of {plan.queries} queries of each kind ({plan.random_queries} of random vectors); medians.",
    ]
    tables = [
        _targets(outcome),
        _insert_table(outcome),
        _query_table(outcome),
        _postgres_table(outcome),
        _ingestion_table(outcome),
        _memory_table(outcome),
    ]
    return Report(REPORT, conditions, tables)


def _median(rounds: Sequence[Figures], name: str) -> float:
    return statistics.median(figures[name] for figures in rounds)


def _ratio(rounds: Sequence[Figures], name: str, other: str) -> float:
    return statistics.median(figures[name] / figures[other] for figures in rounds)


def _best_bare(rounds: Sequence[Figures], what: str = "p50") -> float:
    """The bare library's time: of its graph, or of comparing with all where its graph finds too little."""
    return statistics.median(figures.get(f"{what} bare flat", figures[f"{what} bare"]) for figures in rounds)


def _label(case: Case) -> str:
    return f"{case[1]:,} {case[0]}"


def _targets(outcome: Outcome) -> Table:
    targets = []
    for case, rounds in outcome.beside.items():
        where = _label(case)
        if case[1] < outcome.plan.sizes[-1]:
            continue
        targets += [
            Target("insert: rate / bare", where, _ratio(rounds, "bare_insert", "store_insert"), 0.7, at_least=True),
            Target("vector query: p50 / bare", where, _median(rounds, "p50 all") / _best_bare(rounds), 1.5),
            Target("recall@10", where, _median(rounds, "recall all"), 0.95, at_least=True, form=".3f"),
        ]
        targets += [
            Target(f"filtered query, {name}: p50 / unfiltered", where, _ratio(rounds, f"p50 {name}", "p50 all"), 2.0)
            for name in ("half", "tenth", "hundredth")
        ]
    where = f"{outcome.plan.postgres_size:,} clustered, PostgreSQL"
    rounds = outcome.postgres
    targets += [
        Target("insert: rate / bare", where, _ratio(rounds, "bare_insert", "store_insert"), 0.7, at_least=True),
        Target("vector query: p50 / bare", where, _ratio(rounds, "p50 all", "p50 bare"), 1.5),
        Target("recall@10", where, _median(rounds, "recall all"), 0.95, at_least=True, form=".3f"),
    ]
    targets += [
        Target(f"filtered query, {name}: p50 / unfiltered", where, _ratio(rounds, f"p50 {name}", "p50 all"), 2.0)
        for name in ("half", "tenth", "hundredth")
    ]
    rate = statistics.median(_rate(figures, "store") / _rate(figures, "bare") for figures in outcome.ingestion)
    targets.append(
        Target("bulk insertion: rate / embedding model alone", "MiniLM, one thread", rate, 0.9, at_least=True)
    )
    size = outcome.plan.sizes[-1]
    memory = _median(outcome.alone, "rss") / (size * DIMENSION * 4)
    targets.append(Target("memory of the process / size of the vectors", _label(("clustered", size)), memory, 2.0))
    bound = outcome.plan.sizes[-1] / outcome.plan.sizes[0]
    for kind in ("clustered", "random"):
        small, large = (outcome.beside[kind, size] for size in (outcome.plan.sizes[0], outcome.plan.sizes[-1]))
        growth = _median(large, "p50 all") / _median(small, "p50 all")
        targets.append(Target(f"vector query: cost of a bank {bound:.0f} times as large", kind, growth, bound))
    note = (
        "Where the bare graph finds fewer than the store at any width, the bare library's exact search is its measure. Random vectors have "
        "no structure that an index could use: all are compared, which costs as much more as there are more."
    )
    return table_of(targets, note=note)


def _insert_table(outcome: Outcome) -> Table:
    rows = []
    for case, rounds in outcome.beside.items():
        size = case[1]
        rows.append(
            [
                _label(case),
                f"{size / _median(rounds, 'bare_insert'):.0f}",
                f"{size / _median(rounds, 'store_insert'):.0f}",
                f"{_median(rounds, 'bare_insert_cpu') / size * 1e6:.0f}",
                f"{_median(rounds, 'store_insert_cpu') / size * 1e6:.0f}",
            ]
        )
    columns = ("chunks", "bare, chunks/s", "store, chunks/s", "bare, CPU µs a chunk", "store, CPU µs a chunk")
    note = (
        "The store writes text of 100 words, metadata and vector into the database, indexes words and metadata beside the vector, and "
        "returns when all of it is safe and found."
    )
    return Table("Insert", columns, rows, note)


def _query_table(outcome: Outcome) -> Table:
    rows = []
    for case, rounds in outcome.beside.items():
        width = f"efSearch {_median(rounds, 'bare_width'):.0f}"
        rows.append(
            [_label(case), f"bare graph, {width}", *_times(rounds, "bare"), f"{_median(rounds, 'recall bare'):.3f}"]
        )
        if all("p50 bare flat" in figures for figures in rounds):
            rows.append([_label(case), "bare, exact", *_times(rounds, "bare flat"), "1.000"])
        for kind, name in _KINDS.items():
            recall = f"{_median(rounds, f'recall {kind}'):.3f}" if f"recall {kind}" in rounds[0] else ""
            rows.append([_label(case), name, *_times(rounds, kind), recall])
    return Table("Queries", ("chunks", "", "p50 ms", "p99 ms", "CPU ms", "recall@10"), rows)


def _times(rounds: Sequence[Figures], name: str) -> list[str]:
    return [f"{_median(rounds, f'{what} {name}') * 1e3:.2f}" for what in ("p50", "p99", "cpu")]


def _postgres_table(outcome: Outcome) -> Table:
    rounds, size = outcome.postgres, outcome.plan.postgres_size
    names = {"bare": f"bare pgvector, ef_search {_median(rounds, 'bare_width'):.0f}"}
    names |= {kind: name for kind, name in _KINDS.items() if f"p50 {kind}" in rounds[0]}
    rows = [
        [
            name,
            *_times(rounds, kind)[:2],
            f"{_median(rounds, f'recall {kind}'):.3f}" if f"recall {kind}" in rounds[0] else "",
        ]
        for kind, name in names.items()
    ]
    note = (
        f"Insertion, {SLICE} chunks a write: the store {size / _median(rounds, 'store_insert'):.0f} chunks/s with documents, texts, "
        f"words and metadata; bare {size / _median(rounds, 'bare_insert'):.0f} vectors/s."
    )
    return Table(f"PostgreSQL, {size:,} clustered chunks", ("", "p50 ms", "p99 ms", "recall@10"), rows, note)


def _ingestion_table(outcome: Outcome) -> Table:
    rows = [
        [name, f"{statistics.median(_rate(figures, kind) for figures in outcome.ingestion):.1f}"]
        for kind, name in (
            ("bare", "all-MiniLM-L6-v2 alone, batches of 64"),
            ("store", "bulk insertion through the gateway"),
        )
    ]
    note = f"One thread of the model; chunks of {CHUNK_SIZE} tokens; documents are read, cut, embedded by the service and written."
    return Table("Embedding-bound insertion", ("", "chunks/s"), rows, note)


def _rate(figures: Figures, kind: str) -> float:
    return figures[f"{kind}_chunks"] / figures[kind]


def _memory_table(outcome: Outcome) -> Table:
    size = outcome.plan.sizes[-1]
    alone = outcome.alone
    rows = [
        ["vectors in single precision", f"{size * DIMENSION * 4 / _MIB:.0f}"],
        ["process before the bank", f"{_median(alone, 'base_rss') / _MIB:.0f}"],
        ["process with the bank", f"{_median(alone, 'rss') / _MIB:.0f}"],
        ["vectors, words and metadata, as the store counts", f"{_median(alone, 'counted') / _MIB:.0f}"],
    ]
    note = (
        f"{size:,} chunks. Opening the bank again takes {_median(alone, 'open'):.1f} s, of a snapshot that closing writes in "
        f"{_median(alone, 'close'):.1f} s."
    )
    return Table("Memory, MiB", ("", "MiB"), rows, note)
