"""What the embedded store does beyond the port: its folder, its snapshots, its index behind the database."""

import asyncio
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from services.core.errors import FailedPreconditionError, ResourceExhaustedError, UnavailableError
from services.memory.providers.embedded import bank as bank_module
from services.memory.providers.embedded.snapshot import FOLDER
from services.memory.providers.embedded.store import EmbeddedStore
from services.memory.records import BankSpec, DocumentWrite, Selection
from tests.conformance.memory.building import (
    Clock,
    chunk_ids,
    comparison,
    directions,
    document,
    keyword_spec,
    pairs_spec,
    text_value,
    vector_spec,
    with_vectors,
    words,
)
from tests.services.memory.providers.embedded.conftest import StartStore


async def fill(store: EmbeddedStore, spec: BankSpec, count: int, each: int = 10, first: int = 0) -> None:
    await store.open_bank(spec)
    for begin in range(first, first + count, 50):
        part = range(begin, min(begin + 50, first + count))
        writes = [with_vectors(f"d{place}", each, place, metadata={"n": place}) for place in part]
        await store.write_documents(spec.bank_id, writes)


async def nearest(store: EmbeddedStore, spec: BankSpec, document_number: int, each: int = 10) -> list[str]:
    """The chunks nearest to each of a document's vectors."""
    found = []
    for point in directions(each, document_number):
        found += await chunk_ids(store, spec.bank_id, await store.search_vectors(spec.bank_id, point, 1))
    return found


def own_chunks(document_number: int, each: int = 10) -> list[str]:
    return [f"d{document_number}#{place}" for place in range(each)]


def snapshot_of(folder: Path) -> Path:
    (found,) = folder.glob(f"store/banks/*/{FOLDER}")
    return found


async def test_a_second_store_on_the_folder_is_refused(start: StartStore) -> None:
    first = await start()
    with pytest.raises(FailedPreconditionError) as caught:
        await start()
    assert caught.value.reason == "STORE_IN_USE"
    assert "pid" in caught.value.message
    await first.open_bank(keyword_spec("still works"))
    await first.stop()
    await (await start()).open_bank(keyword_spec("still works"))


async def test_a_folder_of_another_version_is_refused(start: StartStore, tmp_path: Path) -> None:
    await (await start()).stop()
    (tmp_path / "store" / "FORMAT").write_text("something else\n")
    with pytest.raises(FailedPreconditionError) as caught:
        await start()
    assert caught.value.reason == "STORE_FORMAT"


