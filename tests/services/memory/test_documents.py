"""Documents, through the gateway, on each store, as a user meets them."""

import asyncio
import io
import math
import struct
from itertools import pairwise
from typing import Any

import pytest
from docx import Document as Docx

from caravan.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError, RpcError
from caravan.memory.v1 import memory_pb2
from caravan.messages import text_of
from tests.services.memory.pdf import make_pdf
from tests.services.memory.stack import outcomes, text, vector
from tests.support.http_endpoint import http_endpoint


def only(items: Any) -> Any:
    (one,) = items
    return one


async def found(stack: Any, bank: str, query: str, **parameters: Any) -> list[str]:
    response = await stack.client.memory.query(bank, query, **parameters)
    assert all(math.isfinite(score) for score in response.scores)
    return [chunk.document_id for chunk in response.chunks]


async def test_a_document_is_found_as_soon_as_it_is_inserted(stack, bank):
    results = await stack.client.memory.insert(
        bank,
        [text("cats", "Cats sleep most of the day."), text("cars", "Cars drive on roads.", metadata={"year": 2020})],
    )
    assert outcomes(results) == ["inserted", "inserted"]
    assert [result.revision for result in results] == [1, 1]
    response = await stack.client.memory.query(bank, "What do cats do all day?")
    best = response.chunks[0]
    assert best.document_id == "cats"
    assert text_of(best.content) == "Cats sleep most of the day."
    assert (best.location.start, best.location.end) == (0, 27)
    assert response.chunks[1].metadata["year"] == 2020
    assert response.scores[0] > response.scores[1]


async def test_the_same_document_again_changes_nothing_and_a_changed_one_replaces_it(stack, bank):
    insert = stack.client.memory.insert
    await insert(bank, text("a", "The first words."))
    assert outcomes(await insert(bank, text("a", "The first words."))) == ["unchanged"]
    result = only(await insert(bank, text("a", "Other words about whales.")))
    assert (outcomes([result]), result.revision) == (["updated"], 2)
    assert text_of(only(await stack.client.memory.get(bank, "a")).content) == "Other words about whales."
    assert await found(stack, bank, "first", mode="keyword") == []
    assert await found(stack, bank, "whales", mode="keyword") == ["a"]


async def test_new_metadata_alone_embed_nothing_anew(stack, bank):
    await stack.client.memory.insert(bank, text("a", "Words that stay.", metadata={"year": 1}))
    before = only((await stack.client.memory.query(bank, "words", include_embeddings=True)).chunks)
    result = only(await stack.client.memory.insert(bank, text("a", "Words that stay.", metadata={"year": 2})))
    assert (outcomes([result]), result.revision, result.chunk_count) == (["updated"], 2, 1)
    after = only((await stack.client.memory.query(bank, "words", include_embeddings=True)).chunks)
    assert after.metadata["year"] == 2
    assert (after.chunk_id, after.embedding) == (before.chunk_id, before.embedding)


async def test_all_documents_of_a_call_are_inserted_or_none(stack, bank):
    with pytest.raises(InvalidArgumentError) as refused:
        await stack.client.memory.insert(bank, [text("good", "Good words."), text("bad", "   ")])
    assert "documents[1]" in str(refused.value)
    assert await stack.client.memory.get(bank, ["good", "bad"]) == []


async def test_identifiers_that_come_twice_are_refused_by_their_place(stack, bank):
    with pytest.raises(InvalidArgumentError) as refused:
        await stack.client.memory.insert(bank, [text("a", "x"), text("b", "y"), text("a", "z")])
    assert refused.value.violations[0].subject == "documents[2].document_id"


