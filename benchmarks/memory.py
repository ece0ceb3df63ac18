"""What the embedded memory store costs beside the bare vector library. `python -m benchmarks.memory --help`."""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from benchmarks.machine import describe
from benchmarks.memory_workload import CONSTRUCTION_WIDTH, DIMENSION, LINKS, MemoryJob
from benchmarks.processes import ROOT
from benchmarks.tables import Report, Table, show, write
from benchmarks.targets import Target, table_of

PAGE = ROOT / "docs" / "memory.md"
REPORT = "memory"
_VERSIONS = ("faiss-cpu", "numpy", "uvloop", "protobuf")
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
    """Numbers of chunks, with vectors like those of texts; the largest is measured with random vectors too."""
    queries: int = 300
    """Queries of each kind."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(sizes=(2_000, 5_000), queries=50)

    @property
    def cases(self) -> list[Case]:
        """Kinds of vectors and numbers of chunks."""
        return [*(("clustered", size) for size in self.sizes), ("random", self.sizes[-1])]


@dataclass(frozen=True)
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    beside: Mapping[Case, Sequence[Figures]]
    """Bare library and store in turns, for each round."""
    alone: Sequence[Figures]
    """The store alone in its process, with the largest bank, for each round."""


def measure(plan: Plan, console: Console) -> Outcome:
    """Measures everything.

    Args:
        plan: How much.
        console: Shows how far it is.
    """
    beside: dict[Case, list[Figures]] = {case: [] for case in plan.cases}
    alone = []
    for number in range(plan.rounds):
        for kind, size in plan.cases:
            console.print(f"round {number + 1}: {size} chunks, {kind}")
            beside[kind, size].append(_asked(MemoryJob(size, kind, plan.queries)))
        console.print(f"round {number + 1}: {plan.sizes[-1]} chunks, the store alone")
        alone.append(_asked(MemoryJob(plan.sizes[-1], "clustered", plan.queries, beside=False)))
    return Outcome(plan, beside, alone)


def _asked(job: MemoryJob) -> Figures:
    command = [sys.executable, "-m", "benchmarks.memory_workload"]
    done = subprocess.run(command, input=job.to_json(), cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


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
        f"{plan.rounds} rounds of {plan.queries} queries of each kind; medians.",
    ]
    tables = [_targets(outcome), _insert_table(outcome), _query_table(outcome), _memory_table(outcome)]
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
        targets += [
            Target("insert: rate / bare", where, _ratio(rounds, "bare_insert", "store_insert"), 0.7, at_least=True),
            Target("vector query: p50 / bare", where, _median(rounds, "p50 all") / _best_bare(rounds), 1.5),
            Target("recall@10", where, _median(rounds, "recall all"), 0.95, at_least=True, form=".3f"),
        ]
        targets += [
            Target(f"filtered query, {name}: p50 / unfiltered", where, _ratio(rounds, f"p50 {name}", "p50 all"), 2.0)
            for name in ("half", "tenth", "hundredth")
        ]
    size = outcome.plan.sizes[-1]
    memory = _median(outcome.alone, "rss") / (size * DIMENSION * 4)
    targets.append(Target("memory of the process / size of the vectors", _label(("clustered", size)), memory, 2.0))
    small, large = (outcome.beside["clustered", size] for size in (outcome.plan.sizes[0], outcome.plan.sizes[-1]))
    growth = _median(large, "p50 all") / _median(small, "p50 all")
    bound = outcome.plan.sizes[-1] / outcome.plan.sizes[0]
    targets.append(Target(f"vector query: cost of a bank {bound:.0f} times as large", "clustered", growth, bound))
    note = (
        "Where the bare graph finds fewer than the store at any width, the bare library's exact search is its measure."
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Measures the memory store.")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to see that it runs; writes nothing"
    )
    parser.add_argument("--rounds", type=int, help="times that everything is measured (default: 1)")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    plan = Plan.quick() if chosen.quick else Plan()
    if chosen.rounds:
        plan = Plan(chosen.rounds, plan.sizes, plan.queries)
    outcome = measure(plan, console)
    passed = " ".join(arguments if arguments is not None else sys.argv[1:])
    made = report(outcome, f"python -m benchmarks.memory {passed}".strip())
    show(made, console)
    if chosen.write and not chosen.quick:
        write(made, PAGE)


if __name__ == "__main__":
    main()
