import asyncio
import contextlib
import time
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from services.core.context import RequestContext, current_request, request_id_or_new
from tests.services.core.loopback import Scripted, chat_request, serving


@pytest.mark.parametrize("proposed", [None, "", "a b", "é", "a\n", "x" * 129, b"raw"])
def test_an_unfit_request_id_is_replaced(proposed: str | bytes | None) -> None:
    made = request_id_or_new(proposed)
    assert made != proposed
    assert len(made) == 32


def test_outside_a_call_there_is_a_context_too() -> None:
    assert current_request().request_id != current_request().request_id


async def test_the_callers_request_id_comes_back() -> None:
    async with serving() as running:
        call = running.inference.ChatCompletion(chat_request(), metadata=[("x-request-id", "mine")])
        await call
        assert dict(await call.trailing_metadata())["x-request-id"] == "mine"


async def test_a_request_id_is_made_and_comes_back_with_an_error_too() -> None:
    async with serving() as running:
        call = running.inference.ChatCompletion(inference_pb2.ChatCompletionRequest())
        with contextlib.suppress(Exception):
            await call
        assert len(dict(await call.trailing_metadata())["x-request-id"]) == 32


async def test_a_refused_call_has_produced_nothing() -> None:
    """Initial metadata would keep a client's retry policy, and a proxy, from trying elsewhere."""
    async with serving() as running:
        call = running.inference.ChatCompletion(inference_pb2.ChatCompletionRequest())
        assert list(await call.initial_metadata()) == []


async def test_calls_at_the_same_time_have_their_own_contexts() -> None:
    seen: dict[str, list[RequestContext]] = {}

    async def chat(request: Any, context: Any) -> Any:
        before = current_request()
        await asyncio.sleep(0.01)
        seen[request.model_id] = [before, current_request(), await asyncio.create_task(child())]
        return inference_pb2.ChatCompletionResponse()

    async def child() -> RequestContext:
        return current_request()

    async with serving(Scripted(chat)) as running:
        names = [f"call-{number}" for number in range(20)]

        async def one(name: str) -> None:
            request = chat_request()
            request.model_id = name
            await running.inference.ChatCompletion(request, metadata=[("x-request-id", name)])

        await asyncio.gather(*map(one, names))
    assert {name: {found.request_id for found in contexts} for name, contexts in seen.items()} == {
        name: {name} for name in names
    }


async def test_the_deadline_and_the_trace_are_known() -> None:
    seen: list[RequestContext] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append(current_request())
        return inference_pb2.ChatCompletionResponse()

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving(Scripted(chat)) as running:
        await running.inference.ChatCompletion(chat_request(), timeout=5, metadata=[("traceparent", parent)])
        await running.inference.ChatCompletion(chat_request(), metadata=[("traceparent", "garbage; DROP TABLE")])
    first, second = seen
    assert first.trace_headers == {"traceparent": parent}
    assert first.deadline is not None
    assert 3 < first.deadline - time.monotonic() < 5.5
    assert (second.trace_headers, second.deadline) == ({}, None)
