"""Documents: atomic writes, revisions, pages, deletion."""

import asyncio

import pytest

from caravan.memory.v1 import memory_pb2
from services.core.errors import AbortedError, NotFoundError
from services.memory.content import of_text
from services.memory.ports import Store
from services.memory.records import DocumentWrite, Selection
from tests.conformance.memory.building import (
    Clock,
    at,
    chunk,
    chunk_ids,
    comparison,
    directions,
    document,
    loose,
    with_vectors,
    words,
)

INSERTED = memory_pb2.DOCUMENT_OUTCOME_INSERTED
UPDATED = memory_pb2.DOCUMENT_OUTCOME_UPDATED


def without_batch(document_id: str, **fields: object) -> DocumentWrite:
    stored = memory_pb2.StoredDocument(document_id=document_id, mime_type="text/plain", chunk_count=1, token_count=3)
    stored.metadata.update({"changed": True})
    return DocumentWrite(stored, "recipe-2", **fields)  # type: ignore[arg-type]


async def test_a_new_document_is_inserted_with_revision_one(store: Store, words: str, clock: Clock) -> None:
    (result,) = await store.write_documents(words, [document("a", ["one", "two"])])
    assert (result.document_id, result.outcome, result.revision, result.chunk_count) == ("a", INSERTED, 1, 2)
    record = (await store.get_documents(words, ["a"]))["a"]
    assert record.recipe == "recipe-1"
    assert record.document.content == of_text("one two")
    assert record.document.revision == 1
    assert record.document.inserted_at == at(clock.now)
    assert record.document.updated_at == at(clock.now)
    assert record.document.chunk_count == 2
    assert record.document.mime_type == "text/plain"


async def test_a_replaced_document_has_the_next_revision_and_keeps_its_time_of_insertion(
    store: Store, words: str, clock: Clock
) -> None:
    await store.write_documents(words, [document("a", ["one"])])
    first = clock.now
    clock.now += 10
    (result,) = await store.write_documents(words, [document("a", ["other"])])
    assert (result.outcome, result.revision) == (UPDATED, 2)
    record = (await store.get_documents(words, ["a"]))["a"].document
    assert record.inserted_at == at(first)
    assert record.updated_at == at(clock.now)
    assert record.content == of_text("other")


