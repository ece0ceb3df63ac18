"""Chunks that clients cut by themselves, through the gateway, on each store."""

import pytest

from caravan.errors import FailedPreconditionError, InvalidArgumentError
from caravan.messages import text_of
from tests.services.memory.stack import text


async def test_chunks_are_embedded_or_come_with_their_vector(stack, bank):
    memory = stack.client.memory
    cats, own = await memory.insert_chunks(
        bank,
        [
            {"content": "Cats purr.", "metadata": {"document_id": "animals", "n": 1}},
            {"content": "Stands for itself.", "chunk_id": "own", "embedding": [1.0] + [0.0] * 383},
        ],
    )
    assert own == "own"
    found = await memory.query_chunks(bank, "purring cats", max_chunks=1)
    (chunk,) = found.chunks
    assert (chunk.chunk_id, chunk.document_id, chunk.metadata["n"]) == (cats, "animals", 1)
    assert chunk.token_count > 0
    found = await memory.query_chunks(bank, embedding=[2.0] + [0.0] * 383, max_chunks=1, include_embeddings=True)
    assert found.chunks[0].chunk_id == "own"
    assert found.scores[0] == pytest.approx(1.0, abs=1e-2)
    assert list(found.chunks[0].embedding)[:2] == [1.0, 0.0]


async def test_a_chunk_of_a_taken_identifier_replaces_the_one_before(stack, bank):
    for words in ("First words.", "Second words."):
        await stack.client.memory.insert_chunks(bank, [{"content": words, "chunk_id": "one"}])
    found = await stack.client.memory.query_chunks(bank, "words")
    assert [text_of(chunk.content) for chunk in found.chunks] == ["Second words."]


async def test_chunks_of_a_document_go_with_it(stack, bank):
    memory = stack.client.memory
    await memory.insert(bank, text("a", "The document itself."))
    await memory.insert_chunks(bank, [{"content": "An added note.", "document_id": "a"}])
    assert len((await memory.query(bank, "note")).chunks) == 2
    assert await memory.delete(bank, "a") == 1
    assert len((await memory.query(bank, "note")).chunks) == 0


async def test_deleting_chunks_counts_those_that_were_there(stack, bank):
    memory = stack.client.memory
    await memory.insert_chunks(bank, [{"content": "One.", "chunk_id": "1"}, {"content": "Two.", "chunk_id": "2"}])
    assert await memory.delete_chunks(bank, ["1", "none"]) == 1
    assert [chunk.chunk_id for chunk in (await memory.query_chunks(bank, "one")).chunks] == ["2"]


@pytest.mark.parametrize(
    ("chunks", "says"),
    [
        ([{"content": "x", "embedding": [0.1] * 383}], "384"),
        ([{"content": "x", "embedding": [float("nan")] * 384}], "finite"),
        ([{"content": "x", "embedding": [0.0] * 384}], "direction"),
        ([{"content": ""}], "text"),
        ([{"content": "x", "chunk_id": "a"}, {"content": "y", "chunk_id": "a"}], "chunk_id"),
        ([{"content": "same"}, {"content": "same"}], "chunk_id"),
    ],
)
async def test_chunks_that_cannot_be_kept_are_refused_together(stack, bank, chunks, says):
    with pytest.raises(InvalidArgumentError, match=says):
        await stack.client.memory.insert_chunks(bank, [{"content": "Good words."}, *chunks])
    assert (await stack.client.memory.query_chunks(bank, "words")).chunks == []


async def test_a_keyword_bank_takes_no_vectors(stack, make_bank):
    bank = await make_bank({"memory_bank_type": "keyword"})
    with pytest.raises(FailedPreconditionError):
        await stack.client.memory.insert_chunks(bank, [{"content": "x", "embedding": [0.1]}])
    await stack.client.memory.insert_chunks(bank, [{"content": "Words alone."}])
    assert len((await stack.client.memory.query_chunks(bank, "word")).chunks) == 1
