from datetime import UTC, datetime

import pytest

from caravan import documents
from caravan.errors import InvalidInputError
from caravan.memory.v1 import graph_pb2, memory_pb2, query_pb2


def test_documents_are_messages_or_llama_stacks_shapes():
    message = memory_pb2.Document(document_id="a")
    shape = {"document_id": "b", "content": "words", "metadata": {"year": 2024}}
    address = {"document_id": "c", "content": {"uri": "https://example.org"}, "mime_type": "text/html"}
    built = documents.several([message, shape, address])
    assert [one.document_id for one in built] == ["a", "b", "c"]
    assert built[1].content.items[0].text == "words"
    assert built[1].metadata["year"] == 2024
    assert built[2].url.uri == "https://example.org"
    assert documents.several(shape) == [built[1]]


def test_what_is_no_document_is_refused_by_its_place():
    with pytest.raises(InvalidInputError, match=r"documents\[1\]"):
        documents.several([{"document_id": "a"}, {"document": "b"}])


def test_query_parameters_become_a_message():
    params = documents.query_params(
        {
            "max_chunks": 3,
            "mode": "hybrid",
            "filter": {"type": "and", "filters": [{"type": "eq", "key": "a", "value": 1}]},
            "ranker": {"type": "weighted", "alpha": 0.2},
            "rerank": {"model": "judge"},
        }
    )
    assert (params.max_chunks, params.mode, params.rerank.model) == (3, query_pb2.QUERY_MODE_HYBRID, "judge")
    assert params.filter.all_of.filters[0].equal.value.number_value == 1
    assert params.ranker.weighted.alpha == 0.2
    assert documents.query_params({}) == query_pb2.QueryParams()


def test_parameters_that_are_none_are_refused():
    with pytest.raises(InvalidInputError, match="chunks"):
        documents.query_params({"chunks": 3})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(InvalidInputError, match="vector"):
        documents.query_params({"mode": "fuzzy"})


@pytest.mark.parametrize("size", [0, 1, documents.PART_BYTES, documents.PART_BYTES + 1, 3 * documents.PART_BYTES])
def test_a_file_is_sent_in_parts_that_make_it_again(tmp_path, size):
    path = tmp_path / "data.md"
    content = bytes(n % 251 for n in range(1000)) * (size // 1000 + 1)
    path.write_bytes(content[:size])
    parts = [request.part for request in documents.file_requests(path, "name", metadata={"n": 1})]
    assert b"".join(part.data for part in parts) == content[:size]
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [part.HasField("head") for part in parts] == [True] + [False] * (len(parts) - 1)
    head = parts[0].head
    assert (head.document_id, head.mime_type, head.metadata["n"]) == ("name", "text/markdown", 1)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x", "text"),
        (b"x", "data"),
        (True, "boolean"),
        (2**60, "integer"),
        (0.5, "number"),
        ({"a": [1, None]}, "json"),
        ([1, "x"], "json"),
        (None, "json"),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), "timestamp"),
    ],
)
def test_a_value_has_its_type(value, kind):
    typed = documents.typed_value(value)
    assert typed.WhichOneof("value") == kind
    assert documents.plain_value(typed) == value


@pytest.mark.parametrize("value", [2**63, object(), datetime(2024, 5, 1), {"a": object()}])  # noqa: DTZ001
def test_what_is_no_value_is_refused(value):
    with pytest.raises(InvalidInputError):
        documents.typed_value(value)


def test_entities_are_names_and_relations_triples():
    facts = documents.graph_facts(
        ["Ada", {"name": "Charles", "entity_type": "person", "properties": {"born": 1791}}],
        [("Ada", "knows", "Charles"), {"subject": "Ada", "relation_type": "wrote", "object": "Note G", "weight": 2}],
    )
    assert [one.name for one in facts.entities] == ["Ada", "Charles"]
    assert facts.entities[1].properties["born"] == 1791
    assert [(one.subject, one.relation_type, one.object) for one in facts.relations] == [
        ("Ada", "knows", "Charles"),
        ("Ada", "wrote", "Note G"),
    ]
    assert facts.relations[1].weight == 2
    assert not facts.relations[0].HasField("weight")


def test_what_is_no_relation_is_refused_by_its_place():
    with pytest.raises(InvalidInputError, match=r"relations\[1\]: must be subject, type and object"):
        documents.graph_facts([], [("a", "b", "c"), ("a", "b")])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="none of out, in, both"):
        documents.relation_direction("up")
    assert documents.relation_direction(None) == graph_pb2.RELATION_DIRECTION_UNSPECIFIED
    assert documents.relation_direction("in") == graph_pb2.RELATION_DIRECTION_IN
