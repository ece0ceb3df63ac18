"""Rendered dialogs, and what the assistant wrote of them."""

import json
from pathlib import Path

import pytest

from services.post_training.trainer.chat import ChatTokenizer
from services.post_training.trainer.problems import ModelError, RowError
from tests.services.post_training.trainer.trainings import DEMO

DIALOG = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Say Hello!"},
    {"role": "assistant", "content": "Hello! Hello!"},
]
CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|eot_id|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKED = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }};{% endgeneration %}"
    "{% else %}{{ m.content }};{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
# Thoughts stay in the last answer only, as DeepSeek's and Qwen's templates do.
FORGETFUL = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content if loop.last else m.content.split('</think>')[-1] }};"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tokenizer(folder: Path, template: str | None, **config: str) -> ChatTokenizer:
    (folder / "tokenizer.json").write_bytes((DEMO / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|eot_id|>", **config}))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return ChatTokenizer(folder, "2026-11-20")


def written(made: ChatTokenizer, messages: list[dict[str, str]]) -> list[str]:
    text, spans = made.spans(messages)
    return [text[start:end] for start, end in spans]


def test_the_spans_are_the_answers_with_the_ends_of_their_turns() -> None:
    assert written(ChatTokenizer(DEMO), DIALOG) == ["Hello!<|eot_id|>", "Hello! Hello!<|eot_id|>"]


def test_line_breaks_between_turns_are_not_the_assistants(tmp_path: Path) -> None:
    assert written(tokenizer(tmp_path, CHATML), DIALOG) == ["Hello!<|eot_id|>", "Hello! Hello!<|eot_id|>"]


def test_a_templates_own_marks_are_believed(tmp_path: Path) -> None:
    assert written(tokenizer(tmp_path, MARKED), DIALOG) == ["Hello!;", "Hello! Hello!;"]


def test_a_template_that_drops_earlier_thoughts_shows_what_is_left_of_them(tmp_path: Path) -> None:
    thoughtful = [*DIALOG[:1], {"role": "assistant", "content": "why</think>Hello!"}, *DIALOG[2:]]
    made = tokenizer(tmp_path, FORGETFUL)
    with pytest.raises(RowError, match="does not show the answer in message 1"):
        made.spans(thoughtful)
    assert (
        written(made, [*DIALOG[:3], {"role": "assistant", "content": "why</think>Hello!"}])[-1] == "why</think>Hello!;"
    )


def test_a_template_is_told_the_day_of_the_job() -> None:
    assert "Today Date: 20 November 2026" in ChatTokenizer(DEMO, "2026-11-20").render(DIALOG)


def test_a_template_that_refuses_a_dialog_says_why(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(RowError, match="roles must alternate"):
        made.render(DIALOG)


def test_a_template_has_no_way_out_of_its_sandbox(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, "{{ messages.__class__.__mro__ }}")
    with pytest.raises(RowError):
        made.render(DIALOG)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        ChatTokenizer(tmp_path)


def test_tokens_and_texts_are_those_of_transformers() -> None:
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(DEMO), ChatTokenizer(DEMO, "2026-11-20")
    text = theirs.apply_chat_template(DIALOG, tokenize=False, date_string="20 November 2026")
    assert ours.render(DIALOG) == text
    assert ours.encode(text).ids == theirs.encode(text, add_special_tokens=False)
    assert (ours.eos_token_id, ours.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id)
