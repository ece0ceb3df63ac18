import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from tests.services.core.loopback import chat_request, failure, stream_request

ROOT = Path(__file__).parents[3]


class Child:
    """A service's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def event(self, name: str) -> dict[str, Any]:
        """Reads a line of stdout, which must be this event."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            line = await self.process.stdout.readline()
        if not line:
            pytest.fail(await self.log())
        event: dict[str, Any] = json.loads(line)
        assert event["event"] == name
        return event

    async def end(self) -> int:
        """Waits for the exit code."""
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def log(self) -> str:
        """Reads stderr to its end."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


@asynccontextmanager
async def child(*arguments: str, log: int = asyncio.subprocess.PIPE) -> AsyncIterator[Child]:
    program = str(ROOT / "tests/services/core/child_service.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_finishes_a_running_stream_and_ends_well() -> None:
    async with child() as running:
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            call = stub.StreamChatCompletion(stream_request())
            await call.read()
            running.process.send_signal(signal.SIGTERM)
            assert (await running.event("draining"))["signal"] == "SIGTERM"
            count = 1
            while await call.read() is not grpc.aio.EOF:
                count += 1
            assert (count, await call.code()) == (20, grpc.StatusCode.OK)
        await running.event("stopped")
        assert await running.end() == 0


async def test_a_second_signal_stops_at_once() -> None:
    async with child("--drain-seconds", "600") as running:
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            call = stub.StreamChatCompletion(stream_request())
            await call.read()
            running.process.send_signal(signal.SIGINT)
            await running.event("draining")
            began = time.monotonic()
            running.process.send_signal(signal.SIGINT)
            assert await running.end() == 0
            assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("behavior", ["slow", "blocks"])
async def test_a_signal_during_the_start_ends_well(behavior: str) -> None:
    async with child("--behavior", behavior) as running:
        await running.event("listening")
        running.process.send_signal(signal.SIGTERM)
        await running.event("draining")
        assert await running.end() == 0


async def test_a_provider_that_refuses_to_start_ends_the_process_with_one_line() -> None:
    async with child("--behavior", "refuses") as running:
        await running.event("listening")
        assert await running.end() == 1
        (line,) = (await running.log()).splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["level"], logged["reason"]) == ("cannot_start", "error", "NO_MODEL")
    assert logged["message"] == "no model at /nowhere: give a path or a Hugging Face id"


async def test_a_defect_during_the_start_is_logged_with_its_traceback() -> None:
    async with child("--behavior", "crashes") as running:
        await running.event("listening")
        assert await running.end() == 1
        assert "ValueError: a defect" in await running.log()


async def test_prometheus_gets_the_metrics_of_calls() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with child("--prometheus-port", str(port)) as running:
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            await stub.ChatCompletion(chat_request())
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        running.process.send_signal(signal.SIGTERM)
        assert await running.end() == 0
    assert "rpc_server_duration_milliseconds_count{" in text
    assert 'rpc_method="ChatCompletion"' in text


async def test_a_metrics_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with child("--prometheus-port", str(taken.getsockname()[1])) as running:
            assert await running.end() == 1
            (line,) = (await running.log()).splitlines()
    assert json.loads(line)["reason"] == "CANNOT_LISTEN"


async def test_wrong_settings_end_the_process_with_code_2_and_a_line_each() -> None:
    async with child("--listen", "0.0.0.0:0", "--drain-seconds", "-1") as running:
        assert await running.end() == 2
        lines = (await running.log()).splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines)


async def test_when_nobody_reads_the_log_any_more_calls_are_answered_all_the_same() -> None:
    reading, writing = os.pipe()
    async with child(log=writing) as running:
        os.close(writing)
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        os.close(reading)
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            for _ in range(3):
                await stub.ChatCompletion(chat_request())
            assert [_ async for _ in stub.StreamChatCompletion(stream_request())]
            error = await failure(stub.ChatCompletion(inference_pb2.ChatCompletionRequest()))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        running.process.send_signal(signal.SIGTERM)
        assert await running.end() == 0


async def test_programs_start_while_calls_run() -> None:
    async with child("--behavior", "forks") as running:
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            for _ in range(15):
                await asyncio.gather(*(stub.ChatCompletion(chat_request()) for _ in range(8)))
        running.process.send_signal(signal.SIGTERM)
        assert await running.end() == 0


async def test_each_call_has_one_line_in_the_log_without_its_contents() -> None:
    request = chat_request()
    request.messages[0].user.content.items[0].text = "hunter2"
    async with child() as running:
        address = (await running.event("listening"))["address"]
        await running.event("serving")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            await stub.ChatCompletion(request, metadata=[("x-request-id", "mine"), ("authorization", "hunter2")])
            await failure(stub.ChatCompletion(inference_pb2.ChatCompletionRequest()))
            await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        running.process.send_signal(signal.SIGTERM)
        await running.end()
        log = await running.log()
    assert "hunter2" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["method"].rpartition("/")[2], line["code"]) for line in lines] == [
        ("ChatCompletion", "OK"),
        ("ChatCompletion", "INVALID_ARGUMENT"),
    ]
    assert lines[0]["request_id"] == "mine"
    assert lines[0].keys() >= {"duration_ms", "peer", "timestamp", "level"}
