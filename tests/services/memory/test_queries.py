"""Searching banks, through the gateway, on each store."""

import asyncio
import math

import pytest

from caravan.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, RpcError
from caravan.memory.v1 import filters_pb2, memory_pb2
from caravan.messages import text_of
from tests.services.memory.stack import MODEL, text, vector

ANIMALS = [
    text("cat", "The cat sleeps on the sofa and purrs.", metadata={"legs": 4, "home": True, "tags": ["pet", "soft"]}),
    text("dog", "The dog barks at the postman.", metadata={"legs": 4, "home": True, "tags": ["pet"]}),
    text("spider", "The spider weaves a web in the corner.", metadata={"legs": 8, "seen": "2024-05-01T12:00:00Z"}),
    text("whale", "The whale sings in the deep ocean.", metadata={"legs": 0, "seen": "2024-05-01T13:00:00+02:00"}),
    text("ant", "Ants carry leaves into their nest.", metadata={"legs": 6, "size": {"mm": 5}}),
]


@pytest.fixture
async def animals(stack, bank):
    await stack.client.memory.insert(bank, ANIMALS)
    return bank


async def ids(stack, bank, query, **parameters):
    response = await stack.client.memory.query(bank, query, **parameters)
    assert len(response.chunks) == len(response.scores) == len(response.hit_details)
    assert all(map(math.isfinite, response.scores))
    assert list(response.scores) == sorted(response.scores, reverse=True)
    return [chunk.document_id for chunk in response.chunks]


async def test_each_mode_tells_how_a_hit_came_to_its_score(stack, animals):
    query = stack.client.memory.query
    by_vector = await query(animals, "a pet that purrs")
    assert by_vector.chunks[0].document_id == "cat"
    details = by_vector.hit_details[0]
    assert (details.bank_id, details.vector_rank) == (animals, 1)
    assert details.vector_score == by_vector.scores[0]
    assert not details.HasField("keyword_score")
    by_words = await query(animals, "sleeping", mode="keyword")
    assert [chunk.document_id for chunk in by_words.chunks] == ["cat"]
    assert by_words.hit_details[0].keyword_score == by_words.scores[0] > 0
    (span,) = by_words.hit_details[0].highlights
    assert text_of(by_words.chunks[0].content)[span.start : span.end] == "sleeps"
    both = await query(animals, "sleeping cats", mode="hybrid")
    details = both.hit_details[0]
    assert (details.vector_rank, details.keyword_rank) == (1, 1)
    assert details.fused_score == both.scores[0] == pytest.approx(2 / 61)


async def test_an_exact_match_has_a_finite_score_in_every_metric(stack, make_bank):
    for metric, score in (("VECTOR_METRIC_COSINE", 1), ("VECTOR_METRIC_DOT", 1), ("VECTOR_METRIC_L2", 1)):
        bank = await make_bank(vector(metric=metric))
        await stack.client.memory.insert(bank, ANIMALS)
        for exact in (False, True):
            response = await stack.client.memory.query(bank, "The dog barks at the postman.", exact=exact, max_chunks=2)
            assert response.chunks[0].document_id == "dog"
            assert response.scores[0] == pytest.approx(score, abs=2e-2)
            assert response.scores[1] < response.scores[0]


async def test_a_weighted_ranker_goes_from_words_to_vectors(stack, animals):
    ranked = [
        await ids(stack, animals, "ocean pet", mode="hybrid", ranker={"type": "weighted", "alpha": alpha})
        for alpha in (0.0, 1.0)
    ]
    assert ranked[0][0] == "whale"
    assert ranked[1] == await ids(stack, animals, "ocean pet")


async def test_a_threshold_leaves_out_what_scores_less(stack, animals):
    response = await stack.client.memory.query(animals, "a pet that purrs")
    threshold = (response.scores[0] + response.scores[1]) / 2
    assert await ids(stack, animals, "a pet that purrs", score_threshold=threshold) == ["cat"]
    assert await ids(stack, animals, "a pet that purrs", score_threshold=2) == []


