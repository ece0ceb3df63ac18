"""A process that writes into the embedded store is killed: what it acknowledged is there, whole, and nothing else.

`MEMORY_KILLS=<n>` kills that often instead of a few times.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.core.errors import ResourceExhaustedError
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.store import EmbeddedStore
from tests.conformance.memory.building import chunk_ids, directions, pairs_spec, vector_spec, with_vectors, words
from tests.support.small_disk import enlarge, small_disk

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("MEMORY_KILLS", "4"))
CHUNKS = 7
VECTORS = vector_spec("vectors")
PAIRS = pairs_spec("pairs")

pytestmark = pytest.mark.faults

WRITER = """
import asyncio, json, sys
from pathlib import Path
from tests.faults.test_memory_embedded import write_for_ever
asyncio.run(write_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
"""


async def write_for_ever(folder: Path, first: int) -> None:
    """Writes documents and values without end and tells of each when it is acknowledged."""
    from tests.conformance.memory.building import text_value

    store = EmbeddedStore(EmbeddedConfig(folder=folder))
    await store.start()
    for spec in (VECTORS, PAIRS):
        await store.open_bank(spec)
    number = first
    while True:
        batch = list(range(number, number + 5))
        writes = [with_vectors(f"d{place}", CHUNKS, place, metadata={"n": place}) for place in batch]
        # Every third batch replaces an earlier document too.
        replaced = number - 5 if number % 3 == 0 and number > first else None
        if replaced is not None:
            writes.append(with_vectors(f"d{replaced}", CHUNKS, 1_000_000 + replaced))
        await asyncio.gather(
            store.write_documents("vectors", writes), store.put_value("pairs", "last", text_value(str(number)))
        )
        print(json.dumps({"batch": batch, "replaced": replaced}), flush=True)
        number += 5


def killed_after(folder: Path, first: int, seconds: float) -> list[dict[str, object]]:
    """Lets a process write for a while, kills it, and returns what it had acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    killer = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    os.set_blocking(process.stdout.fileno(), True)
    killer.wait()
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return [json.loads(line) for line in lines if line.endswith("\n")]


async def check(folder: Path, acknowledged: dict[int, int]) -> int:
    """Checks that everything acknowledged is there whole; returns the number after the last document.

    Args:
        folder: The store's folder.
        acknowledged: Seed of each document's vectors by its number.
    """
    store = EmbeddedStore(EmbeddedConfig(folder=folder))
    await store.start()
    for spec in (VECTORS, PAIRS):
        await store.open_bank(spec)
    there: dict[int, int] = {}
    after = ""
    while page := await store.list_documents("vectors", after=after, limit=1000):
        there |= {int(one.document_id[1:]): one.revision for one in page}
        after = page[-1].document_id
    assert set(acknowledged) <= set(there)
    statistics = await store.statistics("vectors")
    assert (statistics.document_count, statistics.chunk_count) == (len(there), CHUNKS * len(there))
    assert len(await store.search_vectors("vectors", directions(1)[0], 10_000)) == min(10_000, statistics.chunk_count)
    sample = random.Random(0).sample(sorted(there), min(40, len(there)))
    for number in sample:
        await check_document(store, number, acknowledged.get(number), there[number])
    await store.stop()
    return max(there) + 1


async def check_document(store: EmbeddedStore, number: int, seed: int | None, revision: int) -> None:
    """A document is of one version: all its chunks are found by that version's vectors and by its words."""
    name = f"d{number}"
    seeds = [number, 1_000_000 + number] if revision > 1 or seed is None else [seed]
    hits = []
    for one in seeds:
        found = [await store.search_vectors("vectors", point, 1, exact=True) for point in directions(CHUNKS, one)]
        exact = [match for (match,) in found if match.score > 0.99]
        hits.append([place for place in await chunk_ids(store, "vectors", exact) if place.startswith(f"{name}#")])
    assert max(map(len, hits)) == CHUNKS
    assert sum(map(len, hits)) == CHUNKS
    by_words = await store.search_words("vectors", words(name), 100)
    assert sorted(await chunk_ids(store, "vectors", by_words)) == sorted(f"{name}#{place}" for place in range(CHUNKS))


@pytest.mark.timeout(60 + 30 * KILLS)
async def test_whatever_was_acknowledged_survives_kills_during_bulk_writing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    acknowledged: dict[int, int] = {}
    first = 0
    chance = random.Random(1)
    for _ in range(KILLS):
        lines = await asyncio.to_thread(killed_after, folder, first, chance.uniform(0.05, 1.5))
        for line in lines:
            acknowledged |= {place: place for place in line["batch"]}  # type: ignore[attr-defined]
            if line["replaced"] is not None:
                acknowledged[int(line["replaced"])] = 1_000_000 + int(line["replaced"])  # type: ignore[call-overload]
        first = await check(folder, acknowledged)
        first += -first % 5
    assert len(acknowledged) >= 5 * KILLS


async def written_until_full(store: EmbeddedStore) -> dict[int, int]:
    """Writes documents until there is no room; returns those that are acknowledged, with the seed of their vectors."""
    for number in range(10_000):
        try:
            await store.write_documents("vectors", [with_vectors(f"d{number}", CHUNKS, number)])
        except ResourceExhaustedError as error:
            if error.reason != "NO_ROOM":
                raise
            return {place: place for place in range(number)}
    message = "the disk is not full"
    raise AssertionError(message)


async def test_a_full_disk_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 16) as disk:
        store = EmbeddedStore(EmbeddedConfig(folder=disk / "store"))
        await store.start()
        for spec in (VECTORS, PAIRS):
            await store.open_bank(spec)
        written = await written_until_full(store)
        assert len(await store.search_vectors("vectors", directions(CHUNKS, 3)[0], 1)) == 1
        await store.stop()
        # Another process finds it so too, also without room for a snapshot.
        await check(disk / "store", written)
        store = EmbeddedStore(EmbeddedConfig(folder=disk / "store"))
        await store.start()
        await store.open_bank(VECTORS)
        # Dropping a bank needs no room, and makes some.
        await store.drop_bank("pairs")
        enlarge(disk, 32)
        await store.write_documents("vectors", [with_vectors("d10000", CHUNKS, 10_000)])
        await store.stop()
        await check(disk / "store", {**written, 10_000: 10_000})
