"""Entities and relations: identity, merging, and who tells of what."""

import numpy as np
import pytest

from caravan.memory.v1 import graph_pb2
from services.memory.ports import Store
from services.memory.records import (
    DocumentWrite,
    EntityFact,
    EntitySelection,
    Facts,
    GraphCounts,
    GraphDeletion,
    RelationSelection,
    Selection,
)
from tests.conformance.memory.building import (
    DIMENSION,
    Clock,
    directions,
    document,
    entity,
    graph_spec,
    receipt,
    relation,
    with_vectors,
)


def told(
    *names: str, relations: tuple[tuple[str, str, str], ...] = (), mentions: tuple[tuple[int, str], ...] = ()
) -> Facts:
    return Facts([entity(name) for name in names], [relation(*one) for one in relations], mentions)


async def keys(store: Store, bank_id: str) -> list[str]:
    return [fact.key for fact in await store.list_entities(bank_id, EntitySelection(), 1000)]


async def relations_of(store: Store, bank_id: str) -> list[tuple[str, str, str]]:
    found = await store.list_relations(bank_id, RelationSelection(), 1000)
    return [(fact.subject_key, fact.relation.relation_type, fact.object_key) for fact in found]


async def test_what_is_new_is_counted(store: Store, graph: str) -> None:
    facts = told("Ada", "Charles", relations=(("Ada", "knows", "Charles"),))
    assert await store.upsert_graph(graph, facts) == GraphCounts(2, 1)
    assert await store.upsert_graph(graph, facts) == GraphCounts(0, 0)
    statistics = await store.statistics(graph)
    assert (statistics.entity_count, statistics.relation_count) == (2, 1)


async def test_what_a_second_source_tells_is_merged(store: Store, graph: str) -> None:
    first = entity("Ada Lovelace", "person", sources=["d1"], description="mathematician")
    first.entity.properties.update({"born": 1815, "city": "London"})
    second = entity("ada  LOVELACE", "", sources=["d2"], description="first programmer")
    second.entity.properties.update({"city": "Ockham"})
    await store.upsert_graph(graph, Facts([first]))
    await store.upsert_graph(graph, Facts([second]))
    found = (await store.get_entities(graph, ["ada lovelace", "missing"]))["ada lovelace"].entity
    expected = graph_pb2.Entity(
        name="Ada Lovelace", entity_type="person", description="first programmer", document_ids=["d1", "d2"]
    )
    expected.properties.update({"born": 1815, "city": "Ockham"})
    assert found == expected


async def test_a_relation_keeps_its_weight_until_another_is_told(store: Store, graph: str) -> None:
    heavy = relation("a", "likes", "b")
    heavy.relation.weight = 3
    await store.upsert_graph(graph, Facts([entity("a"), entity("b")], [heavy]))
    await store.upsert_graph(graph, Facts([], [relation("a", "likes", "b")]))
    (kept,) = await store.list_relations(graph, RelationSelection(), 10)
    assert kept.relation.weight == 3


async def test_what_a_document_alone_told_of_goes_with_it(store: Store, graph: str) -> None:
    await store.write_documents(
        graph,
        [
            document("d1", facts=told("a", "b", relations=(("a", "to", "b"),))),
            document("d2", facts=told("b", "c", relations=(("b", "to", "c"),))),
        ],
    )
    await store.delete_documents(graph, Selection(document_ids=["d1"]))
    assert await keys(store, graph) == ["b", "c"]
    assert await relations_of(store, graph) == [("b", "to", "c")]
    (b,) = (await store.get_entities(graph, ["b"])).values()
    assert list(b.entity.document_ids) == ["d2"]


async def test_what_the_caller_told_stays(store: Store, graph: str) -> None:
    await store.upsert_graph(graph, told("a"))
    await store.write_documents(graph, [document("d", facts=told("a", "b"))])
    await store.delete_documents(graph, Selection(everything=True))
    assert await keys(store, graph) == ["a"]


async def test_an_entity_stays_while_a_relation_needs_it(store: Store, graph: str) -> None:
    await store.write_documents(graph, [document("d", facts=told("a", "b"))])
    await store.upsert_graph(graph, Facts([], [relation("a", "to", "b")]))
    await store.delete_documents(graph, Selection(document_ids=["d"]))
    assert await keys(store, graph) == ["a", "b"]
    await store.delete_graph(graph, GraphDeletion(relations=[("a", "to", "b")]))
    assert await keys(store, graph) == []


async def test_a_replaced_document_tells_something_else(store: Store, graph: str) -> None:
    await store.write_documents(graph, [document("d", facts=told("a", "b", relations=(("a", "to", "b"),)))])
    await store.write_documents(graph, [document("d", facts=told("c"))])
    assert (await keys(store, graph), await relations_of(store, graph)) == (["c"], [])
    await store.write_documents(graph, [document("d")])
    assert await keys(store, graph) == []


async def test_a_write_without_chunks_and_facts_leaves_what_was_told(store: Store, graph: str) -> None:
    write = document("d", facts=told("a"))
    await store.write_documents(graph, [write])
    await store.write_documents(graph, [DocumentWrite(write.document, "r")])
    assert await keys(store, graph) == ["a"]
    await store.write_documents(graph, [DocumentWrite(write.document, "r", facts=told("b"))])
    assert await keys(store, graph) == ["b"]


async def test_deleted_entities_take_their_relations_along(store: Store, graph: str) -> None:
    triples = (("a", "to", "b"), ("b", "to", "c"), ("c", "to", "a"), ("c", "likes", "a"))
    await store.upsert_graph(graph, told("a", "b", "c", relations=triples))
    assert await store.delete_graph(graph, GraphDeletion(relations=[("c", "", "a"), ("x", "y", "z")])) == GraphCounts(
        0, 2
    )
    assert await store.delete_graph(graph, GraphDeletion(entity_keys=["b", "missing"])) == GraphCounts(1, 2)
    assert (await keys(store, graph), await relations_of(store, graph)) == (["a", "c"], [])


