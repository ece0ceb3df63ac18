import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2
from services.core.channels import open_channel
from services.core.errors import (
    CaravanError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from services.core.server import Binding
from services.core.status import CODES
from tests.services.core.loopback import (
    SERVICE,
    FakeProvider,
    Scripted,
    chat_request,
    eventually,
    failure,
    serving,
    stream_request,
    told,
)
from tests.services.core.test_errors import KINDS
from tests.services.core.test_status import made


def raising(error: BaseException) -> Scripted:
    async def chat(request: Any, context: Any) -> Any:
        raise error

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield inference_pb2.StreamChatCompletionResponse()
        raise error

    return Scripted(chat, stream)


def info(error: grpc.aio.AioRpcError) -> Any:
    """The ErrorInfo of a status as it came."""
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    found = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(raw).details[0].Unpack(found)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_each_error_reaches_the_caller_with_its_code_and_error_info(kind: type[CaravanError]) -> None:
    async with serving(raising(made(kind))) as running:
        for call in (
            running.inference.ChatCompletion(chat_request()),
            running.inference.StreamChatCompletion(stream_request()),
        ):
            error = await failure(call)
            assert (error.code(), error.details()) == (CODES[kind], "what to do")
            assert (info(error).domain, info(error).reason) == ("caravan", made(kind).reason)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ValueError("password=hunter2"), grpc.StatusCode.INTERNAL),
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED),
        (NotImplementedError(), grpc.StatusCode.UNIMPLEMENTED),
        (KeyError("x"), grpc.StatusCode.INTERNAL),
        (asyncio.CancelledError(), grpc.StatusCode.CANCELLED),
        (StopAsyncIteration(), grpc.StatusCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_no_exception_becomes_unknown(raised: BaseException, code: grpc.StatusCode) -> None:
    async with serving(raising(raised)) as running:
        for call in (
            running.inference.ChatCompletion(chat_request()),
            running.inference.StreamChatCompletion(stream_request()),
        ):
            error = await failure(call)
            assert error.code() is code
            assert info(error).domain == "caravan"
            assert "hunter2" not in str(error)


async def test_an_error_of_a_called_service_passes_through() -> None:
    async with serving(raising(NotFoundError("no m", resource_type="model", resource_name="m"))) as behind:

        async def chat(request: Any, context: Any) -> Any:
            return await behind.inference.ChatCompletion(request)

        async with serving(Scripted(chat)) as running:
            error = await told(running.inference.ChatCompletion(chat_request()))
    assert isinstance(error, NotFoundError)
    assert (error.message, error.resource_name, error.reason) == ("no m", "m", "NOT_FOUND")


async def test_what_a_servicer_aborts_with_is_kept() -> None:
    async def chat(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.ABORTED, "own words")

    async with serving(Scripted(chat)) as running:
        error = await failure(running.inference.ChatCompletion(chat_request()))
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "own words")


async def test_an_answer_of_the_wrong_type_is_internal() -> None:
    async def chat(request: Any, context: Any) -> Any:
        return "text"

    async with serving(Scripted(chat)) as running:
        assert (await failure(running.inference.ChatCompletion(chat_request()))).code() is grpc.StatusCode.INTERNAL


async def test_an_answer_that_is_too_large_is_exhausted() -> None:
    large = inference_pb2.ChatCompletionResponse()
    large.completion_message.content.items.add().text = "x" * 5000

    async def chat(request: Any, context: Any) -> Any:
        return large

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield large

    async with serving(Scripted(chat, stream), max_send_bytes=4096) as running:
        for call in (
            running.inference.ChatCompletion(chat_request()),
            running.inference.StreamChatCompletion(stream_request()),
        ):
            error = await told(call)
            assert isinstance(error, ResourceExhaustedError)
            assert (error.subject, error.reason) == ("max_send_bytes", "RESPONSE_TOO_LARGE")


async def test_a_request_that_is_too_large_is_exhausted() -> None:
    async with serving(max_receive_bytes=4096) as running:
        request = chat_request()
        request.messages[0].user.content.items[0].text = "x" * 5000
        error = await told(running.inference.ChatCompletion(request))
    assert isinstance(error, ResourceExhaustedError)
    assert (error.subject, error.reason) == ("message size", "MESSAGE_TOO_LARGE")
    assert error.message == (
        f"the request message has {request.ByteSize()} bytes, the limit is 4096: "
        "send less at once, or in parts by a client-streamed RPC where there is one"
    )


async def test_an_answer_that_is_too_large_for_its_caller_is_told_to_it() -> None:
    large = inference_pb2.ChatCompletionResponse()
    large.completion_message.content.items.add().text = "x" * 5000

    async def chat(request: Any, context: Any) -> Any:
        return large

    async with serving(Scripted(chat)) as running, open_channel(running.address, max_message_bytes=4096) as channel:
        error = await told(inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat_request()))
    assert isinstance(error, ResourceExhaustedError)
    assert error.message.endswith("the limit is 4096: ask for less at once")


async def test_an_invalid_request_names_its_fields() -> None:
    async with serving() as running:
        request = inference_pb2.ChatCompletionRequest(model_id="m")
        request.messages.add().user.SetInParent()
        error = await told(running.inference.ChatCompletion(request))
    assert isinstance(error, InvalidArgumentError)
    assert [violation.field for violation in error.violations] == ["messages[0].user.content"]


