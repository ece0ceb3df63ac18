"""What the memory stores cost beside the bare vector libraries. `python -m benchmarks.memory --help`."""

import json
import subprocess
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks.command import read_command
from benchmarks.memory_jobs import IngestionJob, MemoryJob, PostgresJob
from benchmarks.memory_report import Case, Figures, Outcome, Plan, report
from benchmarks.processes import ROOT, environment

PAGE = ROOT / "docs" / "memory.md"


def measure(plan: Plan, console: Console) -> Outcome:
    """Measures everything.

    Args:
        plan: How much.
        console: Shows how far it is.
    """
    beside: dict[Case, list[Figures]] = {case: [] for case in plan.cases}
    alone, postgres, ingestion = [], [], []
    for number in range(1, plan.rounds + 1):
        for kind, size in plan.cases:
            console.print(f"round {number}: {size} chunks, {kind}")
            queries = plan.queries if kind == "clustered" else plan.random_queries
            beside[kind, size].append(_asked("memory_workload", MemoryJob(size, kind, queries).to_json()))
        console.print(f"round {number}: {plan.sizes[-1]} chunks, the store alone")
        job = MemoryJob(plan.sizes[-1], "clustered", plan.queries, beside=False)
        alone.append(_asked("memory_workload", job.to_json()))
        console.print(f"round {number}: {plan.postgres_size} chunks, PostgreSQL")
        postgres.append(_asked("memory_postgres", PostgresJob(plan.postgres_size, "clustered", plan.queries).to_json()))
        console.print(f"round {number}: bulk insertion with an embedding model")
        ingestion.append(_asked("memory_ingestion", IngestionJob(plan.turns, plan.documents).to_json()))
    return Outcome(plan, beside, alone, postgres, ingestion)


def _asked(module: str, job: str) -> Figures:
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    done = subprocess.run(
        command, input=job, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, check=True
    )
    # Servers say in lines of their own where they listen.
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    rounds = "times that everything is measured (default: 1)"
    command = read_command("memory", "Measures the memory stores.", PAGE, arguments, rounds=rounds)
    plan = Plan.of(rounds=command.chosen.rounds or 1, quick=command.chosen.quick)
    command.present(report(measure(plan, command.console), command.line))


if __name__ == "__main__":
    main()
