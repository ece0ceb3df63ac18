"""Filters mean the same in every store as in `services.memory.filters`."""

from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.memory.v1 import filters_pb2
from services.memory.filters import Subject, fits
from services.memory.ports import Store
from services.memory.records import ChunkBatch
from tests.conformance.memory.building import (
    Clock,
    both,
    chunk,
    chunk_ids,
    comparison,
    directions,
    document,
    either,
    loose,
    opposite,
    vector_spec,
    words,
)

TIMES = [
    "2024-01-01T00:00:00Z",
    "2024-01-01T01:00:00+01:00",
    "2024-06-01T12:00:00.5Z",
    "2024-01-01",
    "1999-12-31T23:59:59Z",
]
scalars = st.one_of(
    st.sampled_from(["", "a", "b", "ä", "Z", "漢", *TIMES]),
    st.sampled_from([0, 1, -1, 1.5, 2, 1e300]),
    st.booleans(),
)
values = st.one_of(scalars, st.none(), st.lists(st.one_of(scalars, st.none()), max_size=3))
names = st.sampled_from(["a", "b", "c"])
metadatas = st.dictionaries(names, st.one_of(values, st.dictionaries(names, values, max_size=2)), max_size=3)
keys = st.sampled_from(
    ["a", "b", "c", "a.a", "a.b", "b.c", "missing", "a.a.a", "mime_type", "document_id", "inserted_at"]
)
comparable = scalars.filter(lambda value: not isinstance(value, bool))

leaves = st.one_of(
    st.builds(comparison, st.sampled_from(["equal", "not_equal"]), keys, scalars),
    st.builds(comparison, st.sampled_from(["greater", "greater_or_equal", "less", "less_or_equal"]), keys, comparable),
    st.builds(comparison, st.just("one_of"), keys, st.lists(scalars, min_size=1, max_size=3)),
    st.builds(comparison, st.just("present"), keys, st.none()),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(st.builds(both, inner, inner), st.builds(either, inner, inner), st.builds(opposite, inner)),
    max_leaves=5,
)
ALL = filters_pb2.MetadataFilter()


async def search(store: Store, bank_id: str, where: filters_pb2.MetadataFilter) -> set[str]:
    by_vector = await store.search_vectors(bank_id, directions(1)[0], 500, where=where)
    by_words = await store.search_words(bank_id, words("word"), 500, where=where)
    assert {match.key for match in by_vector} == {match.key for match in by_words}
    return set(await chunk_ids(store, bank_id, by_vector))


@given(documents=st.lists(metadatas, min_size=1, max_size=6), own=st.lists(metadatas, max_size=4), data=st.data())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_what_is_found_is_what_fits(
    store: Store, clock: Clock, documents: list[dict[str, Any]], own: list[dict[str, Any]], data: st.DataObject
) -> None:
    """A bank of documents, chunks of theirs, and free chunks, asked by several filters."""
    spec = vector_spec()
    await store.open_bank(spec)
    subjects: dict[str, Subject] = {}
    writes = []
    for place, metadata in enumerate(documents):
        mime_type = ("text/plain", "")[place % 2]
        write = document(f"d{place}", ["word"], vectors=directions(1, place), metadata=metadata, mime_type=mime_type)
        writes.append(write)
        subjects[f"d{place}#0"] = Subject(f"d{place}", mime_type, clock.now, write.document.metadata)
    await store.write_documents(spec.bank_id, writes)
    chunks = []
    for place, metadata in enumerate(own):
        one = chunk("word", f"d{place}" if place % 2 else f"free{place}", f"own{place}", metadata=metadata)
        merged = struct_pb2.Struct()
        if place % 2 and place < len(documents):
            merged.CopyFrom(writes[place].document.metadata)
        for key, value in one.metadata.fields.items():
            merged.fields[key].CopyFrom(value)
        subjects[one.chunk_id] = Subject(one.document_id, "", clock.now, merged)
        chunks.append(one)
    if chunks:
        await store.insert_chunks(spec.bank_id, ChunkBatch(chunks, directions(len(chunks), 99)), None)
    for condition in data.draw(st.lists(filters, min_size=4, max_size=8)):
        expected = {name for name, subject in subjects.items() if fits(condition, subject)}
        assert await search(store, spec.bank_id, condition) == expected
        listed = await store.list_documents(spec.bank_id, after="", limit=100, where=condition)
        assert {f"{one.document_id}#0" for one in listed} == {name for name in expected if name.startswith("d")}
    await store.drop_bank(spec.bank_id)


