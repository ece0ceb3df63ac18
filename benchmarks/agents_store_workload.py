"""What is done to the agents' store while it is measured, in a process of its own: `python -m benchmarks.agents_store_workload JOB URL`.

It prints its figures as one JSON object, last of all. JOB and what stands after URL are the name and the numbers of a function below.
"""

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]
import uvloop

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from caravan.types.v1 import types_pb2
from services.agents.state import Change, Lease, NewTurn, SessionKey, TurnKey
from services.agents.store.nodes import Node
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings

ANSWER = "The answer is in the third paragraph, where the author says why. " * 8
PIECES = 16
_IDLE_SECONDS = 5.0
Payload = events_pb2.TurnEventPayload


def _text(words: str) -> types_pb2.InterleavedContent:
    return types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=words)])


async def _session(store: RedisStore) -> SessionKey:
    agent = await store.create_agent(uuid.uuid4().hex, config_pb2.AgentConfig(model="m", instructions=ANSWER))
    key = SessionKey(agent.agent_id, uuid.uuid4().hex)
    await store.create_session(key, "bench")
    return key


async def _begin(store: RedisStore, session: SessionKey) -> Lease:
    message = types_pb2.Message(user=types_pb2.UserMessage(content=_text(ANSWER)))
    request = agents_pb2.CreateTurnRequest(messages=[message])
    turn_id = uuid.uuid4().hex
    start = Payload(turn_start=events_pb2.TurnStart(turn_id=turn_id))
    config = config_pb2.AgentConfig(model="m", instructions=ANSWER)
    started = await store.begin_turn(NewTurn(TurnKey(session, turn_id), request, config, [start]))
    assert started.lease is not None
    return started.lease


def _step(name: str) -> Change:
    """An inference step as it is committed: the answer, in the step and in its event."""
    message = types_pb2.CompletionMessage(content=_text(ANSWER), stop_reason=types_pb2.STOP_REASON_END_OF_TURN)
    step = turns_pb2.Step(step_id=name, inference=turns_pb2.InferenceStep(model_response=message, model_id="m"))
    done = Payload(step_complete=events_pb2.StepComplete(step_id=name, step_details=step))
    return Change([step], [done])


def _end() -> Change:
    return Change(events=[Payload(turn_complete=events_pb2.TurnComplete())], status=turns_pb2.TURN_STATUS_COMPLETED)


def _pieces(name: str) -> list[Payload]:
    delta = types_pb2.ContentDelta(text=ANSWER[:32])
    return [Payload(step_progress=events_pb2.StepProgress(step_id=name, delta=delta))] * PIECES


async def _server_seconds(store: RedisStore) -> float:
    """Processor time of the servers so far."""
    seconds = 0.0
    for node in store._topology.nodes:  # noqa: SLF001 - the port has no business with it
        (text,) = await node.send([("INFO", "cpu")])
        values = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
        seconds += float(values["used_cpu_user"]) + float(values["used_cpu_sys"])
    return seconds


async def commits(store: RedisStore, turns: int, seconds: float) -> dict[str, float]:
    """Step commits of as many turns at once, each in a session of its own; a turn ends after eight steps and another begins."""
    latencies: list[float] = []
    ends = time.perf_counter() + seconds

    async def run() -> None:
        session = await _session(store)
        while time.perf_counter() < ends:
            lease = await _begin(store, session)
            for number in range(8):
                change = _step(f"s{number}")
                began = time.perf_counter()
                await store.commit(lease, change)
                latencies.append(time.perf_counter() - began)
            await store.commit(lease, _end())

    began, processor, server = time.perf_counter(), time.process_time(), await _server_seconds(store)
    await asyncio.gather(*(run() for _ in range(turns)))
    elapsed, used = time.perf_counter() - began, time.process_time() - processor
    served = await _server_seconds(store) - server
    return {
        "commits_per_second": len(latencies) / elapsed,
        "cpu_ms": used / len(latencies) * 1e3,
        "server_cpu_ms": served / len(latencies) * 1e3,
        "p50_ms": statistics.median(latencies) * 1e3,
        "p99_ms": statistics.quantiles(latencies, n=100)[-1] * 1e3,
    }


async def history(store: RedisStore, earlier: int, rounds: int) -> dict[str, float]:
    """What a turn of one step costs at a session that has had as many turns: processor time of this process, and time."""
    session = await _session(store)
    for _ in range(earlier):
        await store.commit(await _begin(store, session), _end())
    times = []
    processor = time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        lease = await _begin(store, session)
        await store.commit(lease, _step("s1"))
        await store.commit(lease, _end())
        times.append(time.perf_counter() - began)
    return {
        "turn_ms": statistics.median(times) * 1e3,
        "turn_cpu_ms": (time.process_time() - processor) / rounds * 1e3,
    }


async def trips(store: RedisStore) -> dict[str, float]:
    """Round trips of one streamed step: its pieces at once, then its commit; and of a whole turn around it."""
    session = await _session(store)
    lease = await _begin(store, session)
    await store.append(lease, _pieces("s0"))
    count = 0
    send = Node.send

    async def counted(node: Node, commands: Sequence[tuple[bytes | str | int | float, ...]]) -> list[object]:
        nonlocal count
        count += 1
        return await send(node, commands)

    Node.send = counted  # type: ignore[method-assign]
    await store.append(lease, _pieces("s1"))
    await store.commit(lease, _step("s1"))
    step = count
    await store.commit(lease, _end())
    await _begin(store, session)
    return {"step": step, "turn": count - step}


async def watchers(store: RedisStore, number: int) -> dict[str, float]:
    """Memory of as many idle watchers, each of a turn of its own, and the time until all of them have an event."""
    leases = [await _begin(store, await _session(store)) for _ in range(number)]
    before = psutil.Process().memory_info().rss
    seen = asyncio.Semaphore(0)

    async def watch(lease: Lease) -> None:
        async for _ in store.watch(lease.turn):
            seen.release()

    tasks = [asyncio.create_task(watch(lease)) for lease in leases]
    for _ in leases:
        await seen.acquire()
    processor = time.process_time()
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (time.process_time() - processor) / _IDLE_SECONDS
    after = psutil.Process().memory_info().rss
    began = time.perf_counter()
    await asyncio.gather(*(store.append(lease, _pieces("s")[:1]) for lease in leases))
    for _ in leases:
        await seen.acquire()
    elapsed = time.perf_counter() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    mebibyte = float(1 << 20)
    return {
        "process_mib": after / mebibyte,
        "watchers_mib": (after - before) / mebibyte,
        "idle_cpu": idle,
        "all_seen_s": elapsed,
    }


async def main(job: str, url: str, *numbers: str) -> None:
    """Does one job.

    Args:
        job: Name of it.
        url: Where Redis is.
        numbers: The job's own.
    """
    settings = StoreSettings.model_validate(
        {
            "redis_url": url,
            "cluster": os.environ.get("BENCH_CLUSTER", "") == "1",
            "durability": os.environ.get("BENCH_DURABILITY", "none"),
        }
    )
    store = RedisStore(settings)
    await store.start()
    jobs = {"commits": commits, "history": history, "trips": trips, "watchers": watchers}
    figures = await jobs[job](store, *(int(number) for number in numbers))
    await store.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
