"""What the recipe says: the same for a seed, in the service's own prompt format, with evaluation kept apart."""

import ast
import json
from pathlib import Path

import pytest

from models.recipe import paraphrases
from models.recipe.dialog import Dialog
from models.recipe.natural_tools import natural_spec
from models.recipe.render import OPEN_ASSISTANT, render, written
from models.recipe.retrieval import retrieval_dialog
from models.recipe.scenarios import tool_dialog, training_dialogs
from models.recipe.source import Source

RECIPE = Path(__file__).parents[2] / "models" / "recipe"


def _drawn(seed: int, count: int = 12) -> list[Dialog]:
    source = Source(seed)
    return [dialog for index in range(count) for dialog in training_dialogs(source, progress=index / count)]


def _imported_by(module: str) -> set[str]:
    """Modules of the recipe that a module imports, directly or by others."""
    waiting, found = [module], set()
    while waiting:
        name = waiting.pop()
        if name in found or not (RECIPE / f"{name}.py").exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse((RECIPE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("models.recipe"):
                waiting += [node.module.rpartition(".")[2], *(alias.name for alias in node.names)]
    return found


def test_a_seed_gives_the_same_dialogs_every_time():
    assert _drawn(3) == _drawn(3)
    assert _drawn(3) != _drawn(4)


def test_every_dialog_renders_to_its_last_turn():
    for dialog in _drawn(5):
        text = render(dialog)
        assert text.startswith("<|begin_of_text|>")
        assert text.endswith(("<|eot_id|>", "<|eom_id|>"))
        assert text.count(OPEN_ASSISTANT) == sum(turn.role == "assistant" for turn in dialog.turns)


@pytest.mark.parametrize("tool_format", ["json", "function_tag", "python_list"])
def test_calls_name_an_offered_tool_and_its_parameters(tool_format: str):
    source = Source(7)
    for _ in range(100):
        dialog = tool_dialog(source, tool_format)
        tools = {tool.name: {parameter.name: parameter for parameter in tool.parameters} for tool in dialog.tools}
        for call in (call for turn in dialog.turns for call in turn.calls if call.name != "brave_search"):
            assert set(call.arguments) <= set(tools[call.name])
            assert {name for name, parameter in tools[call.name].items() if parameter.required} <= set(call.arguments)


def test_arguments_are_of_every_type():
    source = Source(9)
    dialogs = [tool_dialog(source) for _ in range(200)]
    values = [
        value for dialog in dialogs for turn in dialog.turns for call in turn.calls for value in call.arguments.values()
    ]
    assert {type(value) for value in values} == {str, int, float, bool, list, dict}


def test_function_tags_are_never_parallel_because_their_prompt_asks_for_one_call_at_a_time():
    source = Source(13)
    dialogs = [tool_dialog(source, "function_tag") for _ in range(100)]
    assert max(len(turn.calls) for dialog in dialogs for turn in dialog.turns) == 1


def test_a_json_call_is_json_that_ends_the_message():
    source = Source(11)
    dialogs = [tool_dialog(source, "json") for _ in range(50)]
    single = [
        written(dialog, index)
        for dialog in dialogs
        for index, turn in enumerate(dialog.turns)
        if len(turn.calls) == 1 and turn.calls[0].name != "brave_search"
    ]
    assert single
    assert all(set(json.loads(call)) == {"type", "name", "parameters"} for call in single)


def test_held_out_tools_are_never_trained():
    trained = {natural_spec(Source(seed)).subject for seed in range(300)}
    kept = {natural_spec(Source(seed, held_out=True)).subject for seed in range(300)}
    assert trained
    assert kept
    assert not trained & kept


def test_the_text_holds_the_value_that_a_right_answer_must_hold():
    source = Source(17)
    for _ in range(100):
        asked, answered = retrieval_dialog(source).turns[:2]
        assert answered.key in asked.context
        assert answered.key in answered.text


def test_nothing_that_trains_imports_the_paraphrases():
    assert "paraphrases" in _imported_by("chat_evaluation")
    assert "paraphrases" not in _imported_by("chat")


def test_training_never_draws_a_paraphrase():
    written_by_hand = {said for _, said, _ in paraphrases.CALLS} | set(paraphrases.NO_TOOL_NEEDED)
    trained = {turn.text for seed in range(10) for dialog in _drawn(seed, 25) for turn in dialog.turns}
    assert not written_by_hand & trained
