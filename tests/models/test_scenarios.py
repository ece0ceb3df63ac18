"""What the recipe says: the same for a seed, in the service's own prompt format, with evaluation kept apart."""

import json

import pytest

from models.recipe.dialog import Dialog
from models.recipe.evaluate import cases, evaluation_dialogs, is_right, judge
from models.recipe.natural_tools import natural_spec
from models.recipe.render import OPEN_ASSISTANT, render
from models.recipe.scenarios import tool_dialog, training_dialog
from models.recipe.source import Source


def _drawn(seed: int, count: int = 50) -> list[Dialog]:
    source = Source(seed)
    return [training_dialog(source, progress=index / count) for index in range(count)]


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


def test_a_json_call_is_json_that_ends_the_message():
    source = Source(11)
    dialogs = [tool_dialog(source, "json") for _ in range(50)]
    single = [case for dialog in dialogs for case in cases(dialog) if case.group == "tool call, json"]
    calls = [json.loads(case.expected) for case in single if "brave_search" not in case.expected]
    assert calls
    assert all(set(call) == {"type", "name", "parameters"} for call in calls)


def test_held_out_tools_are_never_trained():
    trained = {natural_spec(Source(seed)).subject for seed in range(300)}
    kept = {natural_spec(Source(seed, held_out=True)).subject for seed in range(300)}
    assert trained
    assert kept
    assert not trained & kept


def test_the_reference_answer_is_right_and_another_is_not():
    for dialog in evaluation_dialogs(seed=1, count=20):
        for case in cases(dialog):
            assert is_right(case, case.expected)
            assert all(judge(case, case.expected).values())
            assert not is_right(case, "Blue cheese.")
