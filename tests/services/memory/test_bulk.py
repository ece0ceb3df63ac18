"""Bulk insertion, through the gateway, on each store."""

import asyncio
from collections import Counter

import pytest

from caravan.documents import file_requests
from caravan.errors import AbortedError, InvalidArgumentError, NotFoundError
from caravan.memory.v1 import memory_pb2
from caravan.messages import text_of
from tests.services.memory.pdf import make_pdf
from tests.services.memory.stack import outcomes, text


async def run(stack, bank, requests, **fields):
    events = [event async for event in stack.client.memory.bulk_insert(bank, requests, **fields)]
    results = [event.document for event in events if event.HasField("document")]
    assert events[-1].HasField("complete")
    assert events[-2].progress == events[-1].complete
    return results, events[-1].complete


async def test_every_document_is_reported_and_can_be_found(stack, bank):
    results, complete = await run(stack, bank, (text(f"d{n}", f"Note number {n}.") for n in range(200)))
    assert sorted(result.document_id for result in results) == sorted(f"d{n}" for n in range(200))
    assert set(outcomes(results)) == {"inserted"}
    assert (complete.documents_received, complete.documents_done, complete.documents_refused) == (200, 200, 0)
    assert complete.chunks_inserted == 200
    assert complete.bytes_received == sum(len(f"Note number {n}.") for n in range(200))
    assert (await stack.client.memory.statistics(bank)).document_count == 200


async def test_a_refused_document_does_not_stop_the_others(stack, bank):
    documents = [
        text("good", "Good words."),
        memory_pb2.Document(document_id="broken", data=b"%PDF-broken"),
        text("empty", " "),
        memory_pb2.Document(document_id="gone", url={"uri": "http://127.0.0.1:1/nothing"}),
        text("better", "Better words."),
    ]
    results, complete = await run(stack, bank, documents)
    by_id = {result.document_id: result for result in results}
    refused = {name for name, result in by_id.items() if result.outcome == memory_pb2.DOCUMENT_OUTCOME_REFUSED}
    assert refused == {"broken", "empty", "gone"}
    assert "broken PDF" in by_id["broken"].error.message
    assert by_id["broken"].error.details
    assert (complete.documents_done, complete.documents_refused) == (2, 3)


async def test_a_document_in_parts_is_put_together(stack, bank, tmp_path):
    path = tmp_path / "manual.pdf"
    path.write_bytes(make_pdf([f"Page {n} tells of the thing {n}." for n in range(30)]))
    requests = list(file_requests(path, "manual", metadata={"n": 1}))
    whole = requests[0].part
    parts = [whole.data[at : at + 700] for at in range(0, len(whole.data), 700)]
    sent = [memory_pb2.DocumentPart(data=part, last=part is parts[-1]) for part in parts]
    sent[0].head.CopyFrom(whole.head)
    results, _ = await run(stack, bank, [memory_pb2.BulkInsertDocumentsRequest(part=part) for part in sent])
    assert outcomes(results) == ["inserted"]
    stored = (await stack.client.memory.get(bank, "manual"))[0]
    assert (stored.size_bytes, stored.mime_type, stored.metadata["n"]) == (path.stat().st_size, "application/pdf", 1)
    assert "thing 29" in text_of(stored.content)


async def test_the_same_identifier_twice_leaves_the_later_one(stack, bank):
    documents = [text("a", f"Version {n}.") for n in range(10)]
    results, complete = await run(stack, bank, documents)
    assert [result.revision for result in results] == list(range(1, 11))
    assert complete.documents_done == 10
    assert text_of((await stack.client.memory.get(bank, "a"))[0].content) == "Version 9."


async def test_a_second_run_finds_everything_unchanged(stack, bank):
    documents = [text(f"d{n}", f"Note number {n}.") for n in range(20)]
    await run(stack, bank, documents)
    results, complete = await run(stack, bank, documents)
    assert Counter(outcomes(results)) == {"unchanged": 20}
    assert complete.chunks_inserted == 0


@pytest.mark.parametrize(
    "requests",
    [
        [memory_pb2.BulkInsertDocumentsRequest(part={"data": b"x"})],
        [memory_pb2.BulkInsertDocumentsRequest(part={"head": {"document_id": "a"}, "data": b"x"})],
        [
            memory_pb2.BulkInsertDocumentsRequest(part={"head": {"document_id": "a"}}),
            memory_pb2.BulkInsertDocumentsRequest(part={"head": {"document_id": "b"}}),
        ],
        [
            memory_pb2.BulkInsertDocumentsRequest(part={"head": {"document_id": "a"}}),
            memory_pb2.BulkInsertDocumentsRequest(document=memory_pb2.Document(document_id="b", data=b"x")),
        ],
        [memory_pb2.BulkInsertDocumentsRequest(document=memory_pb2.Document(document_id="b"))],
    ],
    ids=["no head", "no last part", "two heads", "a document between parts", "no content"],
)
async def test_requests_that_make_no_documents_end_the_call_and_keep_what_was_reported(stack, bank, requests):
    good = memory_pb2.BulkInsertDocumentsRequest(document=memory_pb2.Document(document_id="good", data=b"Words."))
    sent = set()

    async def insert() -> None:
        async for event in stack.client.memory.bulk_insert(bank, [good, *requests]):
            sent.add(event.document.document_id)

    with pytest.raises(InvalidArgumentError):
        await insert()
    stored = await stack.client.memory.get(bank, "good")
    assert len(stored) >= ("good" in sent)


async def test_a_bank_that_is_dropped_ends_the_call(stack, bank):
    dropped = asyncio.Event()

    async def insert() -> None:
        count = 0
        async for event in stack.client.memory.bulk_insert(bank, (text(f"d{n}", f"Note {n}.") for n in range(20_000))):
            count += event.HasField("document")
            if count == 20 and not dropped.is_set():
                dropped.set()

    inserting = asyncio.create_task(insert())
    await dropped.wait()
    await stack.client.memory_banks.unregister(bank)
    with pytest.raises((AbortedError, NotFoundError)) as ended:
        await inserting
    assert ended.value.reason


async def test_a_caller_who_goes_away_leaves_nothing_running(stack, bank):
    events = stack.client.memory.bulk_insert(bank, (text(f"d{n}", f"Note {n}.") for n in range(20_000)))
    async for event in events:
        if event.HasField("document"):
            break
    await events.aclose()
    results, _ = await run(stack, bank, [text("after", "Words.")])
    assert outcomes(results) == ["inserted"]


async def test_an_unknown_bank_is_not_found(stack):
    with pytest.raises(NotFoundError):
        await run(stack, "nowhere", [text("a", "Words.")])
