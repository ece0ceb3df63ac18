"""Values by key, through the gateway, on each store."""

import asyncio
from datetime import UTC, datetime

import pytest

from caravan.documents import plain_value
from caravan.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from caravan.memory.v1 import keyvalue_pb2


@pytest.fixture
async def values(make_bank):
    return await make_bank({"memory_bank_type": "keyvalue"})


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        "\0",
        b"\0\xff",
        2**62,
        -1,
        1.5,
        True,
        [1, {"a": None}],
        {"a": [True]},
        datetime(2024, 5, 1, tzinfo=UTC),
    ],
)
async def test_a_value_comes_back_as_it_was_put(stack, values, value):
    entry = await stack.client.memory.put_value(values, "key", value)
    assert entry.revision == 1
    got = await stack.client.memory.get_value(values, "key")
    assert plain_value(got.value) == value
    assert got.updated_at.ToDatetime(UTC).year >= 2024


async def test_a_revision_guards_against_lost_changes(stack, values):
    memory = stack.client.memory
    await memory.put_value(values, "key", 1, revision=0)
    with pytest.raises(AbortedError):
        await memory.put_value(values, "key", 2, revision=0)
    assert (await memory.put_value(values, "key", 2, revision=1)).revision == 2
    with pytest.raises(AbortedError) as stale:
        await memory.delete_value(values, "key", revision=1)
    assert stale.value.reason == "STALE_REVISION"
    assert await memory.delete_value(values, "key", revision=2)
    assert not await memory.delete_value(values, "key")
    assert (await memory.put_value(values, "key", 3)).revision == 1


async def test_counting_by_compare_and_set_loses_nothing(stack, values):
    memory = stack.client.memory
    await memory.put_value(values, "count", 0)

    async def add() -> None:
        while True:
            entry = await memory.get_value(values, "count")
            try:
                await memory.put_value(values, "count", entry.value.integer + 1, revision=entry.revision)
            except AbortedError:
                continue
            return

    await asyncio.gather(*(add() for _ in range(10)))
    assert (await memory.get_value(values, "count")).value.integer == 10


async def test_keys_are_listed_by_prefix_in_the_order_of_their_bytes(stack, values):
    memory = stack.client.memory
    for key in ("a/2", "a/1", "a/é", "a/Z", "b", "a%_"):
        await memory.put_value(values, key, key)
    assert [entry.key async for entry in memory.list_values(values, prefix="a/")] == ["a/1", "a/2", "a/Z", "a/é"]
    assert [entry.key async for entry in memory.list_values(values, prefix="a%")] == ["a%_"]
    assert [entry.HasField("value") async for entry in memory.list_values(values, prefix="b", keys_only=True)] == [
        False
    ]
    request = keyvalue_pb2.ListValuesRequest(bank_id=values, page_size=2)
    seen = []
    while True:
        page = await stack.client.call(request, keyvalue_pb2.ListValuesResponse)
        seen += [entry.key for entry in page.data]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == sorted(seen, key=str.encode)
    assert len(seen) == 6
    assert [entry.key for entry in await memory.get_values(values, ["b", "none", "a/1"])] == ["b", "a/1"]


async def test_a_page_token_holds_the_longest_key(stack, values):
    keys = ["\U0001f600" * 1023 + end for end in "ab"]
    for key in keys:
        await stack.client.memory.put_value(values, key, 1)
    request = keyvalue_pb2.ListValuesRequest(bank_id=values, page_size=1)
    page = await stack.client.call(request, keyvalue_pb2.ListValuesResponse)
    request.page_token = page.next_page_token
    page = await stack.client.call(request, keyvalue_pb2.ListValuesResponse)
    assert [entry.key for entry in page.data] == keys[1:]


async def test_a_value_expires(stack, values):
    memory = stack.client.memory
    entry = await memory.put_value(values, "key", 1, ttl_seconds=1)
    assert entry.HasField("expires_at")
    await asyncio.sleep(1.2)
    with pytest.raises(NotFoundError):
        await memory.get_value(values, "key")
    assert (await memory.put_value(values, "key", 2, revision=0)).revision == 1


async def test_a_repeated_put_changes_nothing(stack, values):
    request = keyvalue_pb2.PutValueRequest(bank_id=values, key="key", value={"integer": 1}, request_id="r")
    first = await stack.client.call(request, keyvalue_pb2.PutValueResponse)
    await stack.client.memory.put_value(values, "key", 2)
    assert await stack.client.call(request, keyvalue_pb2.PutValueResponse) == first
    assert (await stack.client.memory.get_value(values, "key")).value.integer == 2


async def test_values_do_not_go_into_a_bank_of_documents(stack, bank):
    with pytest.raises(FailedPreconditionError, match="vector bank"):
        await stack.client.memory.put_value(bank, "key", 1)


async def test_a_key_with_nul_is_refused(stack, values):
    with pytest.raises(InvalidArgumentError, match="NUL"):
        await stack.client.memory.put_value(values, "a\0", 1)


async def test_large_values_come_in_shorter_pages_and_too_many_at_once_are_refused(stack, values):
    size = 4_000_000
    for number in range(10):
        await stack.client.memory.put_value(values, f"large{number}", bytes([number]) * size)
    request = keyvalue_pb2.ListValuesRequest(bank_id=values, page_size=1000)
    page = await stack.client.call(request, keyvalue_pb2.ListValuesResponse)
    assert 1 < len(page.data) < 10
    assert page.next_page_token
    listed = [entry.key async for entry in stack.client.memory.list_values(values)]
    assert listed == [f"large{number}" for number in range(10)]
    with pytest.raises(ResourceExhaustedError, match="fewer keys") as refused:
        await stack.client.memory.get_values(values, listed)
    assert refused.value.reason == "RESPONSE_TOO_LARGE"
    assert len(await stack.client.memory.get_values(values, listed[:5])) == 5
