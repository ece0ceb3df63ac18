"""Receipts: a mutation that is sent again is not done again."""

import asyncio

import pytest

from caravan.memory.v1 import memory_pb2
from services.core.errors import AbortedError
from services.memory.ports import RECEIPT_SECONDS, Store
from services.memory.records import Receipt, Selection
from tests.conformance.memory.building import Clock, chunk, document, loose, receipt, text_value


async def test_a_receipt_keeps_the_response_of_the_write(store: Store, words: str) -> None:
    def respond(results: list[memory_pb2.DocumentResult]) -> memory_pb2.InsertDocumentsResponse:
        return memory_pb2.InsertDocumentsResponse(results=results)

    kept = Receipt("Insert", "r1", b"fingerprint", respond)
    results = await store.write_documents(words, [document("a")], kept)
    found = await store.find_receipt(words, "Insert", "r1")
    assert found is not None
    assert found.fingerprint == b"fingerprint"
    assert list(memory_pb2.InsertDocumentsResponse.FromString(found.response).results) == results


async def test_there_is_no_receipt_for_what_was_not_done(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a")], receipt("r1"))
    assert await store.find_receipt(words, "Insert", "r2") is None
    assert await store.find_receipt(words, "Update", "r1") is None
    with pytest.raises(AbortedError):
        await store.write_documents(words, [document("a", expected_revision=5)], receipt("r3"))
    assert await store.find_receipt(words, "Insert", "r3") is None


async def test_a_second_write_with_the_receipt_changes_nothing(store: Store, words: str) -> None:
    await store.write_documents(words, [document("a")], receipt("r1"))
    with pytest.raises(AbortedError) as caught:
        await store.write_documents(words, [document("a"), document("b")], receipt("r1", fingerprint=b"other"))
    assert caught.value.reason == "RECEIPT_EXISTS"
    records = await store.get_documents(words, ["a", "b"])
    assert {key: record.document.revision for key, record in records.items()} == {"a": 1}


async def test_of_concurrent_writes_with_one_receipt_one_is_done(store: Store, words: str) -> None:
    attempts = (store.write_documents(words, [document(f"d{place}")], receipt("same")) for place in range(6))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, AbortedError)]
    assert [error.reason for error in refused] == ["RECEIPT_EXISTS"] * 5
    assert len(await store.list_documents(words, after="", limit=10)) == 1


async def test_every_kind_of_mutation_leaves_its_receipt(store: Store, words: str, pairs: str) -> None:
    await store.insert_chunks(words, loose(chunk("t", "d", "c")), None, receipt("1", "InsertChunks"))
    assert await store.delete_chunks(words, ["c"], receipt("2", "DeleteChunks")) == 1
    assert await store.delete_documents(words, Selection(everything=True), receipt("3", "Delete")) == 0
    await store.put_value(pairs, "k", text_value("v"), receipt=receipt("4", "Put"))
    assert await store.delete_value(pairs, "k", receipt=receipt("5", "DeleteValue"))
    for bank_id, rpc, request_id in (
        (words, "InsertChunks", "1"),
        (words, "DeleteChunks", "2"),
        (words, "Delete", "3"),
        (pairs, "Put", "4"),
        (pairs, "DeleteValue", "5"),
    ):
        assert await store.find_receipt(bank_id, rpc, request_id) is not None
    with pytest.raises(AbortedError):
        await store.put_value(pairs, "k", text_value("again"), receipt=receipt("4", "Put"))
    assert await store.get_values(pairs, ["k"]) == {}


async def test_receipts_belong_to_a_bank(store: Store, words: str, pairs: str) -> None:
    await store.write_documents(words, [document("a")], receipt("r"))
    assert await store.find_receipt(pairs, "Insert", "r") is None


async def test_a_receipt_is_forgotten_after_a_day(store: Store, words: str, clock: Clock) -> None:
    await store.write_documents(words, [document("a")], receipt("r"))
    clock.now += RECEIPT_SECONDS - 1
    assert await store.find_receipt(words, "Insert", "r") is not None
    clock.now += 2
    assert await store.find_receipt(words, "Insert", "r") is None
    (result,) = await store.write_documents(words, [document("a")], receipt("r"))
    assert result.revision == 2