async def test_a_bank_is_opened_from_its_snapshot_and_what_came_after(start: StartStore, tmp_path: Path) -> None:
    spec = vector_spec("b")
    store = await start()
    await fill(store, spec, 300)
    await store.stop()
    kept = tmp_path / "kept"
    shutil.copytree(snapshot_of(tmp_path), kept)

    store = await start()
    await fill(store, spec, 20, first=300)
    await store.delete_documents("b", Selection(document_ids=["d0", "d1"]))
    await store.write_documents("b", [with_vectors("d2", 10, 1002, metadata={"n": 2})])
    changed = document("d3", [], metadata={"n": -3}).document
    await store.write_documents("b", [DocumentWrite(changed, "r")])
    await store.stop()
    # As after a crash: the snapshot is older than the database.
    shutil.rmtree(snapshot_of(tmp_path))
    shutil.copytree(kept, tmp_path / "store" / "banks" / next((tmp_path / "store" / "banks").iterdir()).name / FOLDER)

    store = await start()
    await store.open_bank(spec)
    assert await nearest(store, spec, 310) == own_chunks(310)
    assert await nearest(store, spec, 1002) == own_chunks(2)
    assert not set(await nearest(store, spec, 0)) & set(own_chunks(0))
    assert len(await store.search_vectors("b", directions(1)[0], 9, where=comparison("equal", "n", -3))) == 9
    assert len(await store.search_words("b", words("d319"), 100)) == 10
    assert len(await store.search_words("b", words("d1"), 100)) == 0
    assert (await store.statistics("b")).chunk_count == 3180


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "manifest"])
async def test_a_damaged_snapshot_is_built_again(start: StartStore, tmp_path: Path, damage: str) -> None:
    spec = vector_spec("b")
    store = await start()
    await fill(store, spec, 250)
    await store.stop()
    vectors = snapshot_of(tmp_path) / "vectors.faiss"
    content = bytearray(vectors.read_bytes())
    match damage:
        case "cut":
            vectors.write_bytes(content[: len(content) // 2])
        case "flip":
            content[len(content) // 3] ^= 0xFF
            vectors.write_bytes(content)
        case "missing":
            vectors.unlink()
        case "manifest":
            (snapshot_of(tmp_path) / "manifest.json").write_text("{")
    store = await start()
    await store.open_bank(spec)
    assert await nearest(store, spec, 77) == own_chunks(77)
    await fill(store, spec, 5, first=250)
    assert await nearest(store, spec, 252) == own_chunks(252)


async def test_what_a_drop_left_behind_is_removed_at_the_next_start(start: StartStore, tmp_path: Path) -> None:
    await (await start()).stop()
    left = tmp_path / "store" / "dropped" / "0123"
    left.mkdir()
    (left / "bank.db").write_text("x")
    await start()
    assert not left.exists()


async def test_a_dropped_bank_leaves_no_files(start: StartStore, tmp_path: Path) -> None:
    store = await start()
    await fill(store, vector_spec("b"), 10)
    await store.drop_bank("b")
    assert list((tmp_path / "store" / "banks").iterdir()) == []
    assert list((tmp_path / "store" / "dropped").iterdir()) == []


async def test_an_index_that_is_mostly_dead_is_built_again_while_it_is_used(
    start: StartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_module, "_DEAD_FROM", 500)
    spec = vector_spec("b")
    store = await start()
    await fill(store, spec, 100)
    for round_ in range(1, 4):
        await fill(store, spec, 50)
        assert await nearest(store, spec, 20 + round_) == own_chunks(20 + round_)
    deadline = time.monotonic() + 30
    while store._banks["b"].index.size > 1500:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await nearest(store, spec, 30) == own_chunks(30)
    assert await nearest(store, spec, 90) == own_chunks(90)
    assert len(await store.search_words("b", words("d99"), 100)) == 10
    await fill(store, spec, 1, first=100)
    assert await nearest(store, spec, 100) == own_chunks(100)


async def test_a_full_disk_refuses_the_write_and_loses_nothing(start: StartStore, tmp_path: Path) -> None:
    """The limit of the size of files stands for the disk: writes beyond it fail in the same way."""
    spec = vector_spec("b")
    store = await start()
    await fill(store, spec, 50)
    database = next((tmp_path / "store" / "banks").iterdir()) / "bank.db"
    room = max(database.stat().st_size, database.with_name("bank.db-wal").stat().st_size) + 50_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(ResourceExhaustedError) as caught:
            await store.write_documents("b", [document("large", ["x" * 5_000_000], vectors=directions(1))])
        assert caught.value.reason == "NO_ROOM"
        assert await nearest(store, spec, 7) == own_chunks(7)
        assert await store.get_documents("b", ["large"]) == {}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await store.search_words("b", words("x" * 255), 5) == []
    await fill(store, spec, 5, first=50)
    assert await nearest(store, spec, 52) == own_chunks(52)
    await store.stop()
    store = await start()
    await store.open_bank(spec)
    assert (await store.statistics("b")).document_count == 55
    assert await nearest(store, spec, 52) == own_chunks(52)


async def test_keys_are_never_given_again(start: StartStore) -> None:
    spec = vector_spec("b")
    store = await start()
    await fill(store, spec, 1)
    highest = max(match.key for match in await store.search_vectors("b", directions(1)[0], 100))
    await store.delete_documents("b", Selection(everything=True))
    await store.stop()
    store = await start()
    await fill(store, spec, 1)
    assert min(match.key for match in await store.search_vectors("b", directions(1)[0], 100)) > highest


async def test_many_banks_share_few_open_files(start: StartStore) -> None:
    store = await start(max_open_databases=5)
    for place in range(40):
        await store.open_bank(keyword_spec(f"bank {place}"))
        await store.write_documents(f"bank {place}", [document("a", ["apple"])])
    assert open_databases() <= 5 * 6
    for place in range(40):
        assert len(await store.search_words(f"bank {place}", words("apple"), 5)) == 1
        assert list(await store.get_documents(f"bank {place}", ["a"])) == ["a"]


def open_databases() -> int:
    """Number of this process's open files that belong to databases."""
    return sum("bank.db" in _target(link) for link in Path("/proc/self/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


async def test_reads_go_on_while_much_is_written(start: StartStore) -> None:
    store = await start()
    spec = vector_spec("b", dimension=64)
    await store.open_bank(spec)
    points = np.random.default_rng(1).standard_normal((4000, 64)).astype(np.float32)

    async def write() -> None:
        for begin in range(0, 4000, 500):
            texts = [f"text {place}" for place in range(begin, begin + 500)]
            await store.write_documents("b", [document(f"d{begin}", texts, vectors=points[begin : begin + 500])])

    writing = asyncio.create_task(write())
    reads = 0
    while not writing.done():
        await store.search_vectors("b", points[0], 5)
        await store.search_words("b", words("text"), 5)
        reads += 1
        await asyncio.sleep(0)
    await writing
    assert reads > 8
    assert (await store.search_vectors("b", points[3999], 1))[0].score == pytest.approx(1, abs=2e-3)


async def test_an_open_bank_that_waits_for_nothing_answers_after_its_files_were_closed(start: StartStore) -> None:
    store = await start(max_open_databases=1)
    for name in ("a", "b"):
        await store.open_bank(keyword_spec(name))
        await store.write_documents(name, [document("x", ["apple"])])
    await asyncio.gather(*(store.get_documents(name, ["x"]) for name in ("a", "b") * 20))


async def test_a_database_that_fails_is_unavailable_and_says_so(
    start: StartStore, tmp_path: Path, clock: Clock
) -> None:
    store = await start()
    await store.open_bank(spec := keyword_spec("b"))
    await store.close_bank("b")
    database = next((tmp_path / "store" / "banks").iterdir()) / "bank.db"
    database.write_bytes(b"this is no database" * 1000)
    with pytest.raises(UnavailableError) as caught:
        await store.open_bank(spec)
    assert caught.value.reason == "STORE_UNAVAILABLE"


async def test_values_and_documents_keep_apart_in_one_store(start: StartStore) -> None:
    store = await start()
    await store.open_bank(pairs_spec("p"))
    await store.open_bank(keyword_spec("k"))
    await store.put_value("p", "x", text_value("v"))
    assert (await store.statistics("k")).document_count == 0
