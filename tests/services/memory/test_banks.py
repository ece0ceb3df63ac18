"""Registering and dropping banks, through the gateway, on each store."""

import pytest

from caravan.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, RpcError
from caravan.registry.v1 import memory_banks_pb2
from tests.services.memory.stack import MODEL, text, vector


async def test_a_bank_tells_every_parameter_that_it_got_by_default(stack, make_bank):
    bank = await stack.client.memory_banks.get(await make_bank())
    params = bank.params.vector
    assert (params.chunk_size_in_tokens, params.overlap_size_in_tokens, params.embedding_dimension) == (512, 128, 384)
    assert params.metric == memory_banks_pb2.VECTOR_METRIC_COSINE
    assert params.index == memory_banks_pb2.VECTOR_INDEX_HNSW


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        (vector(embedding_model="nobody"), FailedPreconditionError, "nobody"),
        (vector(embedding_dimension=768), InvalidArgumentError, "384"),
        (vector(embedding_dimension=100), InvalidArgumentError, "100"),
        (vector(chunk_size_in_tokens=0), InvalidArgumentError, "chunk_size_in_tokens"),
        (vector(chunk_size_in_tokens=1_000_000), InvalidArgumentError, "chunk_size_in_tokens"),
        (vector(chunk_size_in_tokens=10, overlap_size_in_tokens=10), InvalidArgumentError, "overlap"),
        ({"memory_bank_type": "keyword", "language": "xx"}, InvalidArgumentError, "language"),
        (
            {"memory_bank_type": "keyword", "chunk_size_in_tokens": 10, "overlap_size_in_tokens": 11},
            InvalidArgumentError,
            "overlap",
        ),
    ],
)
async def test_parameters_that_do_not_fit_are_refused_and_leave_nothing(stack, params, error, says):
    with pytest.raises(error, match=says) as refused:
        await stack.client.memory_banks.register("wrong", params, provider_id="one")
    assert refused.value.reason
    assert "wrong" not in [bank.memory_bank_id async for bank in stack.client.memory_banks.list()]


async def test_shorter_vectors_are_taken_where_the_model_can_give_them(stack, make_bank):
    bank = await make_bank(vector(embedding_dimension=128))
    await stack.client.memory.insert(bank, text("a", "Words."))
    response = await stack.client.memory.query(bank, "words", include_embeddings=True)
    assert len(response.chunks[0].embedding) == 128


async def test_a_bank_cannot_be_registered_as_something_else(stack, bank):
    with pytest.raises(AlreadyExistsError):
        await stack.client.memory_banks.register(bank, {"memory_bank_type": "keyword"}, provider_id="one")


async def test_two_names_for_one_bank_are_refused(stack, bank):
    with pytest.raises(FailedPreconditionError) as refused:
        await stack.client.memory_banks.register("alias", vector(), provider_id="one", provider_memory_bank_id=bank)
    assert refused.value.reason == "BANK_TAKEN"


async def test_an_unregistered_bank_is_empty_when_it_is_registered_again_even_as_another_kind(stack, bank):
    await stack.client.memory.insert(bank, text("a", "Words."))
    await stack.client.memory_banks.unregister(bank)
    with pytest.raises(RpcError):
        await stack.client.memory.query(bank, "words")
    await stack.client.memory_banks.register(bank, {"memory_bank_type": "keyword"}, provider_id="one")
    assert (await stack.client.memory.query(bank, "words")).chunks == []
    await stack.client.memory_banks.unregister(bank)
    await stack.client.memory_banks.register(bank, vector(embedding_model=MODEL), provider_id="one")
    assert (await stack.client.memory.query(bank, "words")).chunks == []
