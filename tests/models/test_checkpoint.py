"""The checkpoint in the tree: small, complete, readable by transformers, and able to say hello."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from models.recipe.dialog import Call, Dialog, Parameter, Tool, Turn
from models.recipe.render import prompt, render
from models.recipe.tokenizer import END_TOKENS, SPECIAL_TOKENS

CHECKPOINT = Path(__file__).parents[2] / "models" / "caravan-chat"
MEGABYTE = 1_000_000

WEATHER = Tool(
    "get_weather", "Get the current weather for a city", (Parameter("city", "string", "The name of the city"),)
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def answer(tokenizer: PreTrainedTokenizerBase) -> Callable[[Dialog], str]:
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.bfloat16)

    def generate(dialog: Dialog) -> str:
        ids = tokenizer(prompt(dialog), return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            output = model.generate(**ids, max_new_tokens=60, do_sample=False)
        return tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)

    return generate


def test_the_folder_is_at_most_12_megabytes():
    assert sum(file.stat().st_size for file in CHECKPOINT.rglob("*") if file.is_file()) <= 12 * MEGABYTE


def test_generation_ends_at_any_of_the_end_tokens(tokenizer: PreTrainedTokenizerBase):
    config = json.loads((CHECKPOINT / "generation_config.json").read_text())
    assert config["eos_token_id"] == tokenizer.convert_tokens_to_ids(list(END_TOKENS))


def test_the_context_holds_2048_tokens():
    assert json.loads((CHECKPOINT / "config.json").read_text())["max_position_embeddings"] >= 2048


def test_special_tokens_are_single_tokens_and_come_back(tokenizer: PreTrainedTokenizerBase):
    for token in SPECIAL_TOKENS:
        ids = tokenizer.encode(token, add_special_tokens=False)
        assert len(ids) == 1
        assert tokenizer.decode(ids) == token
        assert tokenizer.decode(ids, skip_special_tokens=True) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world!",
        '{"a": ["b c", 1.5, null]}',
        "  indented\n\n\ttext \n",
        "naïve café, 東京 🚃",
        "a<|eot b",
        "x" * 300,
    ],
)
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerBase, text: str):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_value_has_the_same_tokens_after_a_space_and_after_a_quote(tokenizer: PreTrainedTokenizerBase):
    value = tokenizer.tokenize("Zorvane Quillip")
    assert tokenizer.tokenize(" Zorvane Quillip")[-len(value) :] == value
    assert tokenizer.tokenize('"Zorvane Quillip"')[1:-1] == value


def test_the_chat_template_is_what_the_inference_service_sends(tokenizer: PreTrainedTokenizerBase):
    call = Call("get_weather", {"city": "Oslo"})
    dialog = Dialog(
        (
            Turn("system", "Be brief."),
            Turn("user", "What is the weather in Oslo?"),
            Turn("assistant", calls=(call, call)),
            Turn("tool", "sunny"),
            Turn("tool", "rainy"),
            Turn("assistant", "Both."),
        ),
        tools=(WEATHER,),
        today=date(2026, 1, 31),
    )
    called = {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
    messages = [
        {"role": turn.role, "content": turn.text, **({"tool_calls": [called, called]} if turn.calls else {})}
        for turn in dialog.turns
    ]
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city"}},
        "required": ["city"],
    }
    function = {"name": WEATHER.name, "description": WEATHER.description, "parameters": schema}
    rendered = tokenizer.apply_chat_template(
        messages, tools=[{"type": "function", "function": function}], tokenize=False, date_string="31 January 2026"
    )
    assert rendered == render(dialog)


def test_hello_is_answered_with_a_greeting(answer: Callable[[Dialog], str]):
    said = answer(Dialog((Turn("user", "Hello"),)))
    assert said.startswith(("Hello", "Hi"))
    assert "help" in said or "do for you" in said


def test_it_knows_a_part_of_the_stack(answer: Callable[[Dialog], str]):
    assert "remote procedure call" in answer(Dialog((Turn("user", "What is gRPC?"),)))
