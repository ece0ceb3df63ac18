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
_WARM_UP_CALLS = 100
_OPENED_AT_ONCE = 25


@dataclass(frozen=True)
class RelayJob:
    """What the clients do."""

    kind: str
    """`unary`, `first`, `hold`, `long` or `slow`."""
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
    other: str = ""
    """Whom they ask too, in turn, for `first`."""
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
        return await {"unary": _unary, "first": _first, "hold": _hold, "long": _long, "slow": _slow}[job.kind](
            job, stubs
        )
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

    await calls(_WARM_UP_CALLS)
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


async def _first(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Short streams one after the other, each opened on both targets; who comes first changes from one to the next."""
    request = Script(messages=1, size=8, pause=0.0).request()
    async with grpc.aio.insecure_channel(job.other) as channel:
        asked: list[Any] = [stubs[0], inference_pb2_grpc.InferenceServiceStub(channel)]
        seconds: list[list[float]] = [[], []]
        for number in range(_WARM_UP_CALLS + job.count):
            for place in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                call = asked[place].StreamCompletion(request)
                await call.read()
                seconds[place].append(time.perf_counter() - began)
                await call.read()
    direct, relayed = (times[_WARM_UP_CALLS:] for times in seconds)
    added = percentiles([through - straight for straight, through in zip(direct, relayed, strict=True)])
    return {"added_p50": added["p50"], "added_p99": percentiles(relayed)["p99"] - percentiles(direct)["p99"]}


async def _hold(job: RelayJob, stubs: list[Any]) -> dict[str, float]:
    """Streams that are open all at once, and now and then bring a message."""
    gateway = job.processes["gateway"]
    await _read_some(stubs[0], 1)
    before = resident(gateway)
    request = Script(**job.script).request()  # type: ignore[arg-type]
    calls: list[Any] = []
    while len(calls) < job.count:
        # Not all at once: gRPC's server turns calls away at random while about a thousand wait to be taken.
        some = [stub.StreamCompletion(request) for stub in stubs for _ in range(_OPENED_AT_ONCE)]
        await asyncio.gather(*(call.read() for call in some))
        calls += some
    readers = [asyncio.create_task(_drain(call)) for call in calls]
    await asyncio.sleep(job.seconds)
    held = resident(gateway)
    still_open = sum(not call.done() for call in calls)
    for call in calls:
        call.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return {"before": before, "held": held, "open": still_open}


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
