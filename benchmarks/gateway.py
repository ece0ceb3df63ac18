"""What the gateway costs: `python -m benchmarks.gateway`. A bare gRPC echo replica, called directly and through the gateway in turn.

Prints one JSON object. CPU is user and system time of all processes of the gateway, from the kernel; times are medians over interleaved
rounds. Nothing here asserts: the targets are in docs/performance.md.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop

from caravan.inference.v1 import inference_pb2

ROOT = Path(__file__).resolve().parents[1]
CHAT = "/caravan.inference.v1.InferenceService/ChatCompletion"
STREAM = "/caravan.inference.v1.InferenceService/StreamChatCompletion"
LOCAL = (("grpc.use_local_subchannel_pool", 1),)


class Echo(grpc.GenericRpcHandler):
    """The replica: a unary call returns the request; a stream of as many messages as its metadata say."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if handler_call_details.method == CHAT:
            return grpc.unary_unary_rpc_method_handler(self._unary)
        if handler_call_details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return None

    async def _unary(self, request: bytes, context: Any) -> bytes:
        return request

    async def _stream(self, request: bytes, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        message = _token(int(metadata.get("size", "8")))
        for _ in range(int(metadata["count"])):
            await context.write(message)
        if "hold" in metadata:
            await asyncio.sleep(3600)


def _token(size: int) -> bytes:
    response = inference_pb2.StreamChatCompletionResponse()
    response.progress.delta.text = "x" * size
    return response.SerializeToString()


def _request() -> bytes:
    request = inference_pb2.ChatCompletionRequest(model_id="bench")
    request.messages.add().user.content.items.add().text = "word " * 64
    return request.SerializeToString()


async def _serve_replica() -> None:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
    from caravan.registry.v1 import models_pb2

    class Provider(providers_pb2_grpc.ProviderServiceServicer):
        async def DescribeProvider(self, request: Any, context: Any) -> Any:  # noqa: N802 - the RPC's name
            resource = providers_pb2.Resource(model=models_pb2.Model(model_id="bench", provider_model_id="bench"))
            services = ["caravan.inference.v1.InferenceService"]
            return providers_pb2.DescribeProviderResponse(
                provider_id="bench", services=services, ready=True, instance_id="1", resources=[resource]
            )

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(),))
    providers_pb2_grpc.add_ProviderServiceServicer_to_server(Provider(), server)
    checks = health.aio.HealthServicer()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "serving", "address": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()


class Processes:
    """A process and its children, as one."""

    def __init__(self, pid: int) -> None:
        self._processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds since the start. From the scheduler's own sum, which is exact; `times` counts ticks of 10 ms."""
        total = 0
        for process in self._processes:
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident(self) -> float:
        """Resident memory in MiB, private to each process."""
        return sum(process.memory_full_info().uss for process in self._processes) / (1 << 20)