async def test_a_long_document_is_cut_into_overlapping_chunks_whose_places_are_exact(stack, make_bank):
    bank = await make_bank(vector(chunk_size_in_tokens=50))
    words = " ".join(f"Sentence number {number} tells of the thing {number}. 😀" for number in range(60))
    result = only(await stack.client.memory.insert(bank, text("long", words)))
    assert result.chunk_count > 10
    response = await stack.client.memory.query(bank, "sentence", max_chunks=1000)
    chunks = sorted(response.chunks, key=lambda chunk: chunk.location.chunk_index)
    assert len(chunks) == result.chunk_count
    for chunk in chunks:
        assert text_of(chunk.content) == words[chunk.location.start : chunk.location.end]
        assert chunk.token_count <= 50
    for one, two in pairwise(chunks):
        assert one.location.start < two.location.start < one.location.end < two.location.end
    assert (chunks[0].location.start, chunks[-1].location.end) == (0, len(words))


async def test_a_chunk_longer_than_the_models_context_is_read_to_its_end(stack, make_bank):
    bank = await make_bank(vector(chunk_size_in_tokens=2000))
    filler = "The weather was neither good nor bad on that day. " * 60
    await stack.client.memory.insert(
        bank, [text("with", filler + "Penguins live in Antarctica."), text("without", filler)]
    )
    assert (await found(stack, bank, "Penguins live in Antarctica."))[0] == "with"


async def test_an_update_changes_what_it_names_and_leaves_the_rest(stack, bank):
    memory = stack.client.memory
    await memory.insert(bank, text("a", "Apples are red.", metadata={"kind": "fruit"}))
    assert outcomes(await memory.update(bank, {"document_id": "a", "content": "Apples may be green."})) == ["updated"]
    document = only(await memory.get(bank, "a"))
    assert (text_of(document.content), document.metadata["kind"], document.revision) == (
        "Apples may be green.",
        "fruit",
        2,
    )
    await memory.update(bank, {"document_id": "a", "metadata": {"kind": "food"}, "revision": 2})
    assert only(await memory.get(bank, "a", metadata_only=True)).metadata["kind"] == "food"
    assert outcomes(await memory.update(bank, {"document_id": "a", "metadata": {"kind": "food"}})) == ["unchanged"]
    with pytest.raises(AbortedError) as stale:
        await memory.update(bank, {"document_id": "a", "metadata": {}, "revision": 2})
    assert stale.value.reason == "STALE_REVISION"
    with pytest.raises(NotFoundError):
        await memory.update(bank, {"document_id": "b", "metadata": {}})


async def test_updates_of_one_document_at_the_same_time_all_take_effect(stack, bank):
    await stack.client.memory.insert(bank, text("a", "Words."))
    updates = [stack.client.memory.update(bank, {"document_id": "a", "metadata": {"n": n}}) for n in range(4)]
    results = await asyncio.gather(*updates)
    assert sorted(only(result).revision for result in results) == [2, 3, 4, 5]


async def test_documents_are_listed_in_pages_and_by_filter(stack, bank):
    documents = [text(f"d{n:02}", f"Document {n}.", metadata={"n": n}) for n in range(7)]
    await stack.client.memory.insert(bank, documents)
    request = memory_pb2.ListDocumentsRequest(bank_id=bank, page_size=3)
    seen = []
    while True:
        page = await stack.client.call(request, memory_pb2.ListDocumentsResponse)
        seen += [document.document_id for document in page.data]
        assert not any(document.HasField("content") for document in page.data)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [document["document_id"] for document in documents]
    fitting = stack.client.memory.list(bank, filter={"type": "gte", "key": "n", "value": 5})
    assert [document.document_id async for document in fitting] == ["d05", "d06"]
    request.bank_id, request.page_token = bank, "forged"
    with pytest.raises(InvalidArgumentError):
        await stack.client.call(request, memory_pb2.ListDocumentsResponse)


async def test_deleting_by_identifier_by_filter_and_all(stack, bank):
    memory = stack.client.memory
    await memory.insert(bank, [text(f"d{n}", f"Document {n}.", metadata={"n": n}) for n in range(6)])
    assert await memory.delete(bank, ["d0", "nothing"]) == 1
    assert await memory.delete(bank, filter={"type": "lt", "key": "n", "value": 3}) == 2
    assert sorted(await found(stack, bank, "document")) == ["d3", "d4", "d5"]
    assert await memory.delete(bank, all=True) == 3
    assert await found(stack, bank, "document") == []
    with pytest.raises(InvalidArgumentError):
        await memory.delete(bank)


