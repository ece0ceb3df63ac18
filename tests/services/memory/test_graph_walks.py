"""Names, PageRank, neighbours and paths, on graphs of a few nodes."""

import numpy as np
import pytest

from services.memory.graph.names import Names, words_of
from services.memory.graph.network import network_of
from services.memory.graph.pagerank import personalised
from services.memory.graph.retrieval import seeds_of
from services.memory.graph.walks import Way, paths, surroundings
from services.memory.knowledge import GraphQuestion
from services.memory.records import GraphSnapshot
from tests.conformance.memory.building import entity, relation


def network(triples, mentions=(), weights=None):
    names = sorted({name for subject, _, target in triples for name in (subject, target)})
    relations = [relation(*triple) for triple in triples]
    for fact, weight in zip(relations, weights or [], strict=False):
        fact.relation.weight = weight
    return network_of(GraphSnapshot(1, [entity(name) for name in names], relations, mentions))


def names_on(graph, found):
    return ["".join(graph.entities[node].name for _, node in path) for path in found]


def route(graph, source, target, length=4, limit=10, way=None):
    found = paths(graph, graph.nodes[source], graph.nodes[target], way or Way(), length, limit)
    return names_on(graph, found)


def around(graph, start, depth=1, limit=10, way=None):
    found = surroundings(graph, graph.nodes[start], way or Way(), depth, limit)
    return [(graph.entities[node].name, distance) for node, distance in found.neighbors], found


def test_names_are_found_without_regard_to_case_and_accents():
    names = Names(["ada lovelace", "zurich", "york", "new york"])
    assert names.found_in(words_of("ADA Lovelace's letters from Zürich")) == [0, 1]


def test_a_name_within_a_longer_one_does_not_count():
    names = Names(["york", "new york"])
    assert names.found_in(words_of("He left New York.")) == [1]
    assert names.found_in(words_of("He left York. In New York he stayed.")) == [0, 1]


def test_a_name_is_no_part_of_a_word():
    assert Names(["ada"]).found_in(words_of("Canada adapts")) == []


def test_page_rank_agrees_with_the_linear_equation():
    graph = network([("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d"), ("a", "r", "c")], weights=[1, 2, 3, 4])
    reset = np.array([0.7, 0.0, 0.0, 0.3])
    sources, targets, chances = graph.edges
    matrix = np.zeros((4, 4))
    np.add.at(matrix, (targets, sources), chances)
    exact = np.linalg.solve(np.eye(4) - 0.85 * matrix, 0.15 * reset)
    assert personalised(graph.edges, reset, 0.85) == pytest.approx(exact, abs=1e-6)


def test_page_rank_keeps_all_walks_where_no_edge_leads_on():
    graph = network([("a", "r", "b")])
    rank = personalised(graph.edges, np.array([1.0, 0.0, 1.0]), 0.5)
    assert rank.sum() == pytest.approx(1.0)
    assert rank[2] > 0.25


def test_what_few_passages_tell_of_is_the_better_start():
    graph = network([("rare", "r", "common")], [(1, "common"), (2, "common"), (3, "common"), (3, "rare")])
    seeds = seeds_of(graph, GraphQuestion("rare and common"), None)
    assert seeds[graph.nodes["rare"]] > seeds[graph.nodes["common"]]


def test_a_name_that_nothing_tells_of_starts_nothing():
    assert seeds_of(network([("a", "r", "b")]), GraphQuestion("", ["nobody"]), None) == {}


def test_neighbours_come_nearest_first():
    graph = network([("a", "r", "c"), ("a", "r", "b"), ("b", "r", "d"), ("d", "r", "e")])
    neighbors, found = around(graph, "a", depth=2)
    assert neighbors == [("b", 1), ("c", 1), ("d", 2)]
    assert [graph.relations[number].object for number in found.relations] == ["c", "b", "d"]
    assert not found.truncated


def test_more_neighbours_than_asked_for_are_told_of():
    graph = network([("a", "r", name) for name in "bcdef"])
    neighbors, found = around(graph, "a", limit=3)
    assert ([name for name, _ in neighbors], found.truncated) == (["b", "c", "d"], True)
    assert not around(graph, "a", limit=5)[1].truncated


def test_relations_are_followed_as_the_caller_says():
    graph = network([("a", "likes", "b"), ("c", "likes", "a"), ("a", "knows", "d")])
    assert around(graph, "a", way=Way(incoming=False))[0] == [("b", 1), ("d", 1)]
    assert around(graph, "a", way=Way(outgoing=False))[0] == [("c", 1)]
    assert around(graph, "a", way=Way(["knows"]))[0] == [("d", 1)]


def test_paths_come_shortest_first_and_visit_nothing_twice():
    graph = network([("a", "r", "b"), ("b", "r", "z"), ("a", "r", "c"), ("c", "r", "d"), ("d", "r", "z")])
    assert route(graph, "a", "z") == ["abz", "acdz"]
    assert route(graph, "a", "z", length=2) == ["abz"]
    assert route(graph, "a", "z", limit=1) == ["abz"]


def test_paths_follow_the_direction():
    graph = network([("a", "r", "b"), ("b", "r", "c")])
    assert route(graph, "c", "a") == ["cba"]
    assert route(graph, "c", "a", way=Way(incoming=False)) == []
    assert route(graph, "c", "a", way=Way(outgoing=False)) == ["cba"]


def test_the_path_from_an_entity_to_itself_has_no_relation():
    assert route(network([("a", "r", "b")]), "a", "a") == ["a"]


def test_a_path_shows_the_strongest_of_several_relations():
    graph = network([("a", "weak", "b"), ("a", "strong", "b")], weights=[1, 5])
    (path,) = paths(graph, graph.nodes["a"], graph.nodes["b"], Way(), 4, 10)
    assert graph.relations[path[1][0]].relation_type == "strong"


def test_paths_between_hubs_end_in_time():
    names = [f"n{number}" for number in range(40)]
    triples = [(one, "r", other) for one in names for other in names if one < other]
    graph = network([*triples, ("n0", "r", "far"), ("out", "r", "island")])
    assert len(paths(graph, graph.nodes["n1"], graph.nodes["far"], Way(), 16, 100)) == 100
    assert route(graph, "n1", "island", length=16) == []
