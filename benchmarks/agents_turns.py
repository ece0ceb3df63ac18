"""What a turn costs beyond its model and its tools, at a real agents service: one process of each, Redis on loopback."""

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import redis
from google.protobuf import json_format

from benchmarks.agents_model import TOOL
from benchmarks.processes import line_process
from benchmarks.processor_time import Meter, resident
from caravan.agents.v1 import agents_pb2, agents_pb2_grpc, config_pb2, turns_pb2
from tests.support.processes import serving
from tests.support.valkey import valkey_server

SAYS = "What does the third paragraph say about the reasons of the author? " * 2
_TOLERANT = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
MEBIBYTE = float(1 << 20)
_IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class Bench:
    """A running agents service, and what is around it."""

    stub: Any
    """The service."""
    pid: int
    """Its process."""
    tool: str
    """Address of the tool."""
    redis: redis.Redis
    """The store's server."""

    async def session(self, **config: Any) -> tuple[str, str]:
        """Makes an agent with a session and returns their identifiers."""
        parsed = json_format.ParseDict({"model": "m", **config}, config_pb2.AgentConfig())
        agent = (await self.stub.CreateAgent(agents_pb2.CreateAgentRequest(agent_config=parsed))).agent_id
        return agent, await self.another(agent)

    async def another(self, agent_id: str) -> str:
        """Makes one more session of an agent."""
        request = agents_pb2.CreateSessionRequest(agent_id=agent_id)
        return str((await self.stub.CreateSession(request)).session_id)

    async def turn(self, names: tuple[str, str], says: str = SAYS) -> "Timed":
        """Runs a turn to its end, as a client that streams does."""
        request = agents_pb2.StreamCreateTurnRequest(agent_id=names[0], session_id=names[1])
        request.messages.add().user.content.items.add().text = says
        return await self._timed(self.stub.StreamCreateTurn(request))

    async def stateless(self, agent_id: str, history: Sequence[turns_pb2.Turn]) -> "Timed":
        """Runs a turn whose history comes with the call."""
        request = agents_pb2.StreamExecuteTurnRequest(agent_id=agent_id, turn_history=history)
        request.messages.add().user.content.items.add().text = SAYS
        return await self._timed(self.stub.StreamExecuteTurn(request))

    def round_trips(self) -> int:
        """Round trips to the store's server so far, but for this one: what travels together is read at once."""
        return int(self.redis.info("stats")["total_reads_processed"]) - 1

    async def idle_round_trips(self) -> float:
        """Round trips a second while no turn runs: the service looks whether the store answers."""
        before = self.round_trips()
        await asyncio.sleep(_IDLE_SECONDS)
        return (self.round_trips() - before - 1) / _IDLE_SECONDS

    async def _timed(self, stream: Any) -> "Timed":
        began = time.perf_counter()
        turn = None
        async for response in stream:
            if response.event.payload.HasField("turn_complete"):
                turn = response.event.payload.turn_complete.turn
        took = (time.perf_counter() - began) * 1e3
        assert turn is not None
        return Timed(took - _own(turn), len(turn.steps), turn)


@dataclass(frozen=True)
class Timed:
    """A turn that was timed."""

    overhead_ms: float
    """What it took beyond its model and its tools."""
    steps: int
    """Its steps."""
    turn: turns_pb2.Turn
    """The turn."""


def _own(turn: turns_pb2.Turn) -> float:
    """Milliseconds that the model and the tools took by their own account."""
    own = sum(metric.value for metric in turn.metrics if metric.metric == "own_ms")
    for step in turn.steps:
        for response in step.tool_execution.tool_responses:
            own += float(response.content.items[0].text)
    return own


