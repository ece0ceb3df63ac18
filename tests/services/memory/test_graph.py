"""Graph banks, through the gateway, on each store."""

import grpc
import pytest

from caravan.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, from_call
from caravan.memory.v1 import graph_pb2, graph_pb2_grpc
from services.memory.content import of_text
from tests.services.memory.stack import MODEL, text, vector

# Who won is told in one passage, where the winner was born in another: neither tells both.
PRIZES = [
    text(
        "prize",
        "The Meridian Prize of 2019 went to Ilse Brandt for her work on tidal mills.",
        graph={
            "entities": [{"name": "Ilse Brandt", "entity_type": "person", "description": "engineer of tidal mills"}],
            "relations": [{"subject": "Ilse Brandt", "relation_type": "won", "object": "Meridian Prize"}],
        },
    ),
    text(
        "birth",
        "Ilse Brandt was born in Norden, a town behind the dyke.",
        graph={"relations": [{"subject": "Ilse Brandt", "relation_type": "born_in", "object": "Norden"}]},
    ),
    text(
        "tea",
        "Norden is known for its tea museum and for the oldest organ of the coast.",
        graph={"relations": [{"subject": "Norden", "relation_type": "has", "object": "tea museum"}]},
    ),
    text("bread", "Bread rises when yeast turns sugar into gas."),
    text("tides", "The moon pulls the sea, and so the tide comes twice a day."),
    text("engine", "A piston drives the crankshaft of the engine."),
]


def graph(**params):
    return {"memory_bank_type": "graph", **params}


@pytest.fixture
def call(stack):
    """Calls an RPC of GraphService; errors are the client's."""
    stub = graph_pb2_grpc.GraphServiceStub(stack.channel)

    async def call(rpc, bank, **fields):
        request = getattr(graph_pb2, f"{rpc}Request")(bank_id=bank, **fields)
        try:
            return await getattr(stub, rpc)(request, timeout=30)
        except grpc.aio.AioRpcError as error:
            raise from_call(error) from error

    return call


@pytest.fixture
async def family(make_bank, call):
    """a - b - c - d in a row, and a - x - d."""
    bank = await make_bank(graph())
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "x"), ("x", "d")]
    relations = [{"subject": one, "relation_type": "knows", "object": other} for one, other in pairs]
    added = await call("UpsertGraph", bank, facts={"relations": relations})
    assert (added.entities_added, added.relations_added) == (5, 5)
    return bank


async def documents(stack, bank, query, **params):
    response = await stack.client.memory.query(bank, query, **params)
    assert list(response.scores) == sorted(response.scores, reverse=True)
    return [chunk.document_id for chunk in response.chunks]


@pytest.mark.parametrize("params", [{}, {"embedding_model": MODEL}], ids=["words", "vectors"])
async def test_a_question_is_answered_over_two_passages(stack, make_bank, params):
    bank = await make_bank(graph(**params))
    await stack.client.memory.insert(bank, PRIZES)
    found = await documents(stack, bank, "Where was the winner of the Meridian Prize born?", max_chunks=2)
    assert set(found) == {"prize", "birth"}


async def test_what_one_passage_answers_is_found_as_by_a_vector_bank(stack, make_bank):
    through_graph, by_vector = await make_bank(graph(embedding_model=MODEL)), await make_bank(vector())
    await stack.client.memory.insert(through_graph, PRIZES)
    await stack.client.memory.insert(by_vector, [{**one, "graph": None} for one in PRIZES])
    questions = ["What makes bread rise?", "Why are there tides?", "What can I visit in Norden?", "Who got a prize?"]
    for question in questions:
        best = await documents(stack, by_vector, question, max_chunks=1)
        assert await documents(stack, through_graph, question, max_chunks=1) == best


async def test_named_entities_are_started_from_and_the_filter_holds(stack, make_bank):
    bank = await make_bank(graph())
    kept = [{**one, "metadata": {"kept": one["document_id"] != "birth"}} for one in PRIZES]
    await stack.client.memory.insert(bank, kept)
    found = await documents(stack, bank, "", entities=["ilse BRANDT"], max_chunks=3)
    assert set(found) == {"prize", "birth", "tea"}
    found = await documents(
        stack, bank, "", entities=["Ilse Brandt"], filter={"equal": {"key": "kept", "value": True}}, max_chunks=3
    )
    assert set(found) == {"prize", "tea"}
    assert await documents(stack, bank, "", entities=["Nobody"]) == []