async def test_entities_are_listed_in_the_order_of_their_keys(store: Store, graph: str) -> None:
    names = ["zoo", "Äpfel", "apple", "漢字", "app store", "Zebra"]
    facts = [
        entity(name, "fruit" if name[-1] in "le" else "other", sources=["d"] if "pp" in name else []) for name in names
    ]
    await store.upsert_graph(graph, Facts(facts))
    ordered = sorted(fact.key for fact in facts)
    assert await keys(store, graph) == ordered

    async def listed(limit: int = 100, **how: str) -> list[str]:
        return [fact.key for fact in await store.list_entities(graph, EntitySelection(**how), limit)]

    assert await listed(2, after=ordered[1]) == ordered[2:4]
    assert await listed(prefix="app") == ["app store", "apple"]
    assert await listed(entity_type="fruit") == ["apfel", "app store", "apple"]
    assert await listed(document_id="d") == [key for key in ordered if "pp" in key]


async def test_relations_are_listed_by_entity_type_and_document(store: Store, graph: str) -> None:
    triples = [("a", "knows", "b"), ("a", "likes", "b"), ("b", "knows", "c"), ("c", "knows", "a")]
    facts = [relation(*triple, sources=["d"] if triple[0] == "a" else []) for triple in triples]
    await store.upsert_graph(graph, Facts([entity(name) for name in "abc"], facts))

    async def listed(limit: int = 100, **how: object) -> list[tuple[str, str, str]]:
        found = await store.list_relations(graph, RelationSelection(**how), limit)  # type: ignore[arg-type]
        return [(fact.subject_key, fact.relation.relation_type, fact.object_key) for fact in found]

    assert await listed() == sorted(triples)
    assert await listed(2, after=("a", "knows", "b")) == sorted(triples)[1:3]
    assert await listed(entity_key="a") == [triples[0], triples[1], triples[3]]
    assert await listed(entity_key="a", incoming=False) == triples[:2]
    assert await listed(entity_key="a", outgoing=False) == [triples[3]]
    assert await listed(relation_types=["likes"]) == [triples[1]]
    assert await listed(document_id="d") == triples[:2]


async def test_the_whole_graph_is_loaded_with_vectors_and_mentions(store: Store) -> None:
    spec = graph_spec(dimension=DIMENSION)
    await store.open_bank(spec)
    vector = directions(1, 7)[0]
    facts = Facts(
        [EntityFact("a", graph_pb2.Entity(name="a"), vector), entity("b")],
        [relation("a", "to", "b")],
        [(0, "a"), (1, "b")],
    )
    await store.write_documents(spec.bank_id, [with_vectors("d", 2, facts=facts)])
    snapshot = await store.load_graph(spec.bank_id)
    assert [fact.key for fact in snapshot.entities] == ["a", "b"]
    assert all(list(fact.entity.document_ids) == ["d"] for fact in snapshot.entities)
    assert snapshot.entities[0].vector == pytest.approx(vector, rel=1e-3, abs=1e-3)
    assert snapshot.entities[1].vector is None
    assert [(fact.subject_key, fact.object_key) for fact in snapshot.relations] == [("a", "b")]
    chunks = await store.get_chunks(spec.bank_id, [key for key, _ in snapshot.mentions])
    assert {(chunks[key].chunk_id, name) for key, name in snapshot.mentions} == {("d#0", "a"), ("d#1", "b")}
    assert snapshot.valid_until is None
    # Told again without a vector: the one that it has stays.
    await store.upsert_graph(spec.bank_id, Facts([entity("a", description="new")]))
    kept = (await store.load_graph(spec.bank_id)).entities[0]
    assert kept.entity.description == "new"
    assert np.asarray(kept.vector) == pytest.approx(vector, rel=1e-3, abs=1e-3)


async def test_the_revision_grows_with_every_change_of_the_graph(store: Store, graph: str) -> None:
    revisions = [await store.graph_revision(graph)]

    async def grew() -> bool:
        revisions.append(await store.graph_revision(graph))
        return revisions[-1] > revisions[-2]

    await store.upsert_graph(graph, told("a"))
    assert await grew()
    await store.write_documents(graph, [document("d", facts=told("b", mentions=((0, "b"),)))])
    assert await grew()
    assert (await store.load_graph(graph)).revision == revisions[-1]
    await store.delete_documents(graph, Selection(document_ids=["d"]))
    assert await grew()
    await store.delete_graph(graph, GraphDeletion(entity_keys=["a"]))
    assert await grew()


async def test_what_an_expired_document_alone_told_of_is_gone(store: Store, graph: str, clock: Clock) -> None:
    await store.write_documents(
        graph,
        [
            document("short", facts=told("a", "b", relations=(("a", "to", "b"),)), expires_at=clock.now + 50),
            document("long", facts=told("b")),
        ],
    )
    assert (await store.load_graph(graph)).valid_until == pytest.approx(clock.now + 50)
    clock.now += 51
    assert await keys(store, graph) == ["b"]
    assert await relations_of(store, graph) == []
    assert list(await store.get_entities(graph, ["a", "b"])) == ["b"]
    snapshot = await store.load_graph(graph)
    assert ([fact.key for fact in snapshot.entities], list(snapshot.relations)) == (["b"], [])


async def test_a_graph_change_can_leave_a_receipt(store: Store, graph: str) -> None:
    await store.upsert_graph(graph, told("a"), receipt("r", "UpsertGraph"))
    assert await store.find_receipt(graph, "UpsertGraph", "r") is not None
