"""Measures a checkpoint on held-out dialogs: `python -m models.recipe.evaluate`.

Each assistant turn of a dialog is generated greedily after the dialog's own turns before it, and compared with the turn itself.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from models.recipe import facts
from models.recipe.dialog import Dialog, Turn
from models.recipe.render import prompt, written
from models.recipe.scenarios import REFUSALS, chat_dialog, tool_dialog
from models.recipe.source import Source

_ANSWER_FAMILIES = (
    *(set(answers) for _, answers in facts.SMALL_TALK + facts.IDENTITY),
    set(facts.JOKES),
    set(REFUSALS),
)
_LONGEST_ANSWER = 200


@dataclass(frozen=True)
class Case:
    """One answer to generate."""

    group: str
    """Row of the table."""
    prompt: str
    expected: str
    """The reference turn, without its closing token."""
    evidence: str = ""
    """Tool output that the answer has to use."""
    may_call: bool = False
    """Whether tools are offered and the user has just spoken."""


@dataclass
class Score:
    """Right answers of a row, with some of the wrong ones to look at."""

    right: int = 0
    total: int = 0
    wrong: list[tuple[Case, str]] = field(default_factory=list)

    def add(self, case: Case, answer: str, *, right: bool) -> None:
        """Counts one answer."""
        self.total += 1
        self.right += right
        if not right:
            self.wrong.append((case, answer))


def cases(dialog: Dialog) -> Iterator[Case]:
    """Yields a case for each assistant turn of a dialog."""
    for index, turn in enumerate(dialog.turns):
        if turn.role == "assistant":
            before = Dialog(dialog.turns[:index], dialog.tools, dialog.tool_format, dialog.today, dialog.dated)
            may_call = bool(dialog.tools) and dialog.turns[index - 1].role == "user"
            expected = written(dialog, index).replace("<|python_tag|>", "")
            yield Case(_group(dialog, index), prompt(before), expected, _evidence(dialog.turns, index), may_call)


def judge(case: Case, answer: str) -> dict[str, bool]:
    """Judges an answer for every row that it counts in."""
    rows = {case.group: is_right(case, answer)}
    if case.may_call:
        rows["calls a tool if and only if one is needed"] = _is_call(answer) == _is_call(case.expected)
    if case.may_call and _is_call(case.expected):
        rows["names the right tools"] = _called(answer) == _called(case.expected)
    return rows


def is_right(case: Case, answer: str) -> bool:
    """Judges an answer: calls and facts by equality, answers from tool output by whether they hold all of its values."""
    if answer == case.expected:
        return True
    if case.evidence:
        needed = set(re.findall(r"\w+", case.evidence)) & set(re.findall(r"\w+", case.expected))
        return bool(needed) and needed <= set(re.findall(r"\w+", answer))
    return any({answer, case.expected} <= family for family in _ANSWER_FAMILIES)


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, dialogs: list[Dialog], batch: int = 16
) -> dict[str, Score]:
    """Generates every case of the dialogs and scores them by group."""
    todo = sorted((case for dialog in dialogs for case in cases(dialog)), key=lambda case: len(case.prompt))
    scores: dict[str, Score] = defaultdict(Score)
    for start in range(0, len(todo), batch):
        group = todo[start : start + batch]
        for case, answer in zip(group, _generate(model, tokenizer, [case.prompt for case in group]), strict=True):
            for row, right in judge(case, answer).items():
                scores[row].add(case, answer, right=right)
    return dict(sorted(scores.items()))


def evaluation_dialogs(seed: int, count: int, *, held_out: bool = True) -> list[Dialog]:
    """Draws dialogs: a quarter conversation, the rest tools in the three formats.

    Args:
        seed: Start of the random sequence.
        count: Number of dialogs.
        held_out: Use the phrasings, words and tools that training never draws, instead of those that it does.
    """
    source = Source(f"evaluation-{seed}", held_out=held_out)
    makers = (
        chat_dialog,
        *(lambda drawn, form=form: tool_dialog(drawn, form) for form in ("json", "function_tag", "python_list")),
    )
    return [makers[index % len(makers)](source) for index in range(count)]


def table(scores: dict[str, Score]) -> str:
    """Writes scores as a Markdown table."""
    rows = [f"| {name} | {score.right / score.total:.1%} | {score.total} |" for name, score in scores.items()]
    return "\n".join(["| what | right | answers |", "|---|---|---|", *rows])


def _group(dialog: Dialog, index: int) -> str:
    turn, before = dialog.turns[index], dialog.turns[index - 1]
    if len(turn.calls) > 1:
        return f"parallel calls, {dialog.tool_format}"
    if turn.calls:
        return f"tool call, {dialog.tool_format}"
    if before.role == "tool":
        return "answer from a tool's result"
    if turn.text in REFUSALS:
        return "no tool fits"
    return "no tool needed" if dialog.tools else "conversation"


_CALL = re.compile(r'<function=(\w+)>|"name": "(\w+)", "parameters"|(?:^\[|\), )(\w+)\(|^(brave_search)\.call')


def _is_call(text: str) -> bool:
    return text.startswith(('{"type": "function"', "<function=", "[", "brave_search.call"))


def _called(text: str) -> list[str]:
    """Names of the called tools, in their order."""
    return [next(filter(None, match.groups())) for match in _CALL.finditer(text)]


def _evidence(turns: tuple[Turn, ...], index: int) -> str:
    outputs: list[str] = []
    while index > 0 and turns[index - 1].role == "tool":
        index -= 1
        outputs.append(turns[index].text)
    return " ".join(outputs)


def _generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[str]:
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(
        model.device
    )
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=_LONGEST_ANSWER, do_sample=False)
    return [
        str(text)
        for text in tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    ]


def main() -> None:
    """Prints the table, and wrong answers when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/caravan-chat"))
    parser.add_argument("--dialogs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seen", action="store_true", help="use what training may draw instead of what is held out")
    parser.add_argument("--wrong", type=int, default=0, help="wrong answers to show for each row")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    scores = evaluate(model, tokenizer, evaluation_dialogs(options.seed, options.dialogs, held_out=not options.seen))
    print(table(scores))
    for name, score in scores.items():
        for case, answer in score.wrong[: options.wrong]:
            print(f"\n[{name}] ...{case.prompt[-160:]!r}\n  expected {case.expected!r}\n  answered {answer!r}")


if __name__ == "__main__":
    main()
