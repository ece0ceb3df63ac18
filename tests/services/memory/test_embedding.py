import asyncio

import numpy as np
import pytest

from services.core.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.core.provider_data import PROVIDER_DATA_KEY, enter_provider_data
from services.memory.embedding import EmbeddingSettings, InferenceEmbedder, VectorCache
from services.memory.ports import EmbeddingModel
from services.memory.reranking import Reranker
from tests.services.memory.loopback import DIMENSION, Models, gateway_of, vector_of

MODEL = EmbeddingModel("vectors", DIMENSION, 16, "vectors")


@pytest.fixture
def models():
    return Models()


@pytest.fixture
async def make(models):
    async with gateway_of(models) as gateway:
        made = []

        def make(**settings):
            embedder = InferenceEmbedder(gateway, EmbeddingSettings(**settings))
            made.append(embedder)
            return embedder

        make.gateway = gateway
        yield make
        for embedder in made:
            await embedder.close()


async def test_vectors_come_in_the_order_of_the_texts_in_batches(make, models):
    embedder = make(batch_size=4)
    texts = [f"text {n}" for n in range(10)]
    vectors = await embedder.embed(MODEL, DIMENSION, texts)
    assert vectors == pytest.approx(np.array([vector_of(text) for text in texts], np.float32))
    assert max(map(len, models.batches)) == 4
    assert len(models.batches) <= 4


async def test_a_text_that_was_embedded_before_costs_no_call(make, models):
    embedder = make()
    await embedder.embed(MODEL, DIMENSION, ["a", "b", "a"])
    vectors = await embedder.embed(MODEL, DIMENSION, ["b", "c", "a"])
    assert models.texts == ["a", "b", "c"]
    assert vectors[1] == pytest.approx(np.array(vector_of("c"), np.float32))


async def test_concurrent_calls_share_batches_and_texts_under_way(make, models):
    embedder = make(concurrency=1)
    models.go_on.clear()
    first = asyncio.create_task(embedder.embed(MODEL, DIMENSION, ["first"]))
    await asyncio.sleep(0.05)
    calls = [asyncio.create_task(embedder.embed(MODEL, DIMENSION, ["same", f"own {n}"])) for n in range(5)]
    await asyncio.sleep(0.05)
    models.go_on.set()
    await asyncio.gather(first, *calls)
    assert models.batches[0] == ["first"]
    assert len(models.batches) == 2
    assert sorted(models.batches[1]) == ["own 0", "own 1", "own 2", "own 3", "own 4", "same"]


async def test_only_so_many_calls_run_at_a_time(make, models):
    embedder = make(concurrency=2, batch_size=1)
    models.go_on.clear()
    call = asyncio.create_task(embedder.embed(MODEL, DIMENSION, [f"text {n}" for n in range(10)]))
    await asyncio.sleep(0.1)
    models.go_on.set()
    await call
    assert models.most_at_once == 2


async def test_who_brings_more_than_may_wait_is_held_back_and_served(make, models):
    embedder = make(max_waiting=4, batch_size=2)
    calls = [embedder.embed(MODEL, DIMENSION, [f"{number} {n}" for n in range(9)]) for number in range(3)]
    async with asyncio.timeout(20):
        vectors = await asyncio.gather(*calls)
    assert all(len(one) == 9 for one in vectors)
    assert len(models.texts) == 27


async def test_a_caller_who_goes_away_takes_nobody_along(make, models):
    embedder = make(concurrency=1)
    models.go_on.clear()
    leaving = asyncio.create_task(embedder.embed(MODEL, DIMENSION, ["shared", "left"]))
    staying = asyncio.create_task(embedder.embed(MODEL, DIMENSION, ["shared"]))
    await asyncio.sleep(0.05)
    leaving.cancel()
    await asyncio.sleep(0)
    models.go_on.set()
    assert len(await staying) == 1


