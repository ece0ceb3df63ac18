"""Rows in tokens, with what is learnt of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.post_training.spec import RowsSource
from services.post_training.trainer.chat import ChatTokenizer, Encoded, Span, common_length
from services.post_training.trainer.problems import RowError
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.rows import Dialog, Pair, dialog_of, format_of, pair_of, read_rows

IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True)
class EncodedDialog:
    """A dialog in tokens."""

    row: int
    """Number of the row, from 0."""
    ids: list[int]
    """The tokens."""
    labels: list[int]
    """The tokens that are learnt, `IGNORED` at the others."""
    full_length: int
    """Number of tokens before it was cut."""

    @property
    def learnt(self) -> bool:
        """Whether anything is learnt of it; a prompt that fills the sequence leaves nothing."""
        return any(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class EncodedPair:
    """A pair in tokens."""

    row: int
    """Number of the row, from 0."""
    prompt: list[int]
    """Tokens of the prompt."""
    chosen: list[int]
    """Tokens of the better end."""
    rejected: list[int]
    """Tokens of the other end."""
    full_length: int
    """Number of tokens of the longer of both before they were cut."""
    learnt: bool
    """Whether anything is left of both ends."""


class Encoder:
    """Turns rows into tokens, as a recipe says."""

    def __init__(self, recipe: Recipe, tokenizer: ChatTokenizer, max_length: int) -> None:
        """Makes an encoder.

        Args:
            recipe: The training.
            tokenizer: The model's tokenizer.
            max_length: Longest sequence in tokens.
        """
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._max_length = max_length

    def rows(
        self, source: RowsSource, only: Callable[[int], bool] | None = None
    ) -> Iterator[EncodedDialog | EncodedPair]:
        """Yields rows in tokens, in their order; those of which nothing is learnt too.

        Args:
            source: The rows.
            only: Says by a row's number whether it is encoded; the others are checked alone. None: all are.

        Raises:
            RowError: A row does not fit; the message has its number.
        """
        rows_format = ""
        for number, row in enumerate(read_rows(source)):
            if not rows_format:
                rows_format = format_of(source, self._recipe.rows_format, self._recipe.kind, row)
            try:
                parsed = self._parsed(row, rows_format)
                if only is None or only(number):
                    yield self._encoded(number, parsed)
            except RowError as error:
                raise RowError(f"row {number}: {error.message}", row=str(number)) from error

    def _parsed(self, row: Mapping[str, Any], rows_format: str) -> Dialog | Pair:
        if self._recipe.kind == "supervised_fine_tune":
            return dialog_of(row, rows_format)
        return pair_of(row)

    def _encoded(self, number: int, parsed: Dialog | Pair) -> EncodedDialog | EncodedPair:
        return self._dialog(number, parsed) if isinstance(parsed, Dialog) else self._pair(number, parsed)

    def _dialog(self, number: int, dialog: Dialog) -> EncodedDialog:
        if self._recipe.train_on_input:
            text = self._tokenizer.render(dialog.messages, tools=dialog.tools)
            encoded = self._tokenizer.encode(text)
            labels = list(encoded.ids)
        else:
            text, spans = self._tokenizer.spans(dialog.messages, tools=dialog.tools)
            encoded = self._tokenizer.encode(text)
            labels = _labels(encoded, spans[-1:] if dialog.last_only else spans)
        end = self._max_length
        return EncodedDialog(number, encoded.ids[:end], labels[:end], len(encoded.ids))

    def _pair(self, number: int, pair: Pair) -> EncodedPair:
        tokenizer = self._tokenizer
        prompt = tokenizer.render(pair.prompt, tools=pair.tools, prompt=True)
        texts = [tokenizer.render([*pair.prompt, *end], tools=pair.tools) for end in (pair.chosen, pair.rejected)]
        ends = [tokenizer.encode(text) for text in texts]
        # Both ends begin at the same token, whatever the template does to the prompt.
        start = min(common_length(prompt, text) for text in texts)
        before = [sum(1 for _, last in end.offsets if last <= start) for end in ends]
        shared = min(*before, _common(ends[0].ids, ends[1].ids))
        length = max(len(end.ids) for end in ends)
        limit = self._max_length
        learnt = shared < limit and all(len(end.ids) > shared for end in ends)
        return EncodedPair(
            row=number,
            prompt=ends[0].ids[:shared],
            chosen=ends[0].ids[shared:limit],
            rejected=ends[1].ids[shared:limit],
            full_length=length,
            learnt=learnt,
        )


def _labels(encoded: Encoded, spans: list[Span]) -> list[int]:
    labels = [IGNORED] * len(encoded.ids)
    at = 0
    for number, (start, end) in enumerate(encoded.offsets):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        if at == len(spans):
            break
        if end > spans[at][0]:
            labels[number] = encoded.ids[number]
    return labels


def _common(first: list[int], second: list[int]) -> int:
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return number
    return min(len(first), len(second))
