"""Filters as SQL must mean what `services.memory.filters` says, whatever keys, values and metadata hold."""

from typing import Any

import hypothesis
import pytest
from google.protobuf import struct_pb2
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from caravan.memory.v1 import filters_pb2, memory_pb2
from services.memory import filters
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import ChunkBatch, DocumentWrite
from tests.services.memory.providers.postgres.building import condition, keyword_bank

NAMES = [
    "a",
    "b",
    "a.b",
    "b.a.b",
    "",
    "a.",
    "mime_type",
    "document_id",
    "inserted_at",
    "t",
    "x\x00y",
    "'; DROP",
    '"',
    "$1",
    "ä\x01",
]
SCALARS: list[Any] = [
    "", "a", "b", "ab", "ä", "Z", "1", "true", "null", "{}", "x\x00y", "x\x01", "'; DROP TABLE banks; --", "%", "\\", "\U0001f600",
    "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000001Z", "2026-01-01", "2016-12-31T23:59:60Z",
    0, -0.0, 1, 1.5, -1, 1e308, 5e-324, 2**53, 0.1, float("inf"), float("-inf"), True, False,
]  # fmt: skip
scalars = st.sampled_from(SCALARS)
leaves = scalars | st.none() | st.just(float("nan"))
inner_names = st.sampled_from(["a", "b", "t", "a.b", "", "x\x00y", "'; DROP"])
metadata = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(inner_names, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from([name for name in NAMES if name != "b.a.b"]), metadata, max_size=5)
keys = st.sampled_from([name for name in NAMES if name])
comparisons = st.fixed_dictionaries({"key": keys, "value": scalars})
ordered = st.fixed_dictionaries({"key": keys, "value": scalars.filter(lambda value: not isinstance(value, bool))})
conditions = st.recursive(
    st.builds(lambda compared, kind: {kind: compared}, comparisons, st.sampled_from(["equal", "not_equal"]))
    | st.builds(
        lambda compared, kind: {kind: compared},
        ordered,
        st.sampled_from(["greater", "greater_or_equal", "less", "less_or_equal"]),
    )
    | st.builds(
        lambda key, values: {"one_of": {"key": key, "values": values}}, keys, st.lists(scalars, min_size=1, max_size=4)
    )
    | st.builds(lambda key: {"one_of": {"key": key, "values": SCALARS * 2}}, keys)
    | st.builds(lambda key: {"present": {"key": key}}, keys),
    lambda inner: (
        st.builds(
            lambda parts, kind: {kind: {"filters": parts}},
            st.lists(inner, min_size=1, max_size=3),
            st.sampled_from(["all_of", "any_of"]),
        )
        | st.builds(lambda part: {"negation": {"filter": part}}, inner)
    ),
    max_leaves=5,
)


def value(of: Any) -> struct_pb2.Value:
    """A value, NaN and infinity too, which JSON has not."""
    match of:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=of)
        case str():
            return struct_pb2.Value(string_value=of)
        case list():
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value(one) for one in of]))
        case dict():
            return struct_pb2.Value(struct_value=struct(of))
        case _:
            return struct_pb2.Value(number_value=of)


def struct(of: dict[str, Any]) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={name: value(one) for name, one in of.items()})


def made(of: dict[str, Any]) -> filters_pb2.MetadataFilter:
    """A filter of the same shape as its JSON."""
    ((kind, parts),) = of.items()
    match kind:
        case "all_of" | "any_of":
            inner = filters_pb2.MetadataFilterList(filters=[made(part) for part in parts["filters"]])
            return filters_pb2.MetadataFilter(**{kind: inner})
        case "negation":
            return filters_pb2.MetadataFilter(negation=filters_pb2.MetadataNegation(filter=made(parts["filter"])))
        case "present":
            return filters_pb2.MetadataFilter(present=filters_pb2.MetadataPresence(**parts))
        case "one_of":
            values = [value(one) for one in parts["values"]]
            return filters_pb2.MetadataFilter(one_of=filters_pb2.MetadataMembership(key=parts["key"], values=values))
        case _:
            comparison = filters_pb2.MetadataComparison(key=parts["key"], value=value(parts["value"]))
            return filters_pb2.MetadataFilter(**{kind: comparison})


@pytest.fixture
async def bank(store: PostgresStore) -> PostgresStore:
    await store.open_bank(keyword_bank("b"))
    return store


def document(document_id: str, facts: dict[str, Any], mime_type: str) -> DocumentWrite:
    stored = memory_pb2.StoredDocument(document_id=document_id, metadata=struct(facts), mime_type=mime_type)
    return DocumentWrite(stored, "", ChunkBatch([]))


@given(
    facts=st.lists(objects, min_size=1, max_size=12),
    asked=st.lists(conditions, min_size=1, max_size=8),
    mime_type=st.sampled_from(["", "text/plain", "2026-01-01T00:00:00Z"]),
)
@hypothesis.settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_sql_and_the_plain_evaluation_agree(
    bank: PostgresStore, facts: list[dict[str, Any]], asked: list[dict[str, Any]], mime_type: str
) -> None:
    names = ["2026-01-01T00:00:00Z", "a\x00b", *(f"d{at}" for at in range(len(facts)))][: len(facts)]
    await bank.write_documents("b", [document(name, one, mime_type) for name, one in zip(names, facts, strict=True)])
    records = await bank.get_documents("b", names)
    for one in asked:
        wanted = made(one)
        filters.check_filter(wanted, "filter")
        expected = [name for name in sorted(names) if filters.fits(wanted, subject(records[name].document))]
        found = await bank.list_documents("b", after="", limit=1000, where=wanted)
        assert [listed.document_id for listed in found if listed.document_id in names] == expected, one


def subject(document: memory_pb2.StoredDocument) -> filters.Subject:
    inserted_at = document.inserted_at.ToMicroseconds() / 1_000_000
    return filters.Subject(document.document_id, document.mime_type, inserted_at, document.metadata)


async def test_the_time_of_insertion_is_compared_as_a_time(bank: PostgresStore) -> None:
    await bank.write_documents("b", [document("d", {}, "")])
    inserted = (await bank.get_documents("b", ["d"]))["d"].document.inserted_at.ToJsonString()
    for kind, fits in (("equal", True), ("less", False), ("less_or_equal", True), ("greater_or_equal", True)):
        found = await bank.list_documents(
            "b", after="", limit=10, where=condition({kind: {"key": "inserted_at", "value": inserted}})
        )
        assert bool(found) is fits, kind
    text = condition({"less": {"key": "inserted_at", "value": "z"}})
    assert not await bank.list_documents("b", after="", limit=10, where=text)


async def test_a_filter_of_the_largest_size_is_answered(bank: PostgresStore) -> None:
    await bank.write_documents("b", [document("d", {"a": 1}, "")])
    part = {"one_of": {"key": "a", "values": list(range(1000))}}
    wide = {"any_of": {"filters": [part] * 20}}
    for _ in range(13):
        wide = {"negation": {"filter": wide}}
    found = await bank.list_documents("b", after="", limit=10, where=condition({"negation": {"filter": wide}}))
    assert [one.document_id for one in found] == ["d"]
