"""A model and a tool that take a known time, as a process of their own: `python -m benchmarks.agents_model`.

It prints the addresses of both as one JSON object, and ends with its standard input. The model stands where the gateway would. It says
how long it took itself, as the metric `own_ms`, and so does the tool, as its result; what a turn takes beyond these is the agents service's
own time, the ways to it included.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from aiohttp import web

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.types.v1 import types_pb2

PIECES = 8
PIECE_SECONDS = 0.002
TOOL_SECONDS = 0.005
TOOL = "look_up"
_WORDS = "The answer is in the third paragraph. "
Response = inference_pb2.StreamChatCompletionResponse


class Model(inference_pb2_grpc.InferenceServiceServicer):
    """Asks for the tool as often as the last message of the user says, then answers."""

    async def StreamChatCompletion(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Answers a piece at a time."""
        began = time.perf_counter()
        yield Response(start=Response.Start(delta=types_pb2.ContentDelta(text="")))
        said = _said(request)
        calls = bool(request.tools) and len(said) < _wanted(request)
        for number in range(PIECES):
            await asyncio.sleep(PIECE_SECONDS)
            last = number == PIECES - 1
            delta = _call(len(said)) if calls and last else types_pb2.ContentDelta(text="" if calls else _WORDS)
            yield Response(progress=Response.Progress(delta=delta))
        reason = types_pb2.STOP_REASON_END_OF_MESSAGE if calls else types_pb2.STOP_REASON_END_OF_TURN
        own = types_pb2.MetricInResponse(metric="own_ms", value=(time.perf_counter() - began) * 1e3, unit="ms")
        yield Response(complete=Response.Complete(stop_reason=reason, metrics=[own]))


def _said(request: Any) -> list[Any]:
    """The tool's results since the user spoke last."""
    since: list[Any] = []
    for message in request.messages:
        if message.HasField("user"):
            since.clear()
        elif message.HasField("tool"):
            since.append(message)
    return since


def _wanted(request: Any) -> int:
    spoken = next(message for message in reversed(request.messages) if message.HasField("user"))
    text = spoken.user.content.items[0].text
    return int(text) if text.isdigit() else 0


def _call(number: int) -> types_pb2.ContentDelta:
    call = types_pb2.ToolCall(call_id=f"c{number}", tool_name=TOOL, arguments_json='{"what": "paragraph"}')
    call.arguments.update({"what": "paragraph"})
    delta = types_pb2.ContentDelta()
    delta.tool_call.tool_call.CopyFrom(call)
    delta.tool_call.parse_status = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED
    return delta


async def _look_up(request: web.Request) -> web.Response:
    began = time.perf_counter()
    await request.read()
    await asyncio.sleep(TOOL_SECONDS)
    return web.Response(text=f"{(time.perf_counter() - began) * 1e3:.3f}")


async def main() -> None:
    """Serves until it is ended."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Model(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    application = web.Application()
    application.router.add_post("/look_up", _look_up)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tool = f"http://127.0.0.1:{runner.addresses[0][1]}/look_up"
    print(json.dumps({"model": f"127.0.0.1:{port}", "tool": tool}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