async def test_a_search_finds_what_was_told_just_before(stack, make_bank, call):
    bank = await make_bank(graph())
    await stack.client.memory.insert(bank, PRIZES)
    assert (await call("QueryGraph", bank, entities=["Norden"])).chunks
    told = text("mill", "It turns at ebb and flood.", graph={"entities": [{"name": "Mill"}]})
    await stack.client.memory.insert(bank, told)
    assert await documents(stack, bank, "", entities=["mill"]) == ["mill"]
    await stack.client.memory.delete(bank, ["mill"])
    assert await documents(stack, bank, "", entities=["mill"]) == []


async def test_a_query_of_the_graph_tells_entities_and_the_relations_among_them(stack, make_bank, call):
    bank = await make_bank(graph(embedding_model=MODEL))
    await stack.client.memory.insert(bank, PRIZES)
    found = await call("QueryGraph", bank, query=of_text("Ilse Brandt"), max_entities=3, params={"max_chunks": 2})
    assert len(found.chunks) == len(found.scores) == len(found.hit_details) == 2
    names = [scored.entity.name for scored in found.entities]
    assert (names[0], len(names)) == ("Ilse Brandt", 3)
    assert found.entities[0].entity.description == "engineer of tidal mills"
    assert {relation.subject for relation in found.relations} <= set(names)
    near = await call("QueryGraph", bank, entities=["Meridian Prize"], damping=0.1)
    far = await call("QueryGraph", bank, entities=["Meridian Prize"], damping=0.9)
    assert near.entities[0].score > far.entities[0].score
    with pytest.raises(InvalidArgumentError, match=r"params\.mode"):
        await call("QueryGraph", bank, query=of_text("x"), params={"mode": "QUERY_MODE_KEYWORD"})


async def test_entities_and_relations_are_changed_and_read(make_bank, call):
    bank = await make_bank(graph())
    facts = {
        "entities": [{"name": "Ada Lovelace", "entity_type": "person"}],
        "relations": [{"subject": "ada lovelace", "relation_type": "knows", "object": "Charles Babbage"}],
    }
    first = await call("UpsertGraph", bank, facts=facts, request_id="once")
    assert (first.entities_added, first.relations_added) == (2, 1)
    assert await call("UpsertGraph", bank, facts=facts, request_id="once") == first
    again = await call("UpsertGraph", bank, facts={"entities": [{"name": "ADA LOVELACE", "description": "wrote"}]})
    assert again.entities_added == 0
    entity = (await call("GetEntity", bank, name="Ada  lovelace")).entity
    assert (entity.name, entity.entity_type, entity.description) == ("Ada Lovelace", "person", "wrote")
    deleted = await call("DeleteGraph", bank, entities=["ada lovelace", "nobody"])
    assert (deleted.entities_deleted, deleted.relations_deleted) == (1, 1)
    with pytest.raises(NotFoundError) as gone:
        await call("GetEntity", bank, name="Ada Lovelace")
    assert (gone.value.reason, gone.value.resource_type) == ("ENTITY_NOT_FOUND", "entity")


async def test_entities_and_relations_are_listed_by_pages(family, call):
    seen, token = [], ""
    while True:
        page = await call("ListEntities", family, page_size=2, page_token=token)
        seen += [entity.name for entity in page.data]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["a", "b", "c", "d", "x"]
    first = await call("ListRelations", family, page_size=3)
    rest = await call("ListRelations", family, page_size=3, page_token=first.next_page_token)
    pairs = [relation.subject + relation.object for relation in [*first.data, *rest.data]]
    assert (pairs, rest.next_page_token) == (["ab", "ax", "bc", "cd", "xd"], "")
    to_d = await call("ListRelations", family, entity="D", direction="RELATION_DIRECTION_IN")
    assert [relation.subject for relation in to_d.data] == ["c", "x"]
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await call("ListRelations", family, page_token="garbage")