@contextmanager
def _servers() -> Iterator[tuple[int, str, str, str]]:
    """The agents service's process and address, the tool's address, the store's."""
    with (
        tempfile.TemporaryDirectory() as folder,
        valkey_server() as store,
        line_process("benchmarks.agents_model", log=Path(folder) / "model.log") as model,
    ):
        addresses = json.loads(model.read())
        arguments = [
            *("--gateway.address", addresses["model"], "--store.redis-url", store.url),
            # Nothing but turns is measured.
            *("--scan-seconds", "60", "--tools.allow-private-addresses"),
        ]
        with serving("services.agents", *arguments, environment={"CARAVAN_LOG_LEVEL": "warning"}) as (process, address):
            yield process.pid, address, addresses["tool"], store.url


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Starts everything."""
    with _servers() as (pid, address, tool, url):
        async with grpc.aio.insecure_channel(address, options=_TOLERANT) as channel:
            yield Bench(agents_pb2_grpc.AgentsServiceStub(channel), pid, tool, redis.Redis.from_url(url))


async def overhead(bench: Bench, tools: int, turns: int) -> dict[str, float]:
    """Overhead of turns with so many calls of a tool, each turn in a session of its own."""
    function = {"functionName": TOOL, "parameters": {"what": {"paramType": "string"}}}
    tool = {"functionCall": function, "remoteExecution": {"url": {"uri": bench.tool}}}
    agent, _ = await bench.session(instructions=SAYS, tools=[tool])
    sessions = [await bench.another(agent) for _ in range(turns + 10)]
    timed = [await bench.turn((agent, session), str(tools)) for session in sessions[:10]]
    idle = await bench.idle_round_trips()
    meter = Meter({"agents": [bench.pid]})
    before, trips, began = meter.read()["agents"], bench.round_trips(), time.perf_counter()
    timed = [await bench.turn((agent, session), str(tools)) for session in sessions[10:]]
    # The one that asked for their number is among them.
    asked = bench.round_trips() - trips - 1 - idle * (time.perf_counter() - began)
    used = meter.read()["agents"] - before
    overheads = [one.overhead_ms for one in timed]
    return {
        "ms": statistics.median(overheads),
        "p95_ms": statistics.quantiles(overheads, n=20)[-1],
        "cpu_ms": used / turns * 1e3,
        # Its looks at the store come when they come: to a tenth.
        "round_trips": round(asked / turns, 1),
        "steps": timed[0].steps,
    }


async def after(bench: Bench, earlier: int, turns: int) -> dict[str, float]:
    """Overhead of a turn that has so many before it: in a session, and with the same history brought by the caller."""
    agent, session = await bench.session(instructions=SAYS)
    first = await bench.turn((agent, session))
    await asyncio.to_thread(_fill, bench, (agent, session), first.turn.turn_id, earlier - 1)
    history = [first.turn] * earlier
    kept, brought, cpu = [], [], []
    meter = Meter({"agents": [bench.pid]})
    for _ in range(turns):
        before = meter.read()["agents"]
        kept.append((await bench.turn((agent, session))).overhead_ms)
        between = meter.read()["agents"]
        brought.append((await bench.stateless(agent, history)).overhead_ms)
        cpu.append((between - before, meter.read()["agents"] - between))
    return {
        "kept_ms": statistics.median(kept),
        "first_ms": kept[0],
        "brought_ms": statistics.median(brought),
        "kept_cpu_ms": statistics.mean(one for one, _ in cpu) * 1e3,
        "brought_cpu_ms": statistics.mean(one for _, one in cpu) * 1e3,
    }


def _fill(bench: Bench, names: tuple[str, str], turn_id: str, copies: int) -> None:
    """Gives a session copies of its first turn, as they would be kept."""
    (turns,) = (
        str(key, "ascii") for key in bench.redis.keys(f"*{names[0]}/{names[1]}:turns") if isinstance(key, bytes)
    )
    session = turns.removesuffix(":turns")
    kept, base = bench.redis.dump(f"{session}:turn:{turn_id}"), bench.redis.hget(f"{session}:turn:{turn_id}", "base")
    assert kept is not None
    assert isinstance(base, bytes)
    pipe = bench.redis.pipeline(transaction=False)
    for number in range(copies):
        name = f"{turn_id[:-6]}{number:06d}"
        pipe.restore(f"{session}:turn:{name}", 0, kept)
        # Identifiers are of one length, so the message stays whole.
        pipe.hset(f"{session}:turn:{name}", "base", base.replace(turn_id.encode(), name.encode()))
        pipe.zadd(turns, {name: number + 2})
    pipe.hset(session, mapping={"number": copies + 1, "count": copies + 1})
    pipe.execute()


async def watchers(bench: Bench, number: int) -> dict[str, float]:
    """Memory of the service with as many idle WatchTurn streams, each of a turn of its own."""
    agent, _ = await bench.session(clientTools=[{"name": TOOL, "description": "The client's own."}])
    turns = [await _waiting(bench, agent) for _ in range(number)]
    before = resident([bench.pid])
    seen = asyncio.Semaphore(0)

    async def watch(names: tuple[str, str, str]) -> None:
        request = agents_pb2.WatchTurnRequest(agent_id=names[0], session_id=names[1], turn_id=names[2])
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in bench.stub.WatchTurn(request):
                seen.release()

    tasks = [asyncio.create_task(watch(names)) for names in turns]
    for _ in turns:
        await seen.acquire()
    meter = Meter({"agents": [bench.pid]})
    await asyncio.sleep(2.0)
    began = meter.read()["agents"]
    await asyncio.sleep(5.0)
    idle, process = (meter.read()["agents"] - began) / 5.0, resident([bench.pid])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"process_mib": process / MEBIBYTE, "watchers_mib": (process - before) / MEBIBYTE, "idle_cpu": idle}


async def _waiting(bench: Bench, agent_id: str) -> tuple[str, str, str]:
    """Begins a turn that waits for its client."""
    session = await bench.another(agent_id)
    request = agents_pb2.CreateTurnRequest(agent_id=agent_id, session_id=session, allow_turn_resume=True)
    request.messages.add().user.content.items.add().text = "1"
    return agent_id, session, (await bench.stub.CreateTurn(request)).turn.turn_id
