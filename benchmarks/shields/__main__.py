"""`make eval-safety`: precision, recall, false-positive rate and latency of every shield on sets made from a seed."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from benchmarks.machine import describe
from benchmarks.processes import ROOT, end_in_order
from benchmarks.shields.by_hand import by_hand
from benchmarks.shields.cases import Case
from benchmarks.shields.code_cases import code_cases
from benchmarks.shields.measures import Judge, Quality, measure
from benchmarks.shields.model_cases import guard_cases, prompt_guard_cases
from benchmarks.shields.pii_cases import pii_cases
from benchmarks.shields.rule_cases import PARAMS as RULES
from benchmarks.shields.rule_cases import rule_cases
from benchmarks.shields.secret_cases import secret_cases
from benchmarks.tables import Report, Table, show, write
from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.channels import open_channel
from services.safety.judging import Judge as Scanner
from services.safety.provider import ShieldProvider
from services.safety.texts import Text

PAGE = ROOT / "docs" / "safety.md"
REPORT = "evaluation"
_VERSIONS = ("google-re2", "detect-secrets", "phonenumbers", "python-stdnum", "bandit", "ast-grep-py")
_MODELS: dict[str, Callable[[int, int], list[Case]]] = {
    # Shields that need a model, and what makes their texts.
    "llama-guard": guard_cases,
    "prompt-guard": prompt_guard_cases,
}
Provider = ShieldProvider[Any]


@dataclass(frozen=True)
class Subject:
    """A shield to measure."""

    name: str
    """What the table calls it."""
    cases: Sequence[Case]
    """Its texts."""
    judge: Judge
    """Has it judge."""


def _providers(seed: int, count: int) -> list[tuple[str, Callable[[], Provider], dict[str, Any], list[Case]]]:
    from services.safety.providers.code_scanner.config import CodeScannerConfig
    from services.safety.providers.code_scanner.provider import CodeScannerProvider
    from services.safety.providers.pii.config import PiiConfig
    from services.safety.providers.pii.provider import PiiProvider
    from services.safety.providers.rules.config import RulesConfig
    from services.safety.providers.rules.provider import RulesProvider
    from services.safety.providers.secrets.config import SecretsConfig
    from services.safety.providers.secrets.provider import SecretsProvider

    return [
        ("rules", lambda: RulesProvider("rules", RulesConfig()), RULES, rule_cases(seed, count)),
        ("secrets", lambda: SecretsProvider("secrets", SecretsConfig()), {}, secret_cases(seed, count)),
        ("pii", lambda: PiiProvider("pii", PiiConfig()), {}, pii_cases(seed, count)),
        ("code-scanner", lambda: CodeScannerProvider("code", CodeScannerConfig()), {}, code_cases(seed, count)),
    ]


@asynccontextmanager
async def in_process(
    name: str, make: Callable[[], Provider], params: dict[str, Any], cases: list[Case]
) -> AsyncIterator[Subject]:
    """A shield in this process.

    Args:
        name: What the table calls it.
        make: Makes its provider.
        params: Its parameters.
        cases: Its texts.
    """
    provider = make()
    scanner = Scanner()
    await provider.start()
    try:
        shield = await provider.prepare(name, provider.params_type.model_validate(params))

        async def judge(case: Case) -> list[tuple[int, int]]:
            return [(found.start, found.end) for found in await scanner.scan(shield, Text(case.text))]  # type: ignore[arg-type] # a text shield

        yield Subject(name, cases, judge)
    finally:
        await scanner.close()
        await provider.stop()


def _over_grpc(stub: "safety_pb2_grpc.SafetyServiceAsyncStub", shield_id: str) -> Judge:
    async def judge(case: Case) -> list[tuple[int, int]]:
        turns = case.turns or (("User", case.text),)
        messages = [_message(role, text) for role, text in turns]
        response = await stub.RunShield(safety_pb2.RunShieldRequest(shield_id=shield_id, messages=messages))
        if response.result.HasField("error"):
            raise RuntimeError(f"{shield_id} could not judge: {response.result.error.message}")
        return [(0, 0)] if response.HasField("violation") else []

    return judge


def _message(role: str, text: str) -> types_pb2.Message:
    content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text)])
    if role == "User":
        return types_pb2.Message(user=types_pb2.UserMessage(content=content))
    return types_pb2.Message(assistant=types_pb2.CompletionMessage(content=content))


async def evaluate(arguments: argparse.Namespace, console: Console) -> dict[str, Quality]:
    """Measures every shield.

    Args:
        arguments: Of the command.
        console: Shows how far it is.
    """
    outcome: dict[str, Quality] = {}
    for name, make, params, cases in _providers(arguments.seed, arguments.count):
        async with in_process(name, make, params, cases) as subject:
            console.print(f"{subject.name}: {len(subject.cases)} texts")
            outcome[subject.name] = await measure(subject.cases, subject.judge)
            outcome[f"{subject.name}, by hand"] = await measure(by_hand(subject.name), subject.judge)
    if not arguments.address:
        console.print("llama-guard and prompt-guard need a running stack: --address of its gateway")
        return outcome
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(arguments.address))
        stub = safety_pb2_grpc.SafetyServiceStub(channel)
        for shield_id, make_cases in _MODELS.items():
            cases = make_cases(arguments.seed, arguments.model_count)
            console.print(f"{shield_id}: {len(cases)} texts")
            outcome[shield_id] = await measure(cases, _over_grpc(stub, shield_id))
    return outcome


def report(outcome: dict[str, Quality], arguments: argparse.Namespace) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        arguments: Of the command.
    """
    columns = ["shield", "texts", "precision", "recall", "false-positive rate", "p50 ms", "p99 ms"]
    rows = [
        [
            name,
            str(len(quality.seconds)),
            f"{quality.precision:.3f}",
            f"{quality.recall:.3f}",
            f"{quality.false_positive_rate:.3f}",
            f"{quality.latency(50):.2f}",
            f"{quality.latency(99):.2f}",
        ]
        for name, quality in outcome.items()
    ]
    missed = [
        [name, kind, str(len(texts))]
        for name, quality in outcome.items()
        for kind, texts in sorted(quality.wrong.items())
    ]
    tables = [Table("Quality and latency", columns, rows)]
    if missed:
        tables.append(Table("Judged wrongly", ["shield", "kind of text", "times"], missed))
    with_models = (
        " with `--address`: llama-guard and prompt-guard over gRPC through the gateway," if arguments.address else ","
    )
    conditions = [f"`make eval-safety`{with_models} seed {arguments.seed}", *describe(_VERSIONS)]
    return Report(REPORT, conditions, tables)


def main() -> None:
    """Runs the evaluation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shields", description=__doc__)
    parser.add_argument("--seed", type=int, default=20_261_120, help="where the texts come from")
    parser.add_argument("--count", type=int, default=2000, help="texts for each shield")
    parser.add_argument(
        "--model-count", type=int, default=400, help="texts for each shield that needs a model: they take long"
    )
    parser.add_argument("--address", help="gateway of a running stack, for the shields that need a model")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--show", type=int, default=0, help="show so many texts of each kind that was judged wrongly")
    arguments = parser.parse_args()
    end_in_order()
    console = Console(width=None if sys.stdout.isatty() else 160)
    outcome = asyncio.run(evaluate(arguments, console))
    for name, quality in outcome.items():
        for kind, texts in quality.wrong.items():
            for text in texts[: arguments.show]:
                console.print(f"{name}, {kind}: {text!r}", markup=False, highlight=False)
    result = report(outcome, arguments)
    show(result, console)
    if arguments.write:
        write(result, PAGE)


if __name__ == "__main__":
    main()
