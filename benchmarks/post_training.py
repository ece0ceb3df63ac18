"""The trainer beside bare TRL, and what jobs take beside their training. `python -m benchmarks.post_training --help`."""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format

from benchmarks import adapter_in_service, training_jobs
from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.processes import ROOT, end_in_order
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of
from benchmarks.training_rates import DEMO, LONGEST, Rates, measure_large, measure_rates, rows, spec_of
from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import trainer_command, trainer_environment

PAGE = ROOT / "docs" / "post_training.md"
REPORT = "training"
_VERSIONS = ("accelerate", "peft", "torch", "transformers", "trl")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 7
    """Times that each training is measured, in turn."""
    steps: int = 16
    """Steps of a training."""
    starts: int = 3
    """Processes that are started."""
    adapters: int = 5
    """Adapters that are put into service."""
    jobs: int = 10_000
    """Finished jobs that are listed."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(rounds=1, steps=4, starts=1, adapters=1, jobs=100)


@dataclass
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    rates: Rates = field(default_factory=dict)
    """Speeds by training."""
    start: list[float] = field(default_factory=list)
    """Seconds from a process's start to its first step, imports left out."""
    imports: list[float] = field(default_factory=list)
    """Seconds of the imports."""
    in_service: list[float] = field(default_factory=list)
    """Seconds from a finished adapter to a model that has answered."""
    jobs: training_jobs.Figures = field(default_factory=training_jobs.Figures)
    """What watching and listing jobs takes."""
    large: Rates = field(default_factory=dict)
    """Speeds and memory of a large model on a GPU."""


def measure_starts(outcome: Outcome, folder: Path) -> None:
    """Starts trainers as the service does."""
    source = rows(folder / "start.jsonl", 64, 12)
    for at in range(outcome.plan.starts):
        spec = spec_of(folder / f"start{at}", DEMO, source, 1, "TRAINING_DTYPE_FP32")
        spec.request["logger_config"] = {"log_level": "LOG_LEVEL_DEBUG"}
        file = folder / f"start{at}.json"
        file.write_text(spec.to_json())
        environment = trainer_environment() | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(trainer_command(file, 1), env=environment, capture_output=True, text=True, check=True)
        lines = (line for line in done.stdout.splitlines() if line.startswith("{"))
        _read_start(outcome, [json_format.Parse(line, jobs_pb2.JobEvent()) for line in lines])


def _read_start(outcome: Outcome, events: Sequence[jobs_pb2.JobEvent]) -> None:
    def at(event: jobs_pb2.JobEvent) -> float:
        return event.timestamp.ToNanoseconds() / 1e9

    ready, imported = (
        next(event for event in events if event.log.line.startswith(text))
        for text in ("rows are ready", "libraries are")
    )
    begins = next(event for event in events if event.HasField("progress"))
    outcome.imports.append(at(imported) - at(ready))
    outcome.start.append(float(ready.log.line.split()[-2]) + at(begins) - at(imported))


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


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
        "A LoRA adapter (rank 16) on the demo model in fp32; dialogs whose messages have 12 words in the mean.",
        f"Batches of 8 dialogs, or sequences of {LONGEST} tokens; the rows in the same order.",
        f"{plan.steps} steps, medians of {plan.rounds} rounds in turn, one thread.",
    ]
    found = outcome.rates
    base, plain, packed = found["TRL, bare"], found["trainer"], found["trainer, packed"]
    targets = [
        Target("tokens/s over TRL's, bare", "wall", _ratio(plain.wall, base.wall), 0.98, at_least=True),
        Target("tokens/s over TRL's, bare", "processor", _ratio(plain.processor, base.processor), 0.98, at_least=True),
        Target("packed tokens/s over TRL's, not packed", "wall", _ratio(packed.wall, base.wall), 1.5, at_least=True),
        Target("start-up beyond imports, s", "process", statistics.median(outcome.start), 2.0),
        Target("what a training says at its watcher, ms", "median", 1e3 * statistics.median(outcome.jobs.delays), 200),
        Target("what a training says at its watcher, ms", "99 %", 1e3 * _high(outcome.jobs.delays), 200),
        Target("adapter in service and proven, s", "median", statistics.median(outcome.in_service), 5.0),
        Target(f"{plan.jobs} finished jobs listed, ms", "10 pages", 1e3 * statistics.median(outcome.jobs.listing), 100),
    ]
    speeds = Table(
        "Tokens a second",
        ["training", "wall", "processor"],
        [
            [name, f"{statistics.median(rate.wall):.0f}", f"{statistics.median(rate.processor):.0f}"]
            for name, rate in found.items()
        ],
        note=f"Imports take {statistics.median(outcome.imports):.1f} s beside the start-up.",
    )
    tables = [table_of(targets), speeds]
    if outcome.large:
        tables.append(_large(outcome))
    else:
        conditions.append("There was no GPU: LoRA and QLoRA of a 1B model were not measured.")
    return Report(REPORT, conditions, tables)


def _high(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


def _large(outcome: Outcome) -> Table:
    return Table(
        "A model of Llama 3.2 1B's shape on the GPU, bf16, batches of 8",
        ["training", "tokens/s", "most memory, GB"],
        [
            [name, f"{statistics.median(rate.wall):.0f}", f"{statistics.median(rate.memory) / 1e9:.2f}"]
            for name, rate in outcome.large.items()
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    rounds = "times that each training is measured (default: 7)"
    command = read_command("post_training", "Measures trainings.", PAGE, arguments, rounds=rounds)
    end_in_order()
    os.environ.update(trainer_environment())
    console = command.console
    plan = Plan.quick() if command.chosen.quick else Plan(rounds=command.chosen.rounds or Plan.rounds)
    outcome = Outcome(plan)
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as name:
        folder = Path(name)
        measure_starts(outcome, folder)
        console.print("jobs watched and listed")
        outcome.jobs = training_jobs.measure(folder / "jobs", plan.jobs)
        console.print("adapters put into service")
        outcome.in_service = adapter_in_service.measure(plan.adapters)
        import torch
        import transformers

        torch.set_num_threads(torch.get_num_threads() if torch.cuda.is_available() else 1)
        transformers.utils.logging.disable_progress_bar()
        outcome.rates = measure_rates(folder, plan.rounds, plan.steps, console)
        if torch.cuda.is_available():
            outcome.large = measure_large(folder, plan.rounds, plan.steps, console)
    command.present(report(outcome, command.line))


if __name__ == "__main__":
    main()