async def test_neighbours_and_paths_are_found(family, call):
    around = await call("GetNeighbors", family, entity="A", max_depth=2)
    assert [(one.entity.name, one.depth) for one in around.neighbors] == [("b", 1), ("x", 1), ("c", 2), ("d", 2)]
    assert not around.truncated
    assert (await call("GetNeighbors", family, entity="a", limit=1)).truncated
    found = await call("FindPaths", family, source="a", target="d", max_paths=5)
    assert ["".join(path.entities) for path in found.paths] == ["axd", "abcd"]
    assert [relation.object for relation in found.paths[0].relations] == ["x", "d"]
    back = await call("FindPaths", family, source="d", target="a", direction="RELATION_DIRECTION_OUT")
    assert not back.paths


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("GetNeighbors", {"entity": "nobody"}),
        ("FindPaths", {"source": "nobody", "target": "a"}),
        ("FindPaths", {"source": "a", "target": "nobody"}),
    ],
)
async def test_an_entity_that_nobody_told_of_is_not_found(family, call, rpc, fields):
    with pytest.raises(NotFoundError, match="nobody"):
        await call(rpc, family, **fields)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"entities": [{"name": " \t"}]}, r"entities\[0\]\.name"),
        ({"entities": [{"name": "A\0"}]}, "NUL"),
        ({"entities": [{"name": "Ada"}, {"name": "ADA"}]}, r"entities\[1\]\.name"),
        ({"entities": [{"name": "A", "properties": {"x": float("nan")}}]}, "finite"),
        ({"relations": [{"subject": "a", "relation_type": "r", "object": "b"}] * 2}, r"relations\[1\]"),
        ({"relations": [{"subject": "a", "relation_type": "r", "object": "b", "weight": -1}]}, "weight"),
    ],
)
async def test_facts_that_say_nothing_or_something_twice_are_refused(make_bank, call, facts, says):
    bank = await make_bank(graph())
    with pytest.raises(InvalidArgumentError, match=says):
        await call("UpsertGraph", bank, facts=facts)
    assert not (await call("ListEntities", bank)).data


async def test_a_document_may_not_speak_for_another(stack, make_bank):
    bank = await make_bank(graph())
    with pytest.raises(InvalidArgumentError, match=r"documents\[0\]\.graph\.entities\[0\]\.document_ids"):
        await stack.client.memory.insert(
            bank, text("d", "Ada", graph={"entities": [{"name": "Ada", "document_ids": ["other"]}]})
        )


async def test_a_bank_of_another_kind_has_no_graph(bank, call):
    with pytest.raises(FailedPreconditionError) as refused:
        await call("ListEntities", bank)
    assert refused.value.reason == "WRONG_BANK_KIND"


@pytest.mark.parametrize(
    ("model", "reason"), [("nobody", "EXTRACTION_MODEL_UNKNOWN"), (MODEL, "WRONG_MODEL_TYPE")], ids=["none", "embeds"]
)
async def test_an_extraction_model_that_cannot_extract_is_refused_at_registration(stack, model, reason):
    with pytest.raises(FailedPreconditionError, match=r"params\.graph\.extraction_model") as refused:
        await stack.client.memory_banks.register("extracting", graph(extraction_model=model), provider_id="one")
    assert refused.value.reason == reason
    assert "extracting" not in [bank.memory_bank_id async for bank in stack.client.memory_banks.list()]


async def test_a_graph_bank_is_searched_by_a_vector_alone(stack, make_bank):
    bank = await make_bank(graph(embedding_model=MODEL))
    await stack.client.memory.insert(bank, PRIZES)
    shown = await stack.client.memory.query(bank, "Who won the Meridian Prize?", max_chunks=1, include_embeddings=True)
    found = await stack.client.memory.query_chunks(bank, embedding=shown.chunks[0].embedding, max_chunks=2)
    assert {chunk.document_id for chunk in found.chunks} == {"prize", "birth"}
    assert all(details.HasField("graph_score") for details in found.hit_details)
    without = await make_bank(graph())
    with pytest.raises(FailedPreconditionError) as refused:
        await stack.client.memory.query_chunks(without, embedding=[0.1] * 384)
    assert refused.value.reason == "BANK_WITHOUT_VECTORS"