async def test_what_has_expired_is_gone(stack, make_bank):
    bank = await make_bank(default_ttl="1s")
    await stack.client.memory.insert(
        bank, [text("short", "Short words."), text("long", "Long words.", ttl_seconds=1000)]
    )
    assert len(await found(stack, bank, "words")) == 2
    await asyncio.sleep(1.2)
    assert await found(stack, bank, "words") == ["long"]
    assert [one.document_id for one in await stack.client.memory.get(bank, ["short", "long"])] == ["long"]
    assert outcomes(await stack.client.memory.insert(bank, text("short", "Short words."))) == ["inserted"]


async def test_a_repeated_request_id_returns_the_first_result(stack, bank):
    first = await stack.client.memory.insert(bank, text("a", "One."), request_id="r")
    await stack.client.memory.insert(bank, text("a", "Two."))
    again = await stack.client.memory.insert(bank, text("a", "One."), request_id="r")
    assert list(again) == list(first)
    assert text_of(only(await stack.client.memory.get(bank, "a")).content) == "Two."
    with pytest.raises(InvalidArgumentError) as reused:
        await stack.client.memory.insert(bank, text("a", "Three."), request_id="r")
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_a_repetition_while_the_first_call_runs_waits_for_it(stack, bank):
    calls = [stack.client.memory.insert(bank, text("a", "One."), request_id="r") for _ in range(5)]
    results = await asyncio.gather(*calls)
    assert [outcomes(result) for result in results] == [["inserted"]] * 5


# What documents may be.


def word_document() -> bytes:
    document = Docx()
    document.add_heading("The manual", 1)
    document.add_paragraph("Turn the key to start the engine.")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


FORMS = {
    "text/html": (
        b"<html><body><h1>The manual</h1><p>Turn the <b>key</b> to start the engine.</p></body></html>",
        ["The manual"],
    ),
    "text/markdown": (b"# The manual\n\nTurn the key to start the engine.", ["The manual"]),
    "text/csv": (b"step,what\n1,Turn the key to start the engine.\n", []),
    "application/json": (b'{"steps": ["Turn the key to start the engine."]}', []),
    "text/plain": (b"Turn the key to start the engine.", []),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (word_document(), ["The manual"]),
}


@pytest.mark.parametrize("mime_type", FORMS)
async def test_text_is_extracted_from(stack, bank, mime_type):
    data, headings = FORMS[mime_type]
    message = memory_pb2.Document(document_id="manual", data=data, mime_type=mime_type)
    await stack.client.memory.insert(bank, message)
    chunk = only((await stack.client.memory.query(bank, "How do I start the engine?")).chunks)
    assert "Turn the key to start the engine." in text_of(chunk.content).replace("\n", " ")
    assert list(chunk.location.headings) == headings
    stored = only(await stack.client.memory.get(bank, "manual"))
    assert (stored.mime_type, stored.size_bytes) == (mime_type, len(data))
    assert text_of(stored.content)[chunk.location.start : chunk.location.end] == text_of(chunk.content)


async def test_a_hit_in_a_pdf_tells_its_page_and_the_type_is_told_from_the_content(stack, make_bank):
    bank = await make_bank(vector(chunk_size_in_tokens=16, overlap_size_in_tokens=0))
    data = make_pdf(["Nothing of interest here.", "Turn the key to start the engine."])
    await stack.client.memory.insert(bank, memory_pb2.Document(document_id="manual", data=data))
    stored = only(await stack.client.memory.get(bank, "manual"))
    assert stored.mime_type == "application/pdf"
    response = await stack.client.memory.query(bank, "How do I start the engine?", max_chunks=10)
    pages = {chunk.location.page for chunk in response.chunks if "engine" in text_of(chunk.content)}
    assert pages <= {1, 2}


