"""Chunks that stand for themselves, and how hits show chunks."""

import numpy as np
import pytest

from services.memory.ports import Store
from services.memory.records import Selection
from tests.conformance.memory.building import (
    Clock,
    chunk,
    chunk_ids,
    comparison,
    directions,
    document,
    loose,
    with_vectors,
    words,
)

query = words


async def test_inserted_chunks_are_found_at_once(store: Store, vectors: str) -> None:
    points = directions(3)
    batch = loose(*(chunk(f"t{place}", "free", f"c{place}") for place in range(3)), vectors=points)
    await store.insert_chunks(vectors, batch, None)
    matches = await store.search_vectors(vectors, points[1], 3)
    assert (await chunk_ids(store, vectors, matches))[0] == "c1"
    assert len(matches) == 3


async def test_a_chunk_whose_identifier_is_taken_replaces_the_one_before(store: Store, vectors: str) -> None:
    first, second = directions(2)
    await store.insert_chunks(vectors, loose(chunk("old", "d", "c"), vectors=first[None, :]), None)
    (before,) = await store.search_vectors(vectors, first, 5)
    await store.insert_chunks(vectors, loose(chunk("new", "d", "c"), vectors=second[None, :]), None)
    (after,) = await store.search_vectors(vectors, second, 5)
    assert after.key != before.key
    assert await store.get_chunks(vectors, [before.key]) == {}
    assert (await store.get_chunks(vectors, [after.key]))[after.key].content.items[0].text == "new"
    assert (await store.statistics(vectors)).chunk_count == 1


async def test_of_two_chunks_with_one_identifier_in_a_call_the_later_stays(store: Store, words: str) -> None:
    await store.insert_chunks(words, loose(chunk("apple", "d", "c"), chunk("banana", "d", "c")), None)
    assert await store.search_words(words, query("apple"), 5) == []
    assert await chunk_ids(store, words, await store.search_words(words, query("banana"), 5)) == ["c"]


async def test_chunks_are_deleted_by_identifier_and_counted(store: Store, vectors: str) -> None:
    await store.write_documents(vectors, [with_vectors("a", 3)])
    await store.insert_chunks(vectors, loose(chunk("x", "free", "x"), vectors=directions(1, 9)), None)
    assert await store.delete_chunks(vectors, ["a#1", "x", "missing"]) == 2
    matches = await store.search_vectors(vectors, directions(1)[0], 10)
    assert sorted(await chunk_ids(store, vectors, matches)) == ["a#0", "a#2"]
    assert (await store.get_documents(vectors, ["a"]))["a"].document.chunk_count == 3


async def test_a_hit_shows_the_documents_metadata_with_the_chunks_own_over_them(store: Store, words: str) -> None:
    await store.write_documents(words, [document("d", ["apple"], metadata={"a": 1, "b": {"x": 1}})])
    await store.insert_chunks(words, loose(chunk("banana", "d", "own", metadata={"b": {"y": 2}, "c": 3})), None)
    shown = {}
    for word in ("apple", "banana"):
        (match,) = await store.search_words(words, query(word), 5)
        shown[word] = (await store.get_chunks(words, [match.key]))[match.key]
    assert shown["apple"].metadata == document("", metadata={"a": 1, "b": {"x": 1}}).document.metadata
    assert shown["banana"].metadata == document("", metadata={"a": 1, "b": {"y": 2}, "c": 3}).document.metadata
    assert shown["apple"].document_id == shown["banana"].document_id == "d"
    assert shown["apple"].token_count == 3
    assert shown["apple"].HasField("location")
    (match,) = await store.search_words(words, query("banana"), 5, where=comparison("equal", "a", 1))
    assert await store.search_words(words, query("banana"), 5, where=comparison("equal", "b.x", 1)) == []


async def test_vectors_come_back_as_they_were_written(store: Store, vectors: str) -> None:
    points = directions(2) * np.array([[1.0], [300.0]], np.float32)
    await store.insert_chunks(vectors, loose(chunk("a", "d", "a"), chunk("b", "d", "b"), vectors=points), None)
    matches = await store.search_vectors(vectors, points[0], 2)
    chunks = await store.get_chunks(vectors, [match.key for match in matches], embeddings=True)
    by_id = {one.chunk_id: np.array(one.embedding) for one in chunks.values()}
    for place, name in enumerate("ab"):
        assert by_id[name] == pytest.approx(points[place], rel=1e-3, abs=1e-3 * float(np.abs(points[place]).max()))
    plain = await store.get_chunks(vectors, [match.key for match in matches])
    assert not any(one.embedding for one in plain.values())


async def test_a_free_chunk_goes_with_its_document(store: Store, words: str) -> None:
    await store.write_documents(words, [document("d", ["apple"])])
    await store.insert_chunks(words, loose(chunk("banana", "d", "own")), None)
    await store.delete_documents(words, Selection(document_ids=["d"]))
    assert await store.search_words(words, query("banana"), 5) == []


async def test_what_does_not_exist_is_left_out(store: Store, words: str) -> None:
    assert await store.get_chunks(words, [123_456_789]) == {}
    assert await store.delete_chunks(words, ["missing"]) == 0


async def test_an_inserted_chunk_has_its_own_time_and_no_media_type(store: Store, words: str, clock: Clock) -> None:
    await store.insert_chunks(words, loose(chunk("banana", "free", "own")), None)
    assert await store.search_words(words, query("banana"), 5, where=comparison("present", "mime_type", None)) == []
    assert await store.search_words(words, query("banana"), 5, where=comparison("equal", "document_id", "free"))
    assert await store.search_words(
        words, query("banana"), 5, where=comparison("greater", "inserted_at", "2020-01-01T00:00:00Z")
    )
