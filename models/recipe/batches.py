"""Turns dialogs into batches of token ids: dialogs that begin alike share their beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from models.recipe.branches import NO_LABEL, Batch
from models.recipe.dialog import Dialog
from models.recipe.render import render

_POOL = 160
_PARTS = 3
"""Batches of a step."""
_START = "<|begin_of_text|>"
_HEADER_END = "<|end_header_id|>"


@dataclass(frozen=True)
class Example:
    """Token ids, and for each place the token that follows where the model has to predict it, else `NO_LABEL`."""

    ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Tree:
    """Dialogs that begin alike: what they share, and how each goes on."""

    beginning: Example
    branches: tuple[Example, ...]


class Encoder:
    """Encodes dialogs and marks the assistant's turns."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._opening = tokenizer.encode("<|start_header_id|>assistant<|end_header_id|>\n\n").ids
        self._ends = {_required_id(tokenizer, token) for token in ("<|eot_id|>", "<|eom_id|>")}
        self.pad_id = _required_id(tokenizer, "<|finetune_right_pad_id|>")

    def tree(self, dialogs: Sequence[Dialog]) -> Tree:
        """Encodes dialogs of one beginning.

        They part behind the last header that all of them share, or behind the start: a special token, which cuts the text for the tokenizer
        as well. What comes there is nothing that the model has to predict.
        """
        texts = [render(dialog) for dialog in dialogs]
        # Of all texts, the first and the last in order differ the soonest.
        found = _common(min(texts), max(texts)).rfind(_HEADER_END)
        cut = found + len(_HEADER_END) if found >= 0 else len(_START)
        beginning: list[int] = self._tokenizer.encode(texts[0][:cut]).ids
        rests: list[list[int]] = [self._tokenizer.encode(text[cut:]).ids for text in texts]
        branches = []
        for rest in rests:
            whole = self._example([*beginning, *rest])
            branches.append(Example(rest, whole.labels[len(beginning) :]))
        return Tree(self._example(beginning), tuple(branches))

    def _example(self, ids: list[int]) -> Example:
        """The assistant's tokens are labels, the closing one included."""
        labels = [NO_LABEL] * len(ids)
        inside, size = False, len(self._opening)
        for index, token in enumerate(ids):
            if inside:
                labels[index - 1] = token
            opened = ids[max(0, index + 1 - size) : index + 1] == self._opening
            inside = opened or (inside and token not in self._ends)
        return Example(ids, labels)

    def batch(self, trees: Sequence[Tree]) -> Batch:
        """Puts trees together, the branches in lanes as long as the longest."""
        beginnings, labels = self._padded([tree.beginning for tree in trees])
        width = _lane_width(trees)
        lanes = [(index, lane) for index, tree in enumerate(trees) for lane in _lanes(tree.branches, width)]
        own, own_labels = self._padded([_joined(lane) for _, lane in lanes])
        positions, branches = torch.zeros_like(own), torch.full_like(own, -1)
        for row, (index, lane) in enumerate(lanes):
            start = 0
            for number, branch in enumerate(lane):
                places = slice(start, start := start + len(branch.ids))
                positions[row, places] = len(trees[index].beginning.ids) + torch.arange(len(branch.ids))
                branches[row, places] = number
        sizes = torch.tensor([len(tree.beginning.ids) for tree in trees])
        owners = torch.tensor([index for index, _ in lanes])
        return Batch(beginnings, labels, sizes, own, own_labels, positions, branches, owners)

    def _padded(self, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(example.ids) for example in examples)
        ids = torch.full((len(examples), width), self.pad_id)
        labels = torch.full((len(examples), width), NO_LABEL)
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
            labels[row, : len(example.ids)] = torch.tensor(example.labels)
        return ids, labels


def _required_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        message = f"the tokenizer lacks {token}"
        raise ValueError(message)
    return found


def _common(first: str, last: str) -> str:
    size = next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first)
    )
    return first[:size]


def _lane_width(trees: Sequence[Tree]) -> int:
    return max(len(branch.ids) for tree in trees for branch in tree.branches)


def _lanes(branches: Sequence[Example], width: int) -> list[list[Example]]:
    """Lays branches one behind the other, long ones first, each where there is room."""
    lanes: list[tuple[int, list[Example]]] = []
    for branch in sorted(branches, key=lambda branch: -len(branch.ids)):
        for place, (used, lane) in enumerate(lanes):
            if used + len(branch.ids) <= width:
                lane.append(branch)
                lanes[place] = (used + len(branch.ids), lane)
                break
        else:
            lanes.append((len(branch.ids), [branch]))
    return [lane for _, lane in lanes]


def _joined(lane: Sequence[Example]) -> Example:
    return Example([token for item in lane for token in item.ids], [label for item in lane for label in item.labels])


def batches(
    draw: Callable[[], Sequence[Dialog]], encoder: Encoder, rng: Random, *, tokens: int, longest: int
) -> Iterator[tuple[Batch, ...]]:
    """Yields the batches of one step after another, for ever.

    Trees of like length go together, which keeps the padding small; a step takes several such batches, so that it sees some of everything.

    Args:
        draw: Makes dialogs that begin alike.
        encoder: Encodes them.
        rng: Shuffles the batches of a pool.
        tokens: About the size of a step, without padding.
        longest: Trees with a longer dialog are dropped.
    """
    while True:
        pool = [tree for tree in (encoder.tree(draw()) for _ in range(_POOL)) if _longest(tree) <= longest]
        pool.sort(key=lambda tree: (len(tree.beginning.ids), _lane_width([tree])))
        groups: list[list[Tree]] = [[]]
        for tree in pool:
            if groups[-1] and sum(map(_size, groups[-1])) + _size(tree) > tokens / _PARTS:
                groups.append([])
            groups[-1].append(tree)
        rng.shuffle(groups)
        for first in range(0, len(groups) - _PARTS + 1, _PARTS):
            yield tuple(encoder.batch(group) for group in groups[first : first + _PARTS])


def _size(tree: Tree) -> int:
    return len(tree.beginning.ids) + sum(len(branch.ids) for branch in tree.branches)


def _longest(tree: Tree) -> int:
    return len(tree.beginning.ids) + _lane_width([tree])