async def test_a_model_that_is_busy_is_asked_again_and_in_the_end_unavailable(make, models):
    embedder = make()
    models.failures = [ResourceExhaustedError("full", retry_after=0.01), UnavailableError("away", retry_after=0.01)]
    assert len(await embedder.embed(MODEL, DIMENSION, ["a"])) == 1
    models.failures = [ResourceExhaustedError("full", retry_after=0.01) for _ in range(4)]
    with pytest.raises(UnavailableError) as busy:
        await embedder.embed(MODEL, DIMENSION, ["b"])
    assert busy.value.reason == "EMBEDDING_MODEL_BUSY"
    assert len(await embedder.embed(MODEL, DIMENSION, ["b"])) == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [([1.0] * 3, "EMBEDDING_DIMENSION_CHANGED"), ([float("nan")] * DIMENSION, "EMBEDDING_NOT_FINITE")],
)
async def test_vectors_that_cannot_be_used_are_refused(make, models, values, reason):
    models.values = values
    with pytest.raises(FailedPreconditionError) as refused:
        await make().embed(MODEL, DIMENSION, ["a"])
    assert refused.value.reason == reason


async def test_errors_are_the_banks_not_the_models(make, models):
    embedder = make()
    models.failures = [InvalidArgumentError.of("contents[3]", "is odd")]
    with pytest.raises(InvalidArgumentError) as refused:
        await embedder.embed(MODEL, DIMENSION, ["a"])
    assert not refused.value.violations
    models.failures = [FailedPreconditionError("no such thing")]
    with pytest.raises(FailedPreconditionError) as gone:
        await embedder.embed(MODEL, DIMENSION, ["a"])
    assert gone.value.reason == "EMBEDDING_MODEL_GONE"


async def test_provider_data_goes_with_its_own_call_and_with_no_other(make, models):
    embedder = make(concurrency=1)

    async def with_key():
        enter_provider_data([(PROVIDER_DATA_KEY, '{"key": "k"}')])
        return await embedder.embed(MODEL, DIMENSION, ["secret"])

    await asyncio.create_task(with_key())
    await embedder.embed(MODEL, DIMENSION, ["plain"])
    assert list(zip(models.texts, models.provider_data, strict=True)) == [
        ("secret", '{"key": "k"}'),
        ("plain", None),
    ]


async def test_a_model_is_described_or_refused(make):
    described = await make().describe("vectors")
    assert (described.dimension, described.context_length, described.source) == (DIMENSION, 16, "vectors")
    for model_id, reason in (("judge", "WRONG_MODEL_TYPE"), ("nobody", "EMBEDDING_MODEL_UNKNOWN")):
        with pytest.raises(FailedPreconditionError) as refused:
            await make().describe(model_id)
        assert refused.value.reason == reason


def test_the_cache_forgets_what_was_not_used_for_longest():
    cache = VectorCache(most_bytes=8)
    one, two, three = (("m", 1, bytes([n])) for n in range(3))
    for key in (one, two):
        cache.put(key, np.ones(1, np.float32))
    assert cache.get(one) is not None
    cache.put(three, np.ones(1, np.float32))
    assert [cache.get(key) is not None for key in (one, two, three)] == [True, False, True]


def test_a_cache_without_room_keeps_nothing():
    cache = VectorCache(most_bytes=0)
    cache.put(("m", 1, b""), np.ones(1, np.float32))
    assert cache.get(("m", 1, b"")) is None


async def test_a_language_model_judges_by_the_probability_of_yes(make, models):
    reranker = Reranker(make.gateway, make())
    scores = await reranker.scores("judge", "query", ["yes, this", "not this"])
    assert scores == pytest.approx([0.9, 0.2])
    models.logprobs = False
    with pytest.raises(FailedPreconditionError) as refused:
        await reranker.scores("judge", "query", ["x"])
    assert refused.value.reason == "RERANK_MODEL_UNUSABLE"


async def test_what_a_passage_says_is_no_template(make):
    reranker = Reranker(make.gateway, make())
    assert await reranker.scores("judge", "{passage}", ["{query} yes {0}"]) == pytest.approx([0.9])
