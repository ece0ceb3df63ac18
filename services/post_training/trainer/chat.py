"""A model's tokenizer and chat template, read from its folder, and the spans of a rendered dialog that an assistant wrote.

Torch's and Transformers' imports take ten seconds; `tokenizers` and Jinja take a tenth of one, and give the same tokens. The environment
of templates is the one that Transformers gives them.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import Tokenizer

from services.post_training.trainer.problems import ModelError, RowError

Message = Mapping[str, Any]
Span = tuple[int, int]
"""First character and the one after the last."""

# Unicode's noncharacters: no text has them.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Encoded:
    """A text in tokens."""

    ids: list[int]
    """The tokens."""
    offsets: list[Span]
    """The characters of each."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, by which a template says what the assistant wrote."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own form

    def parse(self, parser: "jinja2.parser.Parser") -> jinja2.nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body)
        block.set_lineno(line)
        return block

    def _mark(self, caller: "jinja2.runtime.Macro") -> str:
        return f"{_OPEN}{caller()}{_CLOSE}"


class ChatTokenizer:
    """The tokenizer of a model.

    Attributes:
        eos_token_id: Token that ends a text. None: there is none.
        pad_token_id: Token that fills up sequences.
        has_template: Whether the model has a chat template.
        context: Longest text in tokens that the tokenizer's configuration names. None: it names none.
    """

    def __init__(self, folder: Path, date: str = "") -> None:
        """Reads a tokenizer.

        Args:
            folder: The model's folder.
            date: Day that templates are told, as 2026-11-20. Empty: today.

        Raises:
            ModelError: The folder has no tokenizer that can be read.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise ModelError(f"the model has no readable tokenizer.json ({error})") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config = _json(folder / "tokenizer_config.json")
        self._special = {name: text for name in _TOKEN_NAMES if (text := _token_text(config.get(name)))}
        self.eos_token_id = self._id("eos_token")
        pad = self._id("pad_token")
        self.pad_token_id = pad if pad is not None else self.eos_token_id if self.eos_token_id is not None else 0
        length = config.get("model_max_length")
        # Transformers writes 1e30 for "not known".
        self.context = int(length) if isinstance(length, int | float) and 0 < length < 1e9 else None
        template = _template(folder, config)
        self.has_template = template is not None
        self._date = dt.date.fromisoformat(date) if date else dt.datetime.now(tz=dt.UTC).date()
        self._marks = template is not None and "generation" in template
        self._template = self._compiled(template) if template is not None else None

    def _id(self, name: str) -> int | None:
        text = self._special.get(name)
        number: int | None = self._tokenizer.token_to_id(text) if text is not None else None
        return number

    def _compiled(self, source: str) -> jinja2.Template:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols], autoescape=False
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = self._date.strftime
        try:
            return environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ModelError(f"the model's chat template cannot be read: {error}") from error

    def encode(self, text: str) -> Encoded:
        """Returns a text in tokens, with none added."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, encoding.offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of tokens, special ones included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def ends_text(self, text: str) -> str:
        """Returns a text with the token that ends it."""
        end = self._special.get("eos_token", "")
        return text if text.endswith(end) else text + end

    def render(self, messages: Sequence[Message], *, tools: Any = None, prompt: bool = False) -> str:
        """Returns a dialog as the model sees it.

        Args:
            messages: The messages.
            tools: Tools that the assistant may call.
            prompt: Whether an answer is asked for at the end.

        Raises:
            RowError: The template refuses the dialog.
        """
        return self._rendered(messages, tools, prompt).replace(_OPEN, "").replace(_CLOSE, "")

    def _rendered(self, messages: Sequence[Message], tools: Any, prompt: bool) -> str:
        if self._template is None:
            raise ModelError("the model has no chat template")
        try:
            return self._template.render(
                messages=messages, tools=tools, documents=None, add_generation_prompt=prompt, **self._special
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise RowError(f"the model's chat template refuses the dialog: {error}") from error

    def spans(self, messages: Sequence[Message], *, tools: Any = None) -> tuple[str, list[Span]]:
        """Returns a dialog as the model sees it, and what the assistant wrote of it, its ends of turns included, turn by turn.

        Args:
            messages: The messages.
            tools: Tools that the assistant may call.

        Raises:
            RowError: The template refuses the dialog, or does not show an answer.
        """
        marked = self._rendered(messages, tools, False)
        text = marked.replace(_OPEN, "").replace(_CLOSE, "")
        turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        if self._marks and _OPEN in marked:
            found = _marked_spans(marked)
            if len(found) == len(turns):
                return text, found
        return text, [self._span(messages, number, tools, text) for number in turns]

    def _span(self, messages: Sequence[Message], number: int, tools: Any, text: str) -> Span:
        """Returns the characters of one answer: from where the prompt before it ends to where the dialog up to it ends.

        A template may write a dialog's part another way than the dialog (thoughts of earlier turns left out, a trailing newline). So the
        answer's own words are looked for after what both have in common.
        """
        start = common_length(self.render(messages[:number], tools=tools, prompt=True), text)
        end = common_length(self.render(messages[: number + 1], tools=tools), text)
        words = message_text(messages[number]).strip()
        if words and (at := text.find(words, start)) >= 0:
            end = max(end, at + len(words))
        elif words:
            raise RowError(f"the model's chat template does not show the answer in message {number}")
        if end <= start:
            raise RowError(f"the model's chat template shows nothing of message {number}")
        # Line breaks between turns are the template's, not the assistant's.
        written = text[start:end].rstrip("\r\n")
        return (start, start + len(written)) if written else (start, end)


def message_text(message: Message) -> str:
    """Returns the text of a message."""
    content = message.get("content")
    return content if isinstance(content, str) else ""


def common_length(prefix: str, text: str) -> int:
    """Returns how many characters two texts begin with in common.

    Args:
        prefix: One text, often the other's beginning.
        text: The other.
    """
    if text.startswith(prefix):
        return len(prefix)
    low, high = 0, min(len(prefix), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if text.startswith(prefix[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _marked_spans(marked: str) -> list[Span]:
    before, *parts = marked.split(_OPEN)
    spans: list[Span] = []
    length = len(before)
    for part in parts:
        inside, _, outside = part.partition(_CLOSE)
        spans.append((length, length + len(inside)))
        length += len(inside) + len(outside)
    return spans


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if found is None:
        found = _json(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        named = {entry["name"]: entry["template"] for entry in found}
        return named.get("default")
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.name} of the model cannot be read: {error}") from error
    return values if isinstance(values, dict) else {}


def _token_text(token: Any) -> str:
    return token.get("content", "") if isinstance(token, dict) else token or ""


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
