"""`make eval-memory`: recall and reciprocal rank of every kind of search, over questions about Caravan's own pages."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from benchmarks.machine import describe
from benchmarks.processes import ROOT, end_in_order
from benchmarks.retrieval import corpus
from benchmarks.retrieval.questions import Quality, Question, read
from benchmarks.tables import Report, Table, show, write
from benchmarks.targets import Target, table_of
from caravan.messages import text_of
from tests.services.memory.stack import MODEL, Stack, stack_with, vector
from tests.support.valkey import valkey_server

PAGE = ROOT / "docs" / "memory.md"
REPORT = "retrieval"
CHUNK_SIZE = 128
MOST = 10
MODES = ("vector", "keyword", "hybrid", "graph")
_BANKS = {
    "texts": vector(chunk_size_in_tokens=CHUNK_SIZE),
    "names": {"memory_bank_type": "graph", "embedding_model": MODEL},
}
_VERSIONS = ("sentence-transformers", "faiss-cpu", "torch")
_HOPS = {1: "single-hop", 2: "two-hop"}

Outcome = Mapping[tuple[int, str], Quality]
"""Quality by hops and kind of search."""


@asynccontextmanager
async def running() -> AsyncIterator[Stack]:
    """A gateway, the embedding model and a memory service with the embedded store, which embeds every question anew."""
    with valkey_server() as server, tempfile.TemporaryDirectory(prefix="caravan-retrieval-") as folder:
        store = {"type": "inline::embedded", "folder": folder}
        async with stack_with(server.url, {"memory": store}, embedding={"cache_bytes": 0}) as stack:
            yield stack


async def fill(stack: Stack, texts: Mapping[str, str]) -> int:
    """Inserts the texts into a bank of each kind, cut alike; returns the number of chunks.

    Args:
        stack: What runs.
        texts: Texts by path.
    """
    names = corpus.entities(texts)
    client = stack.client.with_options(timeout=1800)
    for bank_id, params in _BANKS.items():
        await client.memory_banks.register(bank_id, params, provider_id="memory")
        for path, text in texts.items():
            document: dict[str, Any] = {"document_id": path, "content": text, "mime_type": "text/markdown"}
            if bank_id == "names":
                document["graph"] = {"entities": [{"name": name} for name in names[path]]}
            await client.memory.rag_insert(bank_id, document, chunk_size_in_tokens=CHUNK_SIZE)
    counts = {(await client.memory.statistics(bank_id)).chunk_count for bank_id in _BANKS}
    (count,) = counts
    return count


async def ask(stack: Stack, questions: Sequence[Question]) -> Outcome:
    """Asks every question in every way, in turns.

    Args:
        stack: What runs, filled.
        questions: The questions.
    """
    outcome = {(question.hops, mode): Quality() for question in questions for mode in MODES}
    for question in [questions[0], *questions]:
        for mode in MODES:
            started = time.perf_counter()
            found = await stack.client.memory.query(
                "names" if mode == "graph" else "texts", question.text, mode=mode, max_chunks=MOST
            )
            taken = time.perf_counter() - started
            quality = outcome[question.hops, mode]
            quality.seconds.append(taken)
            quality.places.append(
                question.places([(chunk.document_id, text_of(chunk.content)) for chunk in found.chunks])
            )
    for mode in MODES:
        # The first question was asked twice, to warm everything up.
        quality = outcome[questions[0].hops, mode]
        del quality.seconds[0], quality.places[0]
    return outcome


def report(outcome: Outcome, chunks: int, command: str) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        chunks: Number of chunks that were searched.
        command: How to measure it again.
    """
    single, graph = outcome[1, "vector"], outcome[1, "graph"]
    targets = [
        Target(
            "graph, single-hop: recall@10 / vector",
            f"{chunks} chunks",
            graph.recall(MOST) / single.recall(MOST),
            1.0,
            at_least=True,
        ),
        Target(
            "graph, single-hop: MRR / vector",
            f"{chunks} chunks",
            graph.reciprocal_rank / single.reciprocal_rank,
            1.0,
            at_least=True,
        ),
    ]
    columns = ["questions", "search", "recall@1", "recall@5", "recall@10", "all of it@10", "MRR", "p50 ms"]
    rows = [
        [
            f"{len(quality.places)} {_HOPS[hops]}",
            mode,
            *(f"{quality.recall(k):.3f}" for k in (1, 5, MOST)),
            f"{quality.complete(MOST):.3f}",
            f"{quality.reciprocal_rank:.3f}",
            f"{quality.median_ms:.1f}",
        ]
        for (hops, mode), quality in sorted(outcome.items(), key=lambda item: item[0][0])
    ]
    note = (
        "A two-hop question needs two passages: recall is the share of them that is found, at most 0.5 at 1; `all of it`: both of them. "
        "Times are a client's, over gRPC through the gateway, with the question embedded anew wherever vectors are searched."
    )
    conditions = [
        f"`{command}`",
        *describe(_VERSIONS),
        f"{chunks} chunks of {CHUNK_SIZE} tokens, of README.md, docs/*.md and the comments of protos/; {MODEL}; embedded store.",
        "The graph's entities are names by their form (code, capitals, humps, links), given by the caller: no language model is asked.",
    ]
    return Report(REPORT, conditions, [table_of(targets), Table("Retrieval", columns, rows, note)])


def _checked(questions: Sequence[Question], texts: Mapping[str, str], console: Console) -> list[Question]:
    """Leaves out, and tells of, questions whose passage has been written anew."""
    kept = []
    for question in questions:
        gone = corpus.missing(question.passages, texts)
        for path, words in gone:
            console.print(f"left out, mend questions.toml: {path} does not say {words!r} any more", style="red")
        if not gone:
            kept.append(question)
    return kept


def _show_missed(outcome: Outcome, questions: Sequence[Question], mode: str, console: Console) -> None:
    for hops in _HOPS:
        asked = [question for question in questions if question.hops == hops]
        for question, places in zip(asked, outcome[hops, mode].places, strict=True):
            console.print(f"{mode} {places} {question.text}", markup=False, highlight=False)


async def evaluate(arguments: argparse.Namespace, console: Console) -> Report:
    """Measures everything.

    Args:
        arguments: Of the command.
        console: Shows how far it is.
    """
    texts = corpus.documents(ROOT)
    questions = _checked(read(), texts, console)
    async with running() as stack:
        console.print(f"inserting {len(texts)} documents")
        chunks = await fill(stack, texts)
        console.print(f"asking {len(questions)} questions over {chunks} chunks in {len(MODES)} ways")
        outcome = await ask(stack, questions)
    for mode in arguments.show or ():
        _show_missed(outcome, questions, mode, console)
    return report(outcome, chunks, "make eval-memory")


def main() -> None:
    """Runs the evaluation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    parser.add_argument(
        "--show", action="append", choices=MODES, help="show at which places a kind of search found what"
    )
    arguments = parser.parse_args()
    end_in_order()
    console = Console(width=None if sys.stdout.isatty() else 160)
    result = asyncio.run(evaluate(arguments, console))
    show(result, console)
    if arguments.write:
        write(result, PAGE)


if __name__ == "__main__":
    main()
