"""What the gateway costs and holds, before a replica that does next to nothing. `python -m benchmarks.gateway --help`."""

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.peers import GATEWAY, gateway
from benchmarks.processes import ROOT, end_in_order, line_process
from benchmarks.processor_time import family
from benchmarks.relay_load import RelayJob
from benchmarks.replica import PROVIDER_ID
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of
from tests.support.processes import serving

PAGE = ROOT / "docs" / "performance.md"
REPORT = "gateway"
_VERSIONS = ("grpcio", "uvloop", "protobuf")
_MIB = float(1 << 20)
_AT_ONCE = (1, 16)
_PACED = {"messages": 400, "size": 1024, "pause": 0.01}
_SLOW_READERS = 4

Figures = Mapping[str, float]
Ask = Callable[[RelayJob], Figures]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    """Times that what varies is measured."""
    calls: int = 4000
    """Unary calls."""
    streams: int = 2000
    """Streams that are held open."""
    seconds: float = 10.0
    """How long they are held."""
    long_streams: int = 32
    """Streams of which each brings `long_messages`."""
    long_messages: int = 5000
    """Messages of a long stream, of a kibibyte each."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(rounds=1, calls=500, streams=200, seconds=1.0, long_messages=500)


@dataclass(frozen=True)
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    unary: Mapping[tuple[str, int], Sequence[Figures]]
    """Unary calls by way (`direct`, `gateway`) and calls at once, for each round."""
    first: Sequence[Figures]
    """What the gateway adds to the first message of a stream, for each round."""
    hold: Figures
    """Many open streams."""
    long: Figures
    """Long streams."""
    slow: Mapping[int, Sequence[Figures]]
    """Paced streams by the number of slow readers beside them, for each round."""


def measure(plan: Plan, console: Console) -> Outcome:
    """Starts a replica and a gateway and measures.

    Args:
        plan: How much.
        console: Shows how far it is.
    """
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as temporary:
        folder = Path(temporary)
        with (
            serving("benchmarks.replica") as (_, replica),
            gateway({PROVIDER_ID: replica}, folder) as (process, entrance),
        ):
            processes = {GATEWAY: family(process.pid)}

            def ask(job: RelayJob) -> Figures:
                console.print(
                    f"{job.kind}: {job.count} at {'the gateway' if job.target == entrance else 'the replica'}"
                )
                with line_process("benchmarks.relay_load", log=folder / "load.log") as clients:
                    figures: Figures = json.loads(clients.ask(replace(job, processes=processes).to_json()))
                    return figures

            # First, while the gateway's memory is fresh.
            hold = ask(_hold(plan, entrance))
            long = ask(_long(plan, entrance))
            unary = _unary(plan, {"direct": replica, "gateway": entrance}, ask)
            first = [ask(RelayJob("first", replica, plan.calls // 2, other=entrance)) for _ in range(plan.rounds)]
            return Outcome(plan, unary, first, hold, long, _slow(plan, entrance, ask))


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
        f"One gateway worker; a bare grpc.aio replica; {plan.rounds} rounds, medians.",
    ]
    targets = table_of(_targets(outcome))
    return Report(REPORT, conditions, [targets, _unary_table(outcome), _memory_table(outcome), _slow_table(outcome)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    rounds = "times that what varies is measured (default: 3)"
    command = read_command("gateway", "Measures the gateway alone.", PAGE, arguments, rounds=rounds)
    end_in_order()
    plan = Plan.quick() if command.chosen.quick else Plan()
    if command.chosen.rounds:
        plan = replace(plan, rounds=command.chosen.rounds)
    command.present(report(measure(plan, command.console), command.line))


def _hold(plan: Plan, target: str) -> RelayJob:
    script = {"messages": 0, "size": 64, "pause": 2.0}
    return RelayJob("hold", target, plan.streams, seconds=plan.seconds, script=script)


def _long(plan: Plan, target: str) -> RelayJob:
    script = {"messages": plan.long_messages, "size": 1024, "pause": 0.0}
    return RelayJob("long", target, plan.long_streams, script=script)


def _unary(plan: Plan, targets: Mapping[str, str], ask: Ask) -> dict[tuple[str, int], list[Figures]]:
    found: dict[tuple[str, int], list[Figures]] = {(way, at_once): [] for way in targets for at_once in _AT_ONCE}
    for number in range(plan.rounds):
        for way in sorted(targets, reverse=bool(number % 2)):
            for at_once in _AT_ONCE:
                found[way, at_once].append(ask(RelayJob("unary", targets[way], plan.calls, at_once)))
    return found


def _slow(plan: Plan, target: str, ask: Ask) -> dict[int, list[Figures]]:
    found: dict[int, list[Figures]] = {0: [], _SLOW_READERS: []}
    for number in range(plan.rounds):
        for readers in sorted(found, reverse=bool(number % 2)):
            found[readers].append(ask(RelayJob("slow", target, 16, readers, script=_PACED)))
    return found


def _median(rounds: Sequence[Figures], name: str) -> float:
    return statistics.median(figures[name] for figures in rounds)


def _targets(outcome: Outcome) -> list[Target]:
    plan, hold, long, slow = outcome.plan, outcome.hold, outcome.long, outcome.slow
    found = [
        Target(
            "gateway's CPU a unary call, µs",
            f"{at_once} at once",
            _median(outcome.unary["gateway", at_once], "gateway_seconds_per_call") * 1e6,
            300,
            form=".0f",
        )
        for at_once in _AT_ONCE
    ]
    grown = (long["after"] - long["before"]) / _MIB
    rate = _median(slow[_SLOW_READERS], "rate") / _median(slow[0], "rate")
    for name, bound in (("p50", 1.0), ("p99", 5.0)):
        added = _median(outcome.first, f"added_{name}") * 1e3
        found.append(Target(f"time to first message that the gateway adds, ms, {name}", "single calls", added, bound))
    return [
        *found,
        Target("memory with open streams, MiB", f"{hold['open']:.0f} streams", hold["held"] / _MIB, 300, form=".0f"),
        Target(
            f"memory that {long['bytes'] / _MIB:.0f} MiB of messages add, MiB",
            f"{plan.long_streams} streams",
            grown,
            8,
            form=".1f",
        ),
        Target("message rate beside slow readers / without", f"{_SLOW_READERS} slow", rate, 0.98, at_least=True),
    ]


def _unary_table(outcome: Outcome) -> Table:
    rows = []
    for (way, at_once), rounds in outcome.unary.items():
        rows.append(
            [
                f"{way}, {at_once} at once",
                f"{_median(rounds, 'p50') * 1e3:.2f} / {_median(rounds, 'p99') * 1e3:.2f}",
                f"{_median(rounds, 'calls_per_second'):.0f}",
                f"{_median(rounds, 'gateway_seconds_per_call') * 1e6:.0f}" if way == GATEWAY else "",
            ]
        )
    return Table("Unary calls", ("", "ms, p50 / p99", "calls/s", "gateway's CPU a call, µs"), rows)


def _memory_table(outcome: Outcome) -> Table:
    hold, long = outcome.hold, outcome.long
    rows = [
        ["before", f"{hold['before'] / _MIB:.0f}"],
        [f"{hold['open']:.0f} streams open", f"{hold['held'] / _MIB:.0f}"],
        [f"{outcome.plan.long_streams} streams, begun", f"{long['before'] / _MIB:.0f}"],
        [f"the same after {long['messages']:.0f} messages", f"{long['after'] / _MIB:.0f}"],
    ]
    note = "Resident memory of all the gateway's processes: its supervisor and its worker."
    return Table("Memory, MiB", ("", "MiB"), rows, note)


def _slow_table(outcome: Outcome) -> Table:
    rows = [
        [
            f"{readers} slow readers" if readers else "none",
            f"{_median(rounds, 'rate'):.0f}",
            f"{_median(rounds, 'p50') * 1e3:.1f} / {_median(rounds, 'p99') * 1e3:.1f}",
            f"{_median(rounds, 'held') / _MIB:.0f}",
        ]
        for readers, rounds in outcome.slow.items()
    ]
    note = (
        f"16 streams of {1 / _PACED['pause']:.0f} messages a second each. Beside them, on the same connection, streams that send as "
        "fast as they may and are read once a second."
    )
    return Table("Slow readers", ("beside", "messages/s", "gap ms, p50 / p99", "memory, MiB"), rows, note)


if __name__ == "__main__":
    main()
