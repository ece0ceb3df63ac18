"""The clients of the gateway's benchmark, a process of their own that runs a job a line, like `benchmarks.load`."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import uvloop

from benchmarks.processor_time import Meter, resident, used
from benchmarks.replica import MODEL_ID, Script
from benchmarks.workload import percentiles
from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.types.v1 import types_pb2

_CHANNELS = 4
_LAZY_PAUSE = 1.0
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class RelayJob:
    """What the clients do."""

    kind: str
    """`unary`, `hold`, `long` or `slow`."""
    target: str
    """Whom they ask."""
    count: int
    """Calls, or streams."""
    at_once: int = 1
    """Calls at once, for `unary`; streams that nobody reads from, for `slow`."""
    seconds: float = 5.0
    """How long streams are held or read."""
    script: Mapping[str, float] = field(default_factory=dict)
    """What the streams send; see `replica.Script`."""
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The gateway's processes, under the name `gateway`."""

    def to_json(self) -> str:
        """The job as one line."""
        return json.dumps(asdict(self))


async def run(job: RelayJob) -> dict[str, float]:
    """Runs a job and returns its figures by name."""
    # Told apart by an argument, or channels to one address share a connection.
    channels = [grpc.aio.insecure_channel(job.target, options=[("caravan.bench", place)]) for place in range(_CHANNELS)]
    stubs: list[Any] = [inference_pb2_grpc.InferenceServiceStub(channel) for channel in channels]
    try:
        return await {"unary": _unary, "hold": _hold, "long": _long, "slow": _slow}[job.kind](job, stubs)
    finally:
        for channel in channels:
            await channel.close()


async def _unary(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Small unary calls."""
    text = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text="hello")])
    request = inference_pb2.EmbeddingsRequest(model_id=MODEL_ID, contents=[text])
    stub = stubs[0]
    seconds: list[float] = []

    async def calls(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            await stub.Embeddings(request)
            seconds.append(time.perf_counter() - began)

    await calls(100)
    seconds.clear()
    meter = Meter(job.processes)
    before, began = meter.read(), time.perf_counter()
    await asyncio.gather(*(calls(job.count // job.at_once) for _ in range(job.at_once)))
    elapsed = time.perf_counter() - began
    spent = used(before, meter.read())
    return {
        "calls_per_second": len(seconds) / elapsed,
        "gateway_seconds_per_call": spent.get("gateway", 0.0) / len(seconds),
        **percentiles(seconds),
    }


async def _hold(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Streams that are open all at once, and now and then bring a message."""
    gateway = job.processes["gateway"]
    await _read_some(stubs[0], 1)
    before = resident(gateway)
    request = Script(**job.script).request()  # type: ignore[arg-type]
    calls = [stubs[place % len(stubs)].StreamCompletion(request) for place in range(job.count)]
    firsts = await asyncio.gather(*(call.read() for call in calls))
    readers = [asyncio.create_task(_drain(call)) for call in calls]
    await asyncio.sleep(job.seconds)
    held = resident(gateway)
    still_open = sum(not call.done() for call in calls)
    for call in calls:
        call.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return {"before": before, "held": held, "open": min(still_open, len(firsts))}


async def _long(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Streams that bring message after message as fast as they come."""
    gateway = job.processes["gateway"]
    script = Script(**job.script)  # type: ignore[arg-type]
    calls = [stubs[place % len(stubs)].StreamCompletion(script.request()) for place in range(job.count)]
    readers = [asyncio.create_task(_drain(call)) for call in calls]
    await asyncio.sleep(_SETTLE_SECONDS)
    before = resident(gateway)
    counts = await asyncio.gather(*readers)
    after = resident(gateway)
    return {"before": before, "after": after, "messages": sum(counts), "bytes": sum(counts) * script.size}


async def _slow(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Paced streams that are read at once, beside streams of the same connection from which hardly anything is read."""
    script = Script(**job.script)  # type: ignore[arg-type]
    gateway = job.processes["gateway"]
    stub = stubs[0]
    flood = Script(messages=0, size=script.size, pause=0.0).request()
    lazy = [stub.StreamCompletion(flood) for _ in range(job.at_once)]
    dawdlers = [asyncio.create_task(_dawdle(call)) for call in lazy]
    await asyncio.sleep(_SETTLE_SECONDS)
    arrivals: list[list[float]] = [[] for _ in range(job.count)]
    calls = [stub.StreamCompletion(script.request()) for _ in arrivals]
    began = time.perf_counter()
    await asyncio.gather(*(_note(call, times) for call, times in zip(calls, arrivals, strict=True)))
    elapsed = time.perf_counter() - began
    held = resident(gateway)
    for call in lazy:
        call.cancel()
    await asyncio.gather(*dawdlers, return_exceptions=True)
    gaps = [later - earlier for times in arrivals for earlier, later in itertools.pairwise(times)]
    return {"rate": sum(map(len, arrivals)) / elapsed, "held": held, **percentiles(gaps)}


async def _read_some(stub: Any, messages: int) -> None:
    await _drain(stub.StreamCompletion(Script(messages=messages, size=1, pause=0.0).request()))


async def _drain(call: Any) -> int:
    count = 0
    while await call.read() is not grpc.aio.EOF:
        count += 1
    return count


async def _dawdle(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:  # noqa: ASYNC110 - the pause is the point
        await asyncio.sleep(_LAZY_PAUSE)


async def _note(call: Any, arrivals: list[float]) -> None:
    while await call.read() is not grpc.aio.EOF:
        arrivals.append(time.perf_counter())


if __name__ == "__main__":
    for line in sys.stdin:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(run(RelayJob(**json.loads(line))))), flush=True)