async def test_a_replaced_document_loses_all_its_chunks(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a", ["apple", "banana", "cherry"])])
    await store.insert_chunks(words, loose(chunk("date", "a", "extra")), None)
    await store.write_documents(words, [document("a", ["elderberry"])])
    assert await found(store, words, "apple", "banana", "cherry", "date") == []
    assert await found(store, words, "elderberry") == ["a#0"]


async def found(store: Store, bank_id: str, *texts: str) -> list[str]:
    return await chunk_ids(store, bank_id, await store.search_words(bank_id, words(*texts), 100))


async def test_a_write_without_chunks_keeps_chunks_and_content(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a", ["apple"], metadata={"old": 1})])
    (result,) = await store.write_documents(words, [without_batch("a")])
    assert (result.outcome, result.revision) == (UPDATED, 2)
    record = (await store.get_documents(words, ["a"]))["a"]
    assert record.document.content == of_text("apple")
    assert dict(record.document.metadata) == {"changed": True}
    assert record.recipe == "recipe-2"
    assert await found(store, words, "apple") == ["a#0"]
    (match,) = await store.search_words(words, _query("apple"), 5, where=comparison("equal", "changed", True))
    assert dict((await store.get_chunks(words, [match.key]))[match.key].metadata) == {"changed": True}
    assert await store.search_words(words, _query("apple"), 5, where=comparison("present", "old", None)) == []


_query = words


async def test_a_write_without_chunks_needs_the_document(store: Store, words: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await store.write_documents(words, [document("there"), without_batch("missing")])
    assert caught.value.reason == "DOCUMENT_NOT_FOUND"
    assert await store.get_documents(words, ["there"]) == {}


async def test_a_stale_revision_writes_nothing_of_the_call(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a"), document("b")])
    with pytest.raises(AbortedError) as caught:
        await store.write_documents(
            words, [document("new"), document("a", ["changed"]), document("b", expected_revision=7)]
        )
    assert caught.value.reason == "STALE_REVISION"
    assert caught.value.metadata == {"document_id": "b", "revision": "1"}
    records = await store.get_documents(words, ["new", "a", "b"])
    assert {key: record.document.revision for key, record in records.items()} == {"a": 1, "b": 1}
    assert await found(store, words, "changed") == []


async def test_expected_revision_zero_means_the_document_must_not_exist(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a", expected_revision=0)])
    with pytest.raises(AbortedError):
        await store.write_documents(words, [document("a", expected_revision=0)])
    (result,) = await store.write_documents(words, [document("a", expected_revision=1)])
    assert result.revision == 2


async def test_of_concurrent_writers_with_one_expected_revision_one_wins(store: Store, vectors: str) -> None:
    await store.write_documents(vectors, [with_vectors("a")])

    async def attempt(seed: int) -> bool:
        try:
            await store.write_documents(vectors, [with_vectors("a", 2, seed, expected_revision=1)])
        except AbortedError:
            return False
        return True

    outcomes = await asyncio.gather(*(attempt(seed) for seed in range(6)))
    assert sum(outcomes) == 1
    winner = outcomes.index(True)
    (best, *_) = await store.search_vectors(vectors, directions(2, winner)[0], 5)
    assert best.score == pytest.approx(1, abs=2e-3)


async def test_concurrent_writers_of_different_documents_all_get_through(store: Store, vectors: str) -> None:
    writes = [[with_vectors(f"d{writer}-{place}", 2, writer) for place in range(5)] for writer in range(8)]
    await asyncio.gather(*(store.write_documents(vectors, part) for part in writes))
    ids = [one.document.document_id for part in writes for one in part]
    assert set(await store.get_documents(vectors, ids)) == set(ids)
    assert len(await store.search_vectors(vectors, directions(1)[0], 200)) == 80


async def test_readers_never_see_half_of_a_replacement(store: Store, words: str) -> None:
    """Each version has three chunks with its own word; a search finds all three of a version or none."""
    await store.write_documents(words, [document("a", ["zero common"] * 3)])
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven"]
    done = asyncio.Event()

    async def write() -> None:
        for name in names[1:]:
            await store.write_documents(words, [document("a", [f"{name} common"] * 3)])
        done.set()

    async def read() -> None:
        while not done.is_set():
            matches = await store.search_words(words, _query("common"), 10)
            chunks = (await store.get_chunks(words, [match.key for match in matches])).values()
            # A chunk that was replaced between the two calls is gone; those that are there are of one version.
            assert len({one.content.items[0].text for one in chunks}) <= 1
            assert len(matches) == 3

    await asyncio.gather(write(), read(), read())


async def test_a_chunk_identifier_that_is_taken_moves_to_the_later_document(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a", ["apple"])])
    theirs = document("b", ["banana"])
    assert theirs.batch is not None
    theirs.batch.chunks[0].chunk_id = "a#0"
    await store.write_documents(words, [theirs])
    assert await found(store, words, "apple") == []
    assert await found(store, words, "banana") == ["a#0"]


async def test_get_leaves_out_what_is_missing_and_the_content_when_it_is_not_asked_for(
    store: Store, words: str
) -> None:
    await store.write_documents(words, [document("a")])
    records = await store.get_documents(words, ["missing", "a"], content=False)
    assert list(records) == ["a"]
    assert not records["a"].document.HasField("content")


async def test_pages_are_in_the_order_of_code_points_and_complete(store: Store, words: str) -> None:
    ids = sorted(["a", "B", "ä", "Z", "aa", "a b", "漢字", "🜚", "\ufb01x", "-", "~"])
    await store.write_documents(words, [document(one) for one in reversed(ids)])
    seen: list[str] = []
    while page := await store.list_documents(words, after=seen[-1] if seen else "", limit=3):
        assert len(page) <= 3
        seen += [one.document_id for one in page]
    assert seen == ids
    assert not any(one.HasField("content") for one in await store.list_documents(words, after="", limit=100))


async def test_a_list_can_be_filtered(store: Store, words: str) -> None:
    await store.write_documents(words, [document(f"d{place}", metadata={"n": place}) for place in range(10)])
    page = await store.list_documents(words, after="", limit=3, where=comparison("greater", "n", 4))
    assert [one.document_id for one in page] == ["d5", "d6", "d7"]
    page = await store.list_documents(words, after="d7", limit=3, where=comparison("greater", "n", 4))
    assert [one.document_id for one in page] == ["d8", "d9"]


async def test_deletion_by_identifier_counts_documents_and_takes_their_chunks(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a", ["apple"]), document("b", ["banana"])])
    await store.insert_chunks(
        words, loose(chunk("cherry", "a", "c1"), chunk("date", "nobody", "c2"), chunk("fig", "stays", "c3")), None
    )
    assert await store.delete_documents(words, Selection(document_ids=["a", "nobody", "missing"])) == 1
    assert await found(store, words, "apple", "banana", "cherry", "date", "fig") in (
        ["a#0", "c3"],
        ["b#0", "c3"],
        ["c3", "b#0"],
    )
    assert list(await store.get_documents(words, ["a", "b"])) == ["b"]


async def test_deletion_by_filter_takes_documents_and_chunks_that_fit(store: Store, words: str) -> None:
    await store.write_documents(
        words, [document("a", ["apple"], metadata={"x": 1}), document("b", ["banana"], metadata={"x": 2})]
    )
    await store.insert_chunks(
        words,
        loose(
            chunk("cherry", "free", "c1", metadata={"x": 1}),
            chunk("date", "free", "c2", metadata={"x": 2}),
            chunk("fig", "b", "c3", metadata={"x": 1}),
        ),
        None,
    )
    assert await store.delete_documents(words, Selection(filter=comparison("equal", "x", 1))) == 1
    assert sorted(await found(store, words, "apple", "banana", "cherry", "date", "fig")) == ["b#0", "c2", "c3"]


async def test_deletion_of_everything_leaves_nothing(store: Store, vectors: str) -> None:
    await store.write_documents(vectors, [with_vectors(f"d{place}", 2, place) for place in range(5)])
    await store.insert_chunks(vectors, loose(chunk("x", "free"), vectors=directions(1)), None)
    assert await store.delete_documents(vectors, Selection(everything=True)) == 5
    assert await store.search_vectors(vectors, directions(1)[0], 10) == []
    assert await store.list_documents(vectors, after="", limit=10) == []
    statistics = await store.statistics(vectors)
    assert (statistics.document_count, statistics.chunk_count, statistics.token_count) == (0, 0, 0)


async def test_identifiers_and_texts_may_be_any_unicode(store: Store, words: str) -> None:
    ids = ["ключ", "🔑 key", "a/b?c=d&e", "'; DROP TABLE documents; --", "tab\tnewline\n", "e\u0301", "é", "x" * 512]
    await store.write_documents(words, [document(one, [f"слово {one}"]) for one in ids])
    assert set(await store.get_documents(words, ids)) == set(ids)
    assert len(await found(store, words, "слово")) == len(ids)
    assert await store.delete_documents(words, Selection(document_ids=["é"])) == 1
    assert "e\u0301" in await store.get_documents(words, ids)


async def test_an_identifier_may_hold_a_null_character(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a\x00b", ["nul\x00word"]), document("a")])
    assert set(await store.get_documents(words, ["a\x00b", "a", "a\x00"])) == {"a\x00b", "a"}
    assert [one.document_id for one in await store.list_documents(words, after="a", limit=5)] == ["a\x00b"]
    assert await store.delete_documents(words, Selection(document_ids=["a"])) == 1
    assert list(await store.get_documents(words, ["a\x00b", "a"])) == ["a\x00b"]


async def test_metadata_come_back_as_they_were(store: Store, words: str) -> None:
    metadata = {
        "text": "t",
        "number": 1.5,
        "yes": True,
        "nothing": None,
        "list": [1, "a", None],
        "in": {"ner": {"x": 1}},
    }
    await store.write_documents(words, [document("a", metadata=metadata)])
    stored = (await store.get_documents(words, ["a"]))["a"].document.metadata
    assert stored == document("a", metadata=metadata).document.metadata


async def test_many_documents_in_one_write_are_all_there(store: Store, vectors: str) -> None:
    await store.write_documents(vectors, [with_vectors(f"d{place:04}", 1, place) for place in range(1000)])
    seen: list[str] = []
    while page := await store.list_documents(vectors, after=seen[-1] if seen else "", limit=300):
        seen += [one.document_id for one in page]
    assert seen == [f"d{place:04}" for place in range(1000)]
    statistics = await store.statistics(vectors)
    assert (statistics.document_count, statistics.chunk_count, statistics.token_count) == (1000, 1000, 3000)
    assert statistics.disk_bytes > 0