FILTERS = [
    ({"type": "eq", "key": "legs", "value": 4}, {"cat", "dog"}),
    ({"type": "ne", "key": "legs", "value": 4}, {"spider", "whale", "ant"}),
    ({"type": "gt", "key": "legs", "value": 4}, {"spider", "ant"}),
    ({"type": "lte", "key": "legs", "value": 4}, {"cat", "dog", "whale"}),
    ({"type": "eq", "key": "legs", "value": "4"}, set()),
    ({"type": "eq", "key": "home", "value": True}, {"cat", "dog"}),
    ({"type": "eq", "key": "size.mm", "value": 5}, {"ant"}),
    ({"type": "exists", "key": "seen"}, {"spider", "whale"}),
    ({"type": "eq", "key": "seen", "value": "2024-05-01T14:00:00+02:00"}, {"spider"}),
    ({"type": "lt", "key": "seen", "value": "2024-05-01T12:00:00Z"}, {"whale"}),
    ({"type": "in", "key": "tags", "values": ["soft", "none"]}, {"cat"}),
    ({"type": "in", "key": "document_id", "values": ["ant", "cat"]}, {"cat", "ant"}),
    ({"type": "not", "filter": {"type": "exists", "key": "tags"}}, {"spider", "whale", "ant"}),
    ({"type": "gt", "key": "inserted_at", "value": "2020-01-01T00:00:00Z"}, {"cat", "dog", "spider", "whale", "ant"}),
    ({"type": "eq", "key": "mime_type", "value": "text/plain"}, {"cat", "dog", "spider", "whale", "ant"}),
    (
        {
            "type": "or",
            "filters": [
                {
                    "type": "and",
                    "filters": [{"type": "exists", "key": "home"}, {"type": "eq", "key": "tags", "value": 1}],
                },
                {"type": "lt", "key": "legs", "value": 1},
            ],
        },
        {"whale"},
    ),
    ({"type": "eq", "key": "x' OR 1=1 --", "value": "'; DROP TABLE documents; --"}, set()),
]


@pytest.mark.parametrize(("condition", "expected"), FILTERS, ids=[str(number) for number in range(len(FILTERS))])
async def test_a_filter_is_applied_before_the_search(stack, animals, condition, expected):
    for mode, query in (("vector", "animal"), ("keyword", "the their"), ("hybrid", "animal in the nest")):
        found = set(await ids(stack, animals, query, mode=mode, filter=condition))
        assert found == expected if mode != "keyword" else found <= expected
    listed = {one.document_id async for one in stack.client.memory.list(animals, filter=condition)}
    assert listed == expected


async def test_k_chunks_that_fit_are_found_however_few_fit(stack, bank):
    documents = [text(f"d{n}", f"A note about number {n}.", metadata={"n": n}) for n in range(300)]
    await stack.client.memory.insert(bank, documents)
    far = {"type": "gte", "key": "n", "value": 295}
    found = await ids(stack, bank, "A note about number 3.", filter=far, max_chunks=5)
    assert sorted(found) == [f"d{n}" for n in range(295, 300)]


def nested(depth: int) -> filters_pb2.MetadataFilter:
    condition = filters_pb2.MetadataFilter()
    condition.present.key = "a"
    for _ in range(depth):
        outer = filters_pb2.MetadataFilter()
        outer.negation.filter.CopyFrom(condition)
        condition = outer
    return condition


def wide(count: int) -> filters_pb2.MetadataFilter:
    condition = filters_pb2.MetadataFilter()
    for _ in range(count):
        branch = condition.all_of.filters.add()
        for _ in range(60):
            branch.any_of.filters.add().present.key = "a"
    return condition


def compared(value) -> filters_pb2.MetadataFilter:
    condition = filters_pb2.MetadataFilter()
    condition.greater.key = "a"
    condition.greater.value.CopyFrom(value)
    return condition


@pytest.mark.parametrize(
    "condition",
    [
        nested(16),
        nested(40),
        wide(5),
        compared(filters_pb2.MetadataComparison().value.__class__(number_value=math.nan)),
        compared(filters_pb2.MetadataComparison().value.__class__(bool_value=True)),
        compared(filters_pb2.MetadataComparison().value.__class__(null_value=0)),
        filters_pb2.MetadataFilter(),
    ],
    ids=["17 deep", "far too deep", "too many", "NaN", "order of booleans", "null", "empty"],
)
async def test_hostile_filters_are_refused(stack, animals, condition):
    with pytest.raises(InvalidArgumentError):
        await stack.client.memory.query(animals, "animal", filter=condition)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"sleeps on the sofa"', {"cat"}),
        ('"sofa sleeps"', set()),
        ("sof*", {"cat"}),
        ("barking", {"dog"}),
        ("BARKS", {"dog"}),
        ('"deep ocean" cat', {"whale"}),
        ('web " nest', {"spider", "ant"}),
        ("-- ; NEAR( AND OR NOT cat:*", {"cat"}),
        ("the", set()),
    ],
)
async def test_keyword_queries_know_phrases_prefixes_and_stems(stack, animals, query, expected):
    assert set(await ids(stack, animals, query, mode="keyword")) == expected


async def test_a_query_without_words_is_refused_in_keyword_mode(stack, animals):
    with pytest.raises(InvalidArgumentError, match="word"):
        await stack.client.memory.query(animals, "?!", mode="keyword")
    with pytest.raises(InvalidArgumentError):
        await stack.client.memory.query(animals, "  ")


async def test_a_keyword_bank_stems_by_its_language(stack, make_bank):
    bank = await make_bank({"memory_bank_type": "keyword", "language": "de"})
    await stack.client.memory.insert(bank, text("haus", "Die Häuser stehen am Waldrand."))
    assert await ids(stack, bank, "Haus") in (["haus"], [])
    assert await ids(stack, bank, "Häuser") == ["haus"]
    assert await ids(stack, bank, "die") == []


