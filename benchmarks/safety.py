"""What shields cost: text a second, a message's latency, several together, a growing text. `python -m benchmarks.safety --help`."""

import asyncio
import contextlib
import json
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from rich.console import Console

from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.processes import ROOT, end_in_order
from benchmarks.shields.cases import EVERYDAY, Case
from benchmarks.shields.pii_cases import pii_cases
from benchmarks.shields.rule_cases import PARAMS as RULES
from benchmarks.shields.secret_cases import secret_cases
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of
from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.channels import open_channel
from services.safety.judging import Judge
from services.safety.ports import TextShield
from services.safety.texts import Text
from tests.support.processes import ServiceProcess
from tests.support.stack import free_address
from tests.support.valkey import valkey_server

PAGE = ROOT / "docs" / "safety.md"
REPORT = "speed"
PROMPT_GUARD = ROOT / "models" / "caravan-prompt-guard"
_VERSIONS = ("google-re2", "grpcio", "phonenumbers", "python-stdnum")
_MESSAGE = 4096
_SECONDS_OF_ENDPOINT = 0.2
_CHARACTERS_ON_THE_WAY = 25
_TOGETHER = 8
_CONCURRENT = 16
_BEGIN = 60.0


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    megabytes: float = 2.0
    """Text for each shield's throughput."""
    messages: int = 2000
    """Messages of 4 KB."""
    rounds: int = 3
    """Times that throughput and ratios are measured."""
    calls: int = 20
    """Calls of several shields in a round."""
    streamed: int = 5000
    """Characters of a growing text."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(megabytes=0.2, messages=50, rounds=1, calls=5, streamed=2500)


@dataclass
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    throughput: dict[str, dict[str, float]] = field(default_factory=dict)
    """Megabytes a second by shield and kind of text."""
    latency: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of every message of 4 KB judged by three shields, by way."""
    slowest: list[float] = field(default_factory=list)
    """Time of several shields in that of the slowest one, for each round."""
    batching: list[float] = field(default_factory=list)
    """Time of calls of a classifier one after the other in that of the same calls at a time, for each round."""
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Most characters of a growing text that were held back, and the window, by shield."""


def text_shields() -> dict[str, TextShield]:
    """The shields that read texts, as their providers make them."""
    from services.safety.providers.pii.config import PiiParams
    from services.safety.providers.pii.shield import PiiShield
    from services.safety.providers.rules.config import RulesParams
    from services.safety.providers.rules.shield import RulesShield
    from services.safety.providers.secrets.config import SecretsParams
    from services.safety.providers.secrets.shield import SecretsShield

    return {
        "rules": RulesShield(RulesParams.model_validate(RULES)),
        "secrets": SecretsShield(SecretsParams()),
        "pii": PiiShield(PiiParams()),
    }


def texts(size: int) -> dict[str, str]:
    """Texts of some size in characters: what people write, what code looks like, and both with what shields look for in every line."""
    rng = random.Random(1)
    code = (ROOT / "services" / "core" / "server.py").read_text()
    cases: Sequence[Case] = [*secret_cases(1, 400), *pii_cases(1, 400)]
    return {
        "prose": _filled(size, lambda: rng.choice(EVERYDAY)),
        "code": (code * (size // len(code) + 1))[:size],
        "full of findings": _filled(size, lambda: rng.choice(cases).text),
    }


def _filled(size: int, line: Callable[[], str]) -> str:
    lines: list[str] = []
    length = 0
    while length < size:
        lines.append(line())
        length += len(lines[-1]) + 1
    return "\n".join(lines)[:size]


def measure_throughput(outcome: Outcome) -> None:
    """Has each shield read each text."""
    for kind, text in texts(round(outcome.plan.megabytes * 1e6)).items():
        for name, shield in text_shields().items():
            shield.scan(Text(text[:100_000]))
            rates = []
            for _ in range(outcome.plan.rounds):
                started = time.process_time()
                shield.scan(Text(text))
                rates.append(len(text.encode()) / 1e6 / (time.process_time() - started))
            outcome.throughput.setdefault(name, {})[kind] = statistics.median(rates)


async def measure_in_process(outcome: Outcome) -> None:
    """Has three shields read messages together, without a service around them."""
    shields, judge = text_shields(), Judge()
    seconds = outcome.latency.setdefault("in process", [])
    computed = outcome.latency.setdefault("in process, CPU time", [])
    for message in messages(outcome.plan.messages):
        started, worked = time.perf_counter(), time.process_time()
        await asyncio.gather(*(judge.scan(shield, Text(message)) for shield in shields.values()))
        seconds.append(time.perf_counter() - started)
        computed.append(time.process_time() - worked)
    await judge.close()


def messages(count: int) -> list[str]:
    """Messages of 4 KB: prose, and in every fourth something to find."""
    rng = random.Random(2)
    cases = [*secret_cases(2, 400), *pii_cases(2, 400)]
    found = []
    for at in range(count):
        text = _filled(_MESSAGE, lambda: rng.choice(EVERYDAY))
        if at % 4 == 0:
            value = rng.choice(cases).text[:1000]
            text = f"{text[: _MESSAGE // 2]} {value} {text[_MESSAGE // 2 :]}"[:_MESSAGE]
        found.append(text)
    return found


@asynccontextmanager
async def services(providers: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[grpc.aio.Channel]:
    """Safety services behind a gateway, as processes.

    Args:
        providers: Configuration of each provider by its identifier.
    """
    target = free_address()
    async with AsyncExitStack() as running:
        store = running.enter_context(valkey_server())
        processes = {
            name: ServiceProcess(
                "services.safety",
                *("--listen", "127.0.0.1:0", "--provider-id", name, "--gateway.address", target),
                environment={
                    "CARAVAN_PROVIDER": json.dumps(config),
                    "OMP_NUM_THREADS": "1",
                    "CARAVAN_ACCESS_LOG": "false",
                },
            )
            for name, config in providers.items()
        }
        for process in processes.values():
            running.callback(process.stop)
        addresses = {
            name: (await asyncio.to_thread(process.wait_for, "serving", _BEGIN))["address"]
            for name, process in processes.items()
        }
        known = [{"provider_id": name, "addresses": [address]} for name, address in addresses.items()]
        gateway = ServiceProcess(
            "gateway",
            *("--listen", target, "--redis-url", store.url, "--poll-seconds", "0.2", "--workers", "1"),
            environment={"CARAVAN_PROVIDERS": json.dumps(known), "CARAVAN_ACCESS_LOG": "false"},
        )
        running.callback(gateway.stop)
        await asyncio.to_thread(gateway.wait_for, "serving", _BEGIN)
        yield await running.enter_async_context(open_channel(target))


def _configurations(endpoint: str) -> dict[str, dict[str, Any]]:
    moderation = [{"shield_id": f"moderation-{number}"} for number in range(_TOGETHER)]
    return {
        "rules": {"type": "inline::rules", "shields": [{"shield_id": "rules", "params": RULES}]},
        "secrets": {"type": "inline::secrets"},
        "pii": {"type": "inline::pii"},
        "remote": {"type": "remote::http", "url": endpoint, "shields": moderation},
        **(
            {"classifier": {"type": "inline::prompt-guard", "model": str(PROMPT_GUARD)}}
            if PROMPT_GUARD.is_dir()
            else {}
        ),
    }


async def measure_services(outcome: Outcome, console: Console) -> None:
    """Measures what needs services that run.

    Args:
        outcome: Where the figures go.
        console: Shows how far it is.
    """
    async with _slow_endpoint() as endpoint, services(_configurations(endpoint)) as channel:
        stub = safety_pb2_grpc.SafetyServiceStub(channel)
        await _until_served(stub)
        console.print("three shields over gRPC")
        await _measure_messages(stub, outcome)
        console.print("several shields and the slowest one")
        await _measure_slowest(stub, outcome)
        if PROMPT_GUARD.is_dir():
            console.print("batching")
            await _measure_batching(stub, outcome)
        for shield_id in ("rules", "pii"):
            console.print(f"a growing text and {shield_id}")
            overlap = text_shields()[shield_id].overlap
            assert overlap is not None
            # It is looked at again when a quarter of the window is new; what is sent in 50 ms is on the way.
            window = overlap + max(16, overlap // 4) + _CHARACTERS_ON_THE_WAY
            outcome.held[shield_id] = (await _most_held(stub, shield_id, outcome.plan.streamed), window)


@asynccontextmanager
async def _slow_endpoint() -> AsyncIterator[str]:
    """A moderation endpoint on loopback that takes its time, for as many as ask; its address."""
    answer = b'{"results": [{"flagged": false}]}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n".encode()

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", request)
                await reader.readexactly(int(length[1]) if length else 0)
                await asyncio.sleep(_SECONDS_OF_ENDPOINT)
                writer.write(head + answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_all, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def _until_served(stub: Any) -> None:
    async with asyncio.timeout(_BEGIN):
        while True:
            try:
                await stub.RunShields(_request(["rules", "secrets", "pii", "moderation-0"], "hello"))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.2)
            else:
                return


def _request(shield_ids: Sequence[str], text: str) -> safety_pb2.RunShieldsRequest:
    content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text)])
    message = types_pb2.Message(user=types_pb2.UserMessage(content=content))
    return safety_pb2.RunShieldsRequest(shield_ids=shield_ids, messages=[message])


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def _measure_messages(stub: Any, outcome: Outcome) -> None:
    seconds = outcome.latency.setdefault("gRPC, three services behind the gateway", [])
    for text in messages(outcome.plan.messages):
        request = _request(["rules", "secrets", "pii"], text)
        seconds.append(await _timed(lambda request=request: stub.RunShields(request)))


async def _measure_slowest(stub: Any, outcome: Outcome) -> None:
    every = [f"moderation-{number}" for number in range(_TOGETHER)]
    for _ in range(outcome.plan.rounds):
        one, all_of_them = [], []
        for _ in range(outcome.plan.calls):
            one.append(await _timed(lambda: stub.RunShields(_request(every[:1], "hello"))))
            all_of_them.append(await _timed(lambda: stub.RunShields(_request(every, "hello"))))
        outcome.slowest.append(statistics.median(all_of_them) / statistics.median(one))


async def _measure_batching(stub: Any, outcome: Outcome) -> None:
    text = texts(1000)["prose"]

    async def ask() -> None:
        await stub.RunShields(_request(["prompt-guard"], text))

    async def one_by_one() -> None:
        for _ in range(_CONCURRENT):
            await ask()

    async def at_once() -> None:
        await asyncio.gather(*(ask() for _ in range(_CONCURRENT)))

    await ask()
    for _ in range(outcome.plan.rounds):
        outcome.batching.append(await _timed(one_by_one) / await _timed(at_once))


async def _most_held(stub: Any, shield_id: str, length: int) -> int:
    """Sends 500 characters a second, faster than most models write; returns the most that were sent and not released."""
    text = texts(length)["prose"]
    sent = released = most = 0
    call = stub.StreamShield()
    await call.write(safety_pb2.StreamShieldRequest(shield_id=shield_id))

    async def send() -> None:
        nonlocal sent, most
        for start in range(0, len(text), 5):
            await call.write(safety_pb2.StreamShieldRequest(text=text[start : start + 5]))
            sent = min(len(text), start + 5)
            most = max(most, sent - released)
            await asyncio.sleep(0.01)
        await call.write(safety_pb2.StreamShieldRequest(end_of_text=True))
        await call.done_writing()

    sending = asyncio.create_task(send())
    async for response in call:
        if response.HasField("released"):
            released = response.released.end
    await sending
    return most


def report(outcome: Outcome, command: str) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        command: How to measure it again.
    """
    plan = outcome.plan
    conditions = [
        f"`{command}`",
        *describe(_VERSIONS),
        f"Throughput in CPU time, medians of {plan.rounds} rounds; {plan.messages} messages of 4 KB, a quarter with something to find.",
    ]
    kinds = list(next(iter(outcome.throughput.values())))
    throughput = Table(
        "Text read, MB/s",
        ["shield", *kinds],
        [[name, *(f"{rates[kind]:.1f}" for kind in kinds)] for name, rates in outcome.throughput.items()],
    )
    latency = Table(
        "Three shields and a message of 4 KB, ms",
        ["way", "p50", "p99"],
        [
            [way, f"{_percentile(seconds, 50):.2f}", f"{_percentile(seconds, 99):.2f}"]
            for way, seconds in outcome.latency.items()
        ],
    )
    return Report(REPORT, conditions, [table_of(_targets(outcome)), throughput, latency])