@pytest.mark.parametrize("method", ["ChatCompletion", "StreamChatCompletion"])
async def test_bytes_that_are_no_request_are_an_invalid_argument(method: str) -> None:
    async with serving() as running:
        error = await told(running.channel.unary_stream(f"/{SERVICE}/{method}")(b"\xff\xff"))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "UNDECODABLE_REQUEST"


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving() as running:
        for path in (f"/{SERVICE}/Nonsense", "/nonsense.v1.Nonsense/Do", "/"):
            for call in (running.channel.unary_unary(path)(b""), running.channel.unary_stream(path)(b"")):
                error = await failure(call)
                assert error.code() is grpc.StatusCode.UNIMPLEMENTED
                assert (info(error).domain, info(error).reason) == ("caravan", "METHOD_NOT_FOUND")


async def test_a_method_that_a_service_lacks_is_unimplemented() -> None:
    request = inference_pb2.CompletionRequest(model_id="m")
    request.content.items.add().text = "hi"
    async with serving() as running:
        error = await told(running.inference.Completion(request))
    assert isinstance(error, UnimplementedError)
    assert error.reason == "METHOD_NOT_IMPLEMENTED"


async def test_calls_before_the_start_is_done_are_unavailable() -> None:
    started = asyncio.Event()
    async with serving(provider=FakeProvider(start=started.wait), ready=False) as running:
        error = await told(running.inference.ChatCompletion(chat_request()))
        assert isinstance(error, UnavailableError)
        assert (error.reason, error.retry_after) == ("NOT_READY", 1.0)
        started.set()
        await running.server.wait_ready()
        await running.inference.ChatCompletion(chat_request())


async def test_calls_beyond_the_limit_are_exhausted() -> None:
    go_on = asyncio.Event()

    async def chat(request: Any, context: Any) -> Any:
        await go_on.wait()
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat), max_concurrent_rpcs=1) as running:
        first = asyncio.ensure_future(running.inference.ChatCompletion(chat_request()))
        await eventually(lambda: running.server.active_calls == 1)
        error = await told(running.inference.ChatCompletion(chat_request()))
        assert isinstance(error, ResourceExhaustedError)
        assert (error.reason, error.retry_after) == ("TOO_MANY_CALLS", 1.0)
        go_on.set()
        await first
        await running.inference.ChatCompletion(chat_request())
        assert running.server.active_calls == 0


@pytest.mark.parametrize("way", ["cancel", "deadline"])
@pytest.mark.parametrize("place", ["handler", "write"])
async def test_a_call_that_ends_early_frees_what_its_handler_holds(way: str, place: str) -> None:
    freed = asyncio.Event()

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            large = inference_pb2.StreamChatCompletionResponse()
            large.progress.delta.text = "x" * 100_000
            while True:
                yield large
                if place == "handler":
                    await asyncio.Event().wait()
        finally:
            freed.set()

    async with serving(Scripted(stream=stream)) as running:
        call = running.inference.StreamChatCompletion(stream_request(), timeout=0.2 if way == "deadline" else None)
        await call.read()
        await asyncio.sleep(0.05)
        if way == "cancel":
            call.cancel()
        async with asyncio.timeout(5):
            await freed.wait()
        await eventually(lambda: running.server.active_calls == 0)


def gathering() -> Binding:
    """A service with client streams, which the contract does not have yet."""

    async def gather(requests: Any, context: Any) -> Any:
        return models_pb2.GetModelRequest(model_id=",".join([request.model_id async for request in requests]))

    async def read(requests: Any, context: Any) -> Any:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(request)

    async def echo(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request

    parse, serialize = models_pb2.GetModelRequest.FromString, models_pb2.GetModelRequest.SerializeToString
    handlers: Any = {
        "Gather": grpc.stream_unary_rpc_method_handler(gather, parse, serialize),
        "Read": grpc.stream_stream_rpc_method_handler(read, parse, serialize),
        "Echo": grpc.stream_stream_rpc_method_handler(echo, parse, serialize),
    }
    return Binding(
        "test.v1.Gathering",
        lambda _, server: server.add_registered_method_handlers("test.v1.Gathering", handlers),
        None,
    )


@pytest.mark.parametrize("method", ["Gather", "Read", "Echo"])
async def test_every_message_of_a_client_stream_is_checked(method: str) -> None:
    good, empty = models_pb2.GetModelRequest(model_id="a").SerializeToString(), b""
    async with serving(bindings=[gathering()]) as running:
        stub: Any = running.channel.stream_stream(f"/test.v1.Gathering/{method}")
        answers = [answer async for answer in stub(iter([good, good]))]
        assert answers == ([b"\x0a\x03a,a"] if method == "Gather" else [good, good])
        for bad, reason in ((empty, "VALIDATION_FAILED"), (b"\xff", "UNDECODABLE_REQUEST")):
            error = await told(stub(iter([good, bad])))
            assert isinstance(error, InvalidArgumentError)
            assert error.reason == reason


async def test_a_servicer_may_write_to_the_context_itself() -> None:
    class Writing(Scripted):
        async def StreamChatCompletion(self, request: Any, context: Any) -> None:  # type: ignore[override]
            await context.write(inference_pb2.StreamChatCompletionResponse())

    async with serving(Writing()) as running:
        assert len([message async for message in running.inference.StreamChatCompletion(stream_request())]) == 1


async def test_a_channel_that_closes_in_the_middle_leaves_nothing_running() -> None:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield inference_pb2.StreamChatCompletionResponse()
            await asyncio.sleep(0.001)

    async with serving(Scripted(stream=stream)) as running:
        async with grpc.aio.insecure_channel(running.address) as channel:
            call: Any = channel.unary_stream(f"/{SERVICE}/StreamChatCompletion")(stream_request().SerializeToString())
            await call.read()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await call.read()
        await eventually(lambda: running.server.active_calls == 0)