@contextmanager
def _running(*command: str, **environment: str) -> Iterator[tuple[str, int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "serving":
                yield event["address"], process.pid
                return
        message = f"{command[0]} did not start"
        raise RuntimeError(message)
    finally:
        process.terminate()
        process.wait()


async def _unary(channel: grpc.aio.Channel, concurrency: int, calls: int) -> list[float]:
    """Latencies in microseconds."""
    call, request, latencies = channel.unary_unary(CHAT), _request(), []

    async def one() -> None:
        for _ in range(calls):
            started = time.perf_counter()
            await call(request)
            latencies.append((time.perf_counter() - started) * 1e6)

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return latencies


async def _streams(channel: grpc.aio.Channel, concurrency: int, count: int) -> list[float]:
    """Times to the first message in microseconds."""
    call, request, firsts = channel.unary_stream(STREAM), _request(), []

    async def one() -> None:
        started = time.perf_counter()
        stream = call(request, metadata=(("count", str(count)),))
        await stream.read()
        firsts.append((time.perf_counter() - started) * 1e6)
        while await stream.read() is not grpc.aio.EOF:
            pass

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return firsts


async def _at_low_load(channel: grpc.aio.Channel, times: int) -> list[float]:
    firsts: list[float] = []
    for _ in range(times):
        firsts += await _streams(channel, 1, 4)
        await asyncio.sleep(0.002)
    return firsts


@contextmanager
def _warm(addresses: dict[str, str]) -> Iterator[dict[str, grpc.aio.Channel]]:
    yield {name: grpc.aio.insecure_channel(address, options=LOCAL) for name, address in addresses.items()}


async def _measure(addresses: dict[str, str], gateway: Processes, replica: Processes, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with _warm(addresses) as channels:
        for channel in channels.values():
            await _unary(channel, 8, 100)
            await _streams(channel, 8, 100)
        for concurrency, calls in ((1, 600), (8, 150), (32, 50)):
            result[f"unary, {concurrency} at once"] = await _compare(
                channels,
                gateway,
                replica,
                rounds,
                concurrency * calls,
                lambda c, n=concurrency, k=calls: _unary(c, n, k),
            )
        for concurrency, count in ((1, 3000), (8, 600), (64, 150), (128, 100)):
            result[f"stream, {concurrency} at once"] = await _compare(
                channels,
                gateway,
                replica,
                rounds,
                concurrency * count,
                lambda c, n=concurrency, k=count: _streams(c, n, k),
            )
        result["first message at low load"] = await _first_messages(channels, rounds)
        for channel in channels.values():
            await channel.close()
    return result


async def _compare(
    channels: dict[str, grpc.aio.Channel], gateway: Processes, replica: Processes, rounds: int, units: int, work: Any
) -> dict[str, float]:
    """Microseconds for one call or one message: wall time, and CPU of gateway and replica."""
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, channel in channels.items():
            cpu, started = (gateway.cpu(), replica.cpu()), time.perf_counter()
            await work(channel)
            wall = time.perf_counter() - started
            seen.setdefault(f"{name} wall", []).append(wall / units * 1e6)
            seen.setdefault(f"{name} replica cpu", []).append((replica.cpu() - cpu[1]) / units * 1e6)
            if name == "gateway":
                seen.setdefault("gateway cpu", []).append((gateway.cpu() - cpu[0]) / units * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in seen.items()}


async def _first_messages(channels: dict[str, grpc.aio.Channel], rounds: int) -> dict[str, float]:
    firsts: dict[str, list[float]] = {name: [] for name in channels}
    for _ in range(rounds * 4):
        for name, channel in channels.items():
            firsts[name] += await _at_low_load(channel, 50)
    found = {}
    for name, values in firsts.items():
        cuts = statistics.quantiles(values, n=100)
        found[f"{name} p50"], found[f"{name} p99"] = round(cuts[49]), round(cuts[98])
    found["added p50"] = found["gateway p50"] - found["direct p50"]
    found["added p99"] = found["gateway p99"] - found["direct p99"]
    return found


async def _open_streams(address: str, gateway: Processes, count: int) -> dict[str, float]:
    """Memory of the gateway with many streams open, and with long ones."""
    before = gateway.resident()
    channels = [grpc.aio.insecure_channel(address, options=LOCAL) for _ in range(4)]
    calls = []
    for number in range(count):
        call = channels[number % 4].unary_stream(STREAM)(_request(), metadata=(("count", "1"), ("hold", "1")))
        calls.append(call)
        if number % 100 == 99:
            await asyncio.gather(*(one.read() for one in calls[-100:]))
    opened = gateway.resident()
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
    await asyncio.sleep(0.5)
    channel = grpc.aio.insecure_channel(address, options=LOCAL)
    lengths = {}
    for messages in (10_000, 50_000):
        await _streams(channel, 1, messages)
        lengths[f"MiB after a stream of {messages} messages"] = round(gateway.resident(), 1)
    slow = await _slow_readers(address, gateway)
    await channel.close()
    return {"MiB before": round(before, 1), f"MiB with {count} open streams": round(opened, 1), **lengths, **slow}


async def _slow_readers(address: str, gateway: Processes) -> dict[str, float]:
    """Sixteen readers that stop reading in the middle of 200 MB each."""
    before = gateway.resident()
    async with (
        grpc.aio.insecure_channel(address, options=LOCAL) as slow,
        grpc.aio.insecure_channel(address, options=LOCAL) as fast,
    ):
        metadata = (("count", "20000"), ("size", "10000"))
        calls = [slow.unary_stream(STREAM)(_request(), metadata=metadata) for _ in range(16)]
        await asyncio.gather(*(call.read() for call in calls))
        await asyncio.sleep(1)
        held = gateway.resident()
        started = time.perf_counter()
        await _streams(fast, 8, 500)
        elapsed = time.perf_counter() - started
        for call in calls:
            call.cancel()
    return {
        "MiB added by 16 slow readers": round(held - before, 1),
        "us for a message of others meanwhile": round(elapsed / 4000 * 1e6, 1),
    }


async def _run(rounds: int, streams: int) -> dict[str, Any]:
    with (
        _redis() as url,
        _running("benchmarks.gateway", "--replica") as (replica, replica_pid),
        _running(
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--redis-url",
            url,
            "--workers",
            "1",
            CARAVAN_PROVIDERS=json.dumps([{"provider_id": "bench", "addresses": [replica]}]),
        ) as (gateway, gateway_pid),
    ):
        processes = Processes(gateway_pid)
        addresses = {"direct": replica, "gateway": gateway}
        result = await _measure(addresses, processes, Processes(replica_pid), rounds)
        result["memory"] = await _open_streams(gateway, processes, streams)
        idle = processes.cpu()
        await asyncio.sleep(5)
        result["idle CPU, percent of a core"] = round((processes.cpu() - idle) / 5 * 100, 2)
    return result


@contextmanager
def _redis() -> Iterator[str]:
    from tests.support.valkey import valkey_server

    with valkey_server() as server:
        yield server.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replica", action="store_true", help="be the replica")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--streams", type=int, default=2000, help="streams to hold open")
    arguments = parser.parse_args()
    if arguments.replica:
        uvloop.run(_serve_replica())
    else:
        print(json.dumps(uvloop.run(_run(arguments.rounds, arguments.streams)), indent=1))


if __name__ == "__main__":
    main()