def _targets(outcome: Outcome) -> list[Target]:
    bounds = {"rules": 20.0, "secrets": 1.0, "pii": 1.0}
    found = [
        Target(f"{name}, MB/s", "prose", rates["prose"], bounds[name], at_least=True)
        for name, rates in outcome.throughput.items()
    ]
    found += [
        Target("three shields, 4 KB, p99 ms", way, _percentile(seconds, 99), 10.0)
        for way, seconds in outcome.latency.items()
    ]
    slowest = statistics.median(outcome.slowest)
    found.append(Target("several shields in the time of the slowest", f"{_TOGETHER} shields", slowest, 1.2))
    if outcome.batching:
        speedup = statistics.median(outcome.batching)
        found.append(
            Target("classifier: one by one in the time at once", f"{_CONCURRENT} calls", speedup, 1.0, at_least=True)
        )
    found += [
        Target("growing text: held back in windows", shield_id, held / window, 1.0)
        for shield_id, (held, window) in outcome.held.items()
    ]
    return found


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    rounds = "times that what varies is measured (default: 3)"
    command = read_command("safety", "Measures shields.", PAGE, arguments, rounds=rounds)
    end_in_order()
    console = command.console
    plan = Plan.quick() if command.chosen.quick else Plan(rounds=command.chosen.rounds or Plan.rounds)
    outcome = Outcome(plan)
    console.print("throughput")
    measure_throughput(outcome)
    console.print("three shields in process")
    asyncio.run(measure_in_process(outcome))
    asyncio.run(measure_services(outcome, console))
    command.present(report(outcome, command.line))


if __name__ == "__main__":
    main()