@pytest.mark.parametrize("mode", ["vector", "hybrid", "graph"])
async def test_a_mode_that_the_bank_has_no_index_for_is_refused(stack, make_bank, mode):
    bank = await make_bank({"memory_bank_type": "keyword"})
    with pytest.raises(InvalidArgumentError, match=r"params\.mode"):
        await stack.client.memory.query(bank, "x", mode=mode)


async def test_several_banks_of_several_providers_are_searched_at_once(stack, make_bank):
    here, there = await make_bank(), await make_bank(provider_id="two")
    await stack.client.memory.insert(here, ANIMALS[:2])
    await stack.client.memory.insert(there, ANIMALS[2:])
    response = await stack.client.memory.query([here, there], "a song in the ocean", max_chunks=5)
    assert len(response.chunks) == 5
    assert (response.chunks[0].document_id, response.hit_details[0].bank_id) == ("whale", there)
    assert {details.bank_id for details in response.hit_details} == {here, there}
    assert response.scores[0] == response.hit_details[0].vector_score
    with pytest.raises(NotFoundError):
        await stack.client.memory.query([here, "nowhere"], "a song")


async def test_banks_whose_scores_mean_different_things_are_merged_by_rank(stack, make_bank):
    vectors, words = await make_bank(), await make_bank({"memory_bank_type": "keyword"})
    await stack.client.memory.insert(vectors, ANIMALS)
    await stack.client.memory.insert(words, ANIMALS)
    response = await stack.client.memory.query([vectors, words], "whale song")
    assert {details.bank_id for details in list(response.hit_details)[:2]} == {vectors, words}
    assert response.scores[0] == response.hit_details[0].fused_score == pytest.approx(1 / 61)


async def test_an_embedding_model_reranks_by_its_own_vectors(stack, make_bank):
    bank = await make_bank({"memory_bank_type": "keyword"})
    await stack.client.memory.insert(bank, ANIMALS)
    query = "the sofa, the web, or the ocean: where does the animal that makes silk live?"
    response = await stack.client.memory.query(bank, query, rerank={"model": MODEL})
    assert response.chunks[0].document_id == "spider"
    assert response.scores[0] == response.hit_details[0].rerank_score
    assert response.hit_details[0].HasField("keyword_score")
    with pytest.raises(FailedPreconditionError) as unknown:
        await stack.client.memory.query(bank, query, rerank={"model": "nobody"})
    assert unknown.value.reason == "RERANK_MODEL_UNKNOWN"


async def test_a_vector_of_another_length_is_refused(stack, animals):
    with pytest.raises(InvalidArgumentError, match="384"):
        await stack.client.memory.query_chunks(animals, embedding=[0.1] * 383)


async def test_a_zero_vector_has_no_direction(stack, animals):
    with pytest.raises(InvalidArgumentError, match="direction"):
        await stack.client.memory.query_chunks(animals, embedding=[0.0] * 384)


async def test_queries_of_many_callers_at_once_agree(stack, animals):
    results = await asyncio.gather(*(ids(stack, animals, "a pet that purrs") for _ in range(40)))
    assert all(result == results[0] for result in results)


async def test_a_bank_that_is_dropped_under_queries_and_insertions_gives_clear_errors(stack, bank):
    await stack.client.memory.insert(bank, [text(f"d{n}", f"Note {n}.") for n in range(50)])
    client = stack.client.with_options(timeout=20)
    going = True
    codes = set()

    async def busy(number: int) -> None:
        count = 0
        while going:
            count += 1
            try:
                if number % 2:
                    await client.memory.query(bank, f"note {count} of {number}")
                else:
                    await client.memory.insert(bank, text(f"n{number}-{count}", f"Note {count} of {number}."))
            except RpcError as error:
                codes.add((error.code.name, bool(error.reason)))

    workers = [asyncio.create_task(busy(number)) for number in range(4)]
    await asyncio.sleep(0.3)
    await client.memory_banks.unregister(bank)
    await asyncio.sleep(0.3)
    going = False
    await asyncio.gather(*workers)
    assert codes
    assert codes <= {("NOT_FOUND", True), ("ABORTED", True)}
    await client.memory_banks.register(bank, vector(), provider_id="one")
    assert (await client.memory.statistics(bank)).document_count == 0


async def test_statistics_tell_how_full_a_bank_is(stack, animals):
    statistics = await stack.client.memory.statistics(animals)
    assert (statistics.document_count, statistics.chunk_count) == (5, 5)
    assert statistics.token_count > 20
    assert statistics.disk_bytes > 0
    request = memory_pb2.GetBankStatisticsRequest(bank_id="nowhere")
    with pytest.raises(NotFoundError):
        await stack.client.call(request, memory_pb2.GetBankStatisticsResponse)
