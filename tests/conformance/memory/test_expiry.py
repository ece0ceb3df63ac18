"""What has expired is never seen, and goes for good when it is purged."""

import pytest

from caravan.memory.v1 import memory_pb2
from services.core.errors import AbortedError, NotFoundError
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
    receipt,
    text_value,
    with_vectors,
    words,
)

query = words


async def test_an_expired_document_is_not_seen_anywhere(store: Store, vectors: str, clock: Clock) -> None:
    await store.write_documents(
        vectors, [with_vectors("short", 2, expires_at=clock.now + 10), with_vectors("long", 1, seed=5)]
    )
    matches = await store.search_vectors(vectors, directions(1)[0], 10)
    assert len(matches) == 3
    assert (await store.get_documents(vectors, ["short"]))["short"].document.expires_at == at(clock.now + 10)
    clock.now += 10
    for exact in (False, True):
        left = await store.search_vectors(vectors, directions(1)[0], 10, exact=exact)
        assert await chunk_ids(store, vectors, left) == ["long#0"]
    where = comparison("present", "document_id", None)
    assert len(await store.search_vectors(vectors, directions(1)[0], 10, where=where)) == 1
    assert len(await store.search_words(vectors, query("piece"), 10)) == 1
    assert len(await store.get_chunks(vectors, [match.key for match in matches])) == 1
    assert list(await store.get_documents(vectors, ["short", "long"])) == ["long"]
    assert [one.document_id for one in await store.list_documents(vectors, after="", limit=10)] == ["long"]


async def test_an_expired_document_is_absent_to_mutations(store: Store, words: str, clock: Clock) -> None:
    await store.write_documents(words, [document("a", ["apple"], expires_at=clock.now + 5)])
    await store.insert_chunks(words, loose(chunk("banana", "a", "own")), None)
    clock.now += 6
    without = DocumentWrite(memory_pb2.StoredDocument(document_id="a"), "r")
    with pytest.raises(NotFoundError):
        await store.write_documents(words, [without])
    with pytest.raises(AbortedError):
        await store.write_documents(words, [document("a", expected_revision=1)])
    assert await store.delete_documents(words, Selection(document_ids=["a"])) == 0
    (result,) = await store.write_documents(words, [document("a", ["cherry"], expected_revision=0)])
    assert (result.outcome, result.revision) == (memory_pb2.DOCUMENT_OUTCOME_INSERTED, 1)
    assert (await store.get_documents(words, ["a"]))["a"].document.inserted_at == at(clock.now)
    matches = await store.search_words(words, query("apple", "banana", "cherry"), 10)
    assert await chunk_ids(store, words, matches) == ["a#0"]


async def test_a_document_can_be_given_a_longer_life(store: Store, words: str, clock: Clock) -> None:
    write = document("a", ["apple"], expires_at=clock.now + 5)
    await store.write_documents(words, [write])
    longer = memory_pb2.StoredDocument()
    longer.CopyFrom(write.document)
    longer.expires_at.CopyFrom(at(clock.now + 100))
    longer.ClearField("content")
    await store.write_documents(words, [DocumentWrite(longer, "r")])
    clock.now += 50
    assert len(await store.search_words(words, query("apple"), 10)) == 1
    longer.ClearField("expires_at")
    await store.write_documents(words, [DocumentWrite(longer, "r")])
    clock.now += 100
    assert len(await store.search_words(words, query("apple"), 10)) == 1
    assert list(await store.get_documents(words, ["a"])) == ["a"]


async def test_an_expired_chunk_is_not_seen(store: Store, vectors: str, clock: Clock) -> None:
    points = directions(2)
    await store.insert_chunks(vectors, loose(chunk("apple", "free", "short"), vectors=points[:1]), clock.now + 5)
    await store.insert_chunks(vectors, loose(chunk("apple", "free", "long"), vectors=points[1:]), None)
    matches = await store.search_vectors(vectors, points[0], 10)
    clock.now += 5
    assert await chunk_ids(store, vectors, await store.search_vectors(vectors, points[0], 10)) == ["long"]
    assert await chunk_ids(store, vectors, await store.search_words(vectors, query("apple"), 10)) == ["long"]
    assert len(await store.get_chunks(vectors, [match.key for match in matches])) == 1
    assert await store.delete_chunks(vectors, ["short", "long"]) == 1


async def test_a_chunk_expires_with_the_document_that_it_belongs_to(store: Store, words: str, clock: Clock) -> None:
    await store.write_documents(words, [document("d", ["apple"], expires_at=clock.now + 5)])
    await store.insert_chunks(words, loose(chunk("banana", "d", "own")), clock.now + 1000)
    assert len(await store.search_words(words, query("banana"), 10)) == 1
    clock.now += 6
    assert await store.search_words(words, query("banana"), 10) == []
    # The document is absent, so a chunk that names it now stands for itself.
    await store.insert_chunks(words, loose(chunk("cherry", "d", "later")), None)
    assert len(await store.search_words(words, query("cherry"), 10)) == 1


async def test_an_expired_value_is_absent(store: Store, pairs: str, clock: Clock) -> None:
    entry = await store.put_value(pairs, "k", text_value("v"), expires_at=clock.now + 5)
    assert entry.expires_at == at(clock.now + 5)
    clock.now += 5
    assert await store.get_values(pairs, ["k"]) == {}
    assert await store.list_values(pairs, prefix="", after="", limit=10) == []
    assert await store.delete_value(pairs, "k") is False
    again = await store.put_value(pairs, "k", text_value("w"), expected_revision=0)
    assert again.revision == 1
    assert not again.HasField("expires_at")


async def test_a_purge_deletes_what_has_expired_and_nothing_else(store: Store, words: str, clock: Clock) -> None:
    short = [document(f"s{place}", ["apple", "banana"], expires_at=clock.now + 5) for place in range(5)]
    await store.write_documents(words, [*short, document("long", ["apple"])], receipt("r"))
    await store.insert_chunks(words, loose(chunk("t", "free", "c")), clock.now + 5)
    clock.now += 10
    assert await store.purge(words, 3) == 3
    purged = 3
    while more := await store.purge(words, 100):
        purged += more
    assert purged == 6
    statistics = await store.statistics(words)
    assert (statistics.document_count, statistics.chunk_count) == (1, 1)
    assert len(await store.search_words(words, query("apple"), 10)) == 1
    clock.now += 25 * 3600
    assert await store.purge(words, 100) == 1
    assert await store.find_receipt(words, "Insert", "r") is None


async def test_a_purge_deletes_expired_values(store: Store, pairs: str, clock: Clock) -> None:
    for place in range(4):
        await store.put_value(pairs, f"k{place}", text_value("v"), expires_at=clock.now + place + 1)
    clock.now += 2
    assert await store.purge(pairs, 100) == 2
    assert [entry.key for entry in await store.list_values(pairs, prefix="", after="", limit=9)] == ["k2", "k3"]
    assert (await store.statistics(pairs)).document_count == 2
