"""Batches: side by side, in order, failed as one."""

import asyncio

import pytest

from caravan.inference.v1 import inference_pb2
from services.core.errors import InvalidArgumentError, UnavailableError
from services.inference.batch import run_all, split_chats, split_completions


async def test_answers_keep_the_requests_order_whatever_finishes_first() -> None:
    async def call(delay: float) -> float:
        await asyncio.sleep(delay)
        return delay

    assert await run_all(call, [0.03, 0.0, 0.01], at_once=3, member="content", path="{}") == [0.03, 0.0, 0.01]


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    running, most = 0, 0

    async def call(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await run_all(call, list(range(20)), at_once=4, member="content", path="{}")
    assert most == 4


async def test_the_first_failure_cancels_the_others_and_is_raised() -> None:
    cancelled = asyncio.Event()

    async def call(index: int) -> None:
        if index == 1:
            raise UnavailableError("gone")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(UnavailableError):
        await run_all(call, [0, 1], at_once=2, member="content", path="{}")
    await asyncio.sleep(0)
    assert cancelled.is_set()


async def test_a_wrong_field_is_reported_by_its_path_in_the_batch() -> None:
    async def call(index: int) -> None:
        if index == 2:
            raise InvalidArgumentError.of("messages[0].user.content", "must not be empty")

    with pytest.raises(InvalidArgumentError) as caught:
        await run_all(call, [0, 1, 2], at_once=1, member="messages", path="messages_batch[{}].messages")
    assert [violation.field for violation in caught.value.violations] == ["messages_batch[2].messages[0].user.content"]
    assert caught.value.message.startswith("messages_batch[2].messages[0]")


def test_each_text_of_a_batch_becomes_a_request_with_the_shared_fields() -> None:
    batch = inference_pb2.BatchCompletionRequest(model_id="m", sampling_params={"max_tokens": 3})
    batch.content_batch.add().items.add(text="a")
    batch.content_batch.add().items.add(text="b")
    first, second = split_completions(batch)
    assert (first.content.items[0].text, second.content.items[0].text) == ("a", "b")
    assert first.sampling_params.max_tokens == 3
    assert not first.HasField("response_format")


def test_each_conversation_of_a_batch_becomes_a_request_with_its_tools() -> None:
    batch = inference_pb2.BatchChatCompletionRequest(model_id="m", tools=[{"tool_name": "f"}])
    batch.messages_batch.add().messages.add().user.content.items.add(text="hi")
    (request,) = split_chats(batch)
    assert request.tools[0].tool_name == "f"
    assert request.messages[0].user.content.items[0].text == "hi"