@pytest.fixture
async def shelf(store: Store, vectors: str, clock: Clock) -> str:
    books = {
        "iliad": {"year": -750, "tags": ["epic", "war"], "author": {"name": "Homer"}, "lent": False},
        "ulysses": {"year": 1922, "tags": ["novel"], "author": {"name": "Joyce"}, "lent": True},
        "beowulf": {"year": "unknown", "tags": [], "read": "2024-05-01T10:00:00+02:00"},
        "anon": {},
    }
    writes = [
        document(name, ["word"], vectors=directions(1, place), metadata=metadata)
        for place, (name, metadata) in enumerate(books.items())
    ]
    await store.write_documents(vectors, writes)
    return vectors


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (comparison("equal", "year", 1922), {"ulysses"}),
        (comparison("not_equal", "year", 1922), {"iliad", "beowulf", "anon"}),
        (comparison("less", "year", 0), {"iliad"}),
        (comparison("greater_or_equal", "year", -750), {"iliad", "ulysses"}),
        (comparison("equal", "year", "1922"), set()),
        (comparison("equal", "lent", False), {"iliad"}),
        (comparison("equal", "lent", 0), set()),
        (comparison("one_of", "tags", ["war", "novel"]), {"iliad", "ulysses"}),
        (comparison("equal", "tags", "novel"), set()),
        (comparison("present", "tags", None), {"iliad", "ulysses", "beowulf"}),
        (comparison("equal", "author.name", "Homer"), {"iliad"}),
        (comparison("present", "author", None), {"iliad", "ulysses"}),
        (comparison("equal", "read", "2024-05-01T08:00:00Z"), {"beowulf"}),
        (comparison("less", "read", "2024-05-01T08:00:00.000001Z"), {"beowulf"}),
        (comparison("equal", "document_id", "anon"), {"anon"}),
        (comparison("one_of", "document_id", ["anon", "iliad", 3]), {"anon", "iliad"}),
        (comparison("greater", "document_id", "b"), {"beowulf", "iliad", "ulysses"}),
        (comparison("equal", "mime_type", "text/plain"), {"iliad", "ulysses", "beowulf", "anon"}),
        (comparison("greater", "inserted_at", "2100-01-01T00:00:00Z"), set()),
        (
            both(comparison("present", "year", None), opposite(comparison("equal", "lent", True))),
            {"iliad", "beowulf"},
        ),
        (either(comparison("less", "year", 0), comparison("equal", "lent", True)), {"iliad", "ulysses"}),
        (opposite(comparison("present", "year", None)), {"anon"}),
    ],
    ids=str,
)
async def test_a_filter_means_what_the_contract_says(
    store: Store, shelf: str, condition: filters_pb2.MetadataFilter, expected: set[str]
) -> None:
    assert await search(store, shelf, condition) == {f"{name}#0" for name in expected}


async def test_a_filter_of_many_parts_is_answered(store: Store, shelf: str) -> None:
    deep = comparison("equal", "year", 1922)
    for _ in range(14):
        deep = opposite(deep)
    assert await search(store, shelf, deep) == {"ulysses#0"}
    many = either(*(comparison("equal", "year", year) for year in range(1900, 2100)))
    assert await search(store, shelf, many) == {"ulysses#0"}
    hostile = comparison("equal", "year'; DROP TABLE chunks; --", "x' OR '1'='1")
    assert await search(store, shelf, hostile) == set()
    assert await search(store, shelf, opposite(hostile)) == {"iliad#0", "ulysses#0", "beowulf#0", "anon#0"}


async def test_a_filter_sees_changed_metadata_at_once(store: Store, shelf: str) -> None:
    where = comparison("equal", "lent", True)
    assert await search(store, shelf, where) == {"ulysses#0"}
    await store.write_documents(shelf, [document("anon", ["word"], vectors=directions(1, 7), metadata={"lent": True})])
    assert await search(store, shelf, where) == {"ulysses#0", "anon#0"}
    await store.insert_chunks(
        shelf, loose(chunk("word", "x", "x", metadata={"lent": True}), vectors=directions(1, 8)), None
    )
    assert await search(store, shelf, where) == {"ulysses#0", "anon#0", "x"}