@pytest.mark.parametrize(
    ("data", "mime_type", "says"),
    [
        (b"%PDF-1.7\nbroken", "application/pdf", "broken PDF"),
        (b"PK\x03\x04broken", "", "no DOCX"),
        (b"{", "application/json", "no valid JSON"),
        (b"[" * 5000, "application/json", "nests"),
        (b"\x00\x01\x02", "", "binary"),
        (b"words", "video/mp4", "text is extracted from"),
        (b" \n ", "text/plain", "holds no text"),
        (b"<script>1</script>", "text/html", "holds no text"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_what_is_wrong(stack, bank, data, mime_type, says):
    message = memory_pb2.Document(document_id="bad", data=data, mime_type=mime_type)
    with pytest.raises(InvalidArgumentError, match=says):
        await stack.client.memory.insert(bank, message)
    assert outcomes(await stack.client.memory.insert(bank, text("good", "Words."))) == ["inserted"]


@pytest.fixture
def site():
    with http_endpoint() as served:
        yield served


async def test_a_document_is_fetched_from_its_address(stack, bank, site):
    site.says(b"# The manual\n\nTurn the key.", headers={"Content-Type": "text/plain"})
    await stack.client.memory.insert(bank, {"document_id": "manual", "content": {"uri": f"{site.url}/manual.md"}})
    stored = only(await stack.client.memory.get(bank, "manual"))
    assert (stored.mime_type, stored.source_uri) == ("text/markdown", f"{site.url}/manual.md")


async def test_content_of_images_alone_is_refused_and_images_beside_text_are_kept(stack, bank):
    image = {"type": "image", "image": {"data": "iVBORw0KGgo="}}
    with pytest.raises(InvalidArgumentError, match="holds no text"):
        await stack.client.memory.insert(bank, text("a", [image]))
    await stack.client.memory.insert(bank, text("a", [{"type": "text", "text": "A picture."}, image]))
    stored = only(await stack.client.memory.get(bank, "a"))
    assert [item.WhichOneof("item") for item in stored.content.items] == ["text", "image"]


@pytest.mark.parametrize(
    "metadata", [{"n": float("nan")}, {"n": [float("inf")]}, {"a\0": 1}, {"a": {"b": "\0"}}, {"a": "x" * 300_000}]
)
async def test_metadata_that_no_store_can_keep_are_refused(stack, bank, metadata):
    document = memory_pb2.Document(document_id="a", content={"items": [{"text": "Words."}]})
    document.metadata.update(metadata)
    with pytest.raises(InvalidArgumentError, match="metadata"):
        await stack.client.memory.insert(bank, document)


async def test_documents_do_not_go_into_a_bank_of_values(stack, make_bank):
    bank = await make_bank({"memory_bank_type": "keyvalue"})
    with pytest.raises(FailedPreconditionError) as refused:
        await stack.client.memory.insert(bank, text("a", "Words."))
    assert refused.value.reason == "WRONG_BANK_KIND"


async def test_a_bank_that_does_not_exist_is_not_found(stack):
    with pytest.raises(NotFoundError):
        await stack.client.memory.insert("nowhere", text("a", "Words."))


async def test_a_large_document_of_a_small_message_is_taken_in_one_call(stack, make_bank):
    bank = await make_bank({"memory_bank_type": "keyword"})
    words = "".join(f"word{n} " for n in range(300_000))
    result = only(await stack.client.with_options(timeout=120).memory.insert(bank, text("large", words)))
    assert result.chunk_count > 500
    response = await stack.client.memory.query(bank, "word299999", mode="keyword", max_chunks=1)
    assert response.chunks[0].location.end == len(words.rstrip())


@pytest.mark.parametrize("number", [struct.unpack("<f", b"\0\0\xc0\x7f")[0], math.inf, 1e30])
async def test_vectors_that_are_not_finite_are_refused(stack, bank, number):
    vector_ = [number] + [0.1] * 383
    with pytest.raises(InvalidArgumentError, match="embedding"):
        await stack.client.memory.insert_chunks(bank, [{"content": "x", "embedding": vector_}])
    with pytest.raises(RpcError, match="embedding"):
        await stack.client.memory.query_chunks(bank, "x", embedding=vector_)
