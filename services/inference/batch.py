"""A batch is many single calls: run side by side within a bound, answered in order, failed as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from caravan.inference.v1 import inference_pb2
from services.core.errors import FieldViolation, InvalidArgumentError

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

SHARED_COMPLETION_FIELDS = ("sampling_params", "response_format", "logprobs")
SHARED_CHAT_FIELDS = (*SHARED_COMPLETION_FIELDS, "tool_config")


def split_completions(batch: inference_pb2.BatchCompletionRequest) -> list[inference_pb2.CompletionRequest]:
    """Returns the single request for each text of the batch."""
    shared = _set_fields(batch, SHARED_COMPLETION_FIELDS)
    return [
        inference_pb2.CompletionRequest(model_id=batch.model_id, content=content, **shared)
        for content in batch.content_batch
    ]


def split_chats(batch: inference_pb2.BatchChatCompletionRequest) -> list[inference_pb2.ChatCompletionRequest]:
    """Returns the single request for each conversation of the batch."""
    shared = _set_fields(batch, SHARED_CHAT_FIELDS)
    return [
        inference_pb2.ChatCompletionRequest(
            model_id=batch.model_id, messages=conversation.messages, tools=batch.tools, **shared
        )
        for conversation in batch.messages_batch
    ]


async def run_all(
    call: Callable[[RequestT], Awaitable[AnswerT]],
    requests: Sequence[RequestT],
    *,
    at_once: int,
    member: str,
    path: str,
) -> list[AnswerT]:
    """Runs the single calls of a batch. The first failure cancels the others and is raised.

    Args:
        call: The single call.
        requests: Its requests.
        at_once: Most calls to run at a time.
        member: Field of the single request that differs between them, for instance `content`.
        path: Path of that field in the batch, for instance `content_batch[{}]`; `{}` is the place in the batch.

    Returns:
        The answers, in the requests' order.

    Raises:
        CaravanError: What the first failing call raised; field paths are those of the batch.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(index: int) -> AnswerT:
        async with slots:
            try:
                return await call(requests[index])
            except InvalidArgumentError as error:
                raise _relocated(error, member, path.format(index)) from error

    tasks = [asyncio.ensure_future(one(index)) for index in range(len(requests))]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _set_fields(message: Message, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _relocated(error: InvalidArgumentError, member: str, path: str) -> InvalidArgumentError:
    """The same error with the paths of the batch's fields."""
    violations = [
        FieldViolation(path + violation.field.removeprefix(member), violation.description)
        if violation.field.startswith(member)
        else violation
        for violation in error.violations
    ]
    return InvalidArgumentError(
        error.message.replace(member, path, 1) if error.message.startswith(member) else error.message,
        violations=violations,
        reason=error.reason,
        metadata=error.metadata,
    )
