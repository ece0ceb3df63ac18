import pytest
from google.protobuf import json_format, struct_pb2

from caravan.memory.v1 import filters_pb2
from services.core.errors import InvalidArgumentError
from services.memory.filters import Subject, check_filter, fits, instant

METADATA = {
    "n": 3,
    "s": "b",
    "t": "2024-05-01T12:00:00Z",
    "b": True,
    "nothing": None,
    "list": [1, "x", True],
    "o": {"p": {"q": "deep"}},
    "document_id": "not this",
}


def subject(**fields):
    metadata = struct_pb2.Struct()
    metadata.update(METADATA)
    return Subject(
        **{"document_id": "doc", "mime_type": "text/plain", "inserted_at": 1_000_000.5, "metadata": metadata, **fields}
    )


def condition(shape):
    return json_format.ParseDict(shape, filters_pb2.MetadataFilter())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"equal": {"key": "n", "value": 3}}, True),
        ({"equal": {"key": "n", "value": "3"}}, False),
        ({"equal": {"key": "b", "value": 1}}, False),
        ({"equal": {"key": "nothing", "value": "x"}}, False),
        ({"notEqual": {"key": "nothing", "value": "x"}}, True),
        ({"notEqual": {"key": "missing", "value": "x"}}, True),
        ({"present": {"key": "nothing"}}, True),
        ({"present": {"key": "missing"}}, False),
        ({"present": {"key": "o.p.q"}}, True),
        ({"present": {"key": "o.p.q.r"}}, False),
        ({"present": {"key": "list.0"}}, False),
        ({"equal": {"key": "list", "value": 1}}, False),
        ({"oneOf": {"key": "list", "values": ["x"]}}, True),
        ({"oneOf": {"key": "list", "values": [0, 2]}}, False),
        ({"oneOf": {"key": "n", "values": [1, 3]}}, True),
        ({"oneOf": {"key": "missing", "values": [1]}}, False),
        ({"greater": {"key": "s", "value": "a"}}, True),
        ({"greater": {"key": "s", "value": 1}}, False),
        ({"lessOrEqual": {"key": "s", "value": 1}}, False),
        ({"equal": {"key": "t", "value": "2024-05-01T14:00:00+02:00"}}, True),
        ({"less": {"key": "t", "value": "2024-05-01T12:00:00.000001Z"}}, True),
        ({"greater": {"key": "t", "value": "2024"}}, False),
        ({"equal": {"key": "document_id", "value": "doc"}}, True),
        ({"equal": {"key": "mime_type", "value": "text/plain"}}, True),
        ({"equal": {"key": "inserted_at", "value": "1970-01-12T13:46:40.5Z"}}, True),
        ({"allOf": {"filters": [{"present": {"key": "n"}}, {"present": {"key": "z"}}]}}, False),
        ({"anyOf": {"filters": [{"present": {"key": "n"}}, {"present": {"key": "z"}}]}}, True),
        ({"negation": {"filter": {"present": {"key": "z"}}}}, True),
    ],
)
def test_a_filter_means(shape, expected):
    filter_ = condition(shape)
    check_filter(filter_, "filter")
    assert fits(filter_, subject()) is expected


def test_asking_does_not_change_the_metadata():
    one = subject()
    before = one.metadata.SerializeToString(deterministic=True)
    fits(condition({"equal": {"key": "x.y", "value": 1}}), one)
    assert one.metadata.SerializeToString(deterministic=True) == before


def test_a_chunk_without_a_media_type_has_none():
    assert not fits(condition({"present": {"key": "mime_type"}}), subject(mime_type=""))


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ({"equal": {"key": "a", "value": None}}, "filter.equal.value"),
        ({"equal": {"key": "a", "value": [1]}}, "filter.equal.value"),
        ({"greaterOrEqual": {"key": "a", "value": True}}, "filter.greater_or_equal.value"),
        ({"oneOf": {"key": "a", "values": [1, {}]}}, "filter.one_of.values[1]"),
        (
            {"allOf": {"filters": [{"negation": {"filter": {"less": {"key": "a", "value": False}}}}]}},
            "filter.all_of.filters[0].negation.filter.less.value",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_its_path(shape, path):
    with pytest.raises(InvalidArgumentError) as refused:
        check_filter(condition(shape), "filter")
    assert refused.value.violations[0].field == path


def deep(levels):
    inner = condition({"present": {"key": "a"}})
    for _ in range(levels - 1):
        outer = filters_pb2.MetadataFilter()
        outer.negation.filter.CopyFrom(inner)
        inner = outer
    return inner


def test_filters_nest_sixteen_deep_and_no_deeper():
    check_filter(deep(16), "filter")
    with pytest.raises(InvalidArgumentError, match="16"):
        check_filter(deep(17), "filter")


def test_filters_have_256_conditions_and_no_more():
    def of(count):
        filter_ = filters_pb2.MetadataFilter()
        for _ in range(count - 1):
            filter_.all_of.filters.add().present.key = "a"
        return filter_

    check_filter(of(256), "filter")
    with pytest.raises(InvalidArgumentError, match="256"):
        check_filter(of(257), "filter")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01.5z", 1_500_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01T00:00:60Z", 60_000_000),
        ("1970-01-01", None),
        ("1970-01-01 00:00:00Z", None),
        ("1970-13-01T00:00:00Z", None),
        ("1970-01-01T00:00:00+00:99", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("", None),
    ],
)
def test_times_are_told_from_texts(text, micros):
    assert instant(text) == micros
