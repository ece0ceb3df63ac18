"""Makes a reward model of a chat model: the answers to a conversation are compared, and the first wrong words of the worse ones are shown.

The conversation is computed once, and each answer after it sees the conversation and itself alone. Three losses: the better answer has the
higher score (Bradley and Terry, 1952); a head in the middle, dropped at the end, tells where an answer goes wrong, which teaches to look
at every word; and the better answer stays the one that the model would give, so that it forgets nothing that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random

import torch
from torch.nn import functional
from transformers import (
    AttentionInterface,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerBase,
)

from models.recipe.optimization import Losses
from models.recipe.reward_pairs import Ranked
from models.recipe.reward_prompt import judged_ids

_ATTENTION = "caravan_segments"
_ADDED_LAYERS = 2
_UNKNOWN = -1.0
"""Mark of a token that is neither right nor wrong."""
_POOL = 384
_CENTRED = 0.01
"""Weight of scores around zero, which the comparison leaves open."""
_CLOSENESS = 0.3
"""Weight of staying a chat model."""


@dataclass(frozen=True)
class Row:
    """A conversation with its answers, as token ids: what they all begin with, and what follows in each; the better answer is the first."""

    shared: list[int]
    tails: list[list[int]]
    faults: list[list[float]]
    """For each token of a tail: 1 where the answer goes wrong, 0 where it is right, -1 where neither is known."""
    answered: int
    """Tokens of the shared part that are the answers' own already."""

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.shared) + sum(map(len, self.tails))


def row_of(drawn: Ranked, tokenizer: PreTrainedTokenizerBase) -> Row:
    """Encodes a conversation and its answers."""
    dialog = drawn.dialog
    answered = [
        judged_ids(replace(dialog, turns=(*dialog.turns, turn)), tokenizer) for turn in (drawn.better, *drawn.worse)
    ]
    size = _common(answered)
    tails = [one[size:] for one in answered]
    asked = len(judged_ids(dialog, tokenizer, unanswered=True))
    return Row(answered[0][:size], tails, [_faults(tails[0], tail) for tail in tails], max(0, size - asked))


def _common(sequences: Sequence[list[int]]) -> int:
    """The size of the longest beginning that all share, short of the whole of any."""
    first, last = min(sequences), max(sequences)
    size = next(
        (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first) - 1
    )
    return min(size, len(first) - 1)


def _faults(better: list[int], worse: list[int]) -> list[float]:
    """Marks the tokens from the first that differs to where the two answers run on alike; what comes after them is open."""
    if worse == better:
        return [0.0] * len(worse)
    start = next((place for place, pair in enumerate(zip(better, worse, strict=False)) if pair[0] != pair[1]), 0)
    behind = 0
    while behind < min(len(better), len(worse)) - start and better[-1 - behind] == worse[-1 - behind]:
        behind += 1
    end = max(start + 1, len(worse) - behind)
    return [0.0] * start + [1.0] * (end - start) + [_UNKNOWN] * (len(worse) - end)


def batches(
    draw: Callable[[], Ranked], tokenizer: PreTrainedTokenizerBase, rng: Random, *, tokens: int, longest: int
) -> Iterator[list[Row]]:
    """Yields batches for ever, rows of like length together.

    Args:
        draw: Makes one conversation with its answers.
        tokenizer: Encodes it.
        rng: Shuffles the batches of a pool.
        tokens: Size of a batch, padding included.
        longest: Longer rows are dropped.
    """
    while True:
        pool = sorted(
            (row for row in (row_of(draw(), tokenizer) for _ in range(_POOL)) if row.length <= longest),
            key=lambda row: row.length,
        )
        groups: list[list[Row]] = [[]]
        for row in pool:
            if (len(groups[-1]) + 1) * row.length > tokens and groups[-1]:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from groups


def _attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention by plain products over [rows, heads, tokens, size], with what may be seen as an added [rows, 1, tokens, tokens]."""
    scores = (query * scaling) @ key.transpose(-1, -2)
    return (torch.softmax(scores + mask, dim=-1) @ value).transpose(1, 2), None


AttentionInterface.register(_ATTENTION, _attention)


class RewardTraining:
    """A reward model in the making.

    Args:
        base: Folder of the chat model that it starts from. Layers are added on top of its own, which tell nothing at first.
        device: Where to train.
    """

    def __init__(self, base: Path, device: str) -> None:
        chat = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = type(chat.config)(
            **{
                **chat.config.to_dict(),
                "architectures": ["LlamaForSequenceClassification"],
                "num_hidden_layers": chat.config.num_hidden_layers + _ADDED_LAYERS,
                "id2label": {0: "score"},
                "label2id": {"score": 0},
                "tie_word_embeddings": False,
                "use_cache": False,
            }
        )
        self.model = LlamaForSequenceClassification(config).to(device)
        self.model.model.load_state_dict(chat.model.state_dict(), strict=False)
        self._known = chat.config.num_hidden_layers
        self._chat_norm = chat.model.norm.to(device)
        self._fault_head = torch.nn.Linear(config.hidden_size, 1).to(device)
        with torch.no_grad():
            for layer in self.model.model.layers[self._known :]:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
        self.model.set_attn_implementation(_ATTENTION)

    @property
    def others(self) -> list[torch.nn.Parameter]:
        """All weights outside the layers."""
        body = self.model.model
        return [
            *body.embed_tokens.parameters(),
            *body.norm.parameters(),
            *self.model.score.parameters(),
            *self._chat_norm.parameters(),
            *self._fault_head.parameters(),
        ]

    def losses(self, rows: Sequence[Row]) -> Losses:
        """The losses of a batch."""
        packed = _packed(rows).to(self.model.device)
        chat, middle, scores = self._judged(packed)
        better, worse = scores[packed.better], scores[packed.worse]
        with torch.autocast(scores.device.type, dtype=torch.bfloat16):
            said = functional.linear(
                self._chat_norm(chat.flatten(0, 1)[packed.said_from]), self.model.model.embed_tokens.weight
            )
            wrong = self._fault_head(middle).squeeze(-1)
        known = packed.faults >= 0
        return {
            "preference": -functional.logsigmoid(better - worse).mean(),
            "centre": _CENTRED * scores.square().mean(),
            "fault": functional.binary_cross_entropy_with_logits(wrong.float()[known], packed.faults[known]),
            "said": _CLOSENESS * functional.cross_entropy(said.float(), packed.said),
        }

    def margins(self, rows: Sequence[Row]) -> list[float]:
        """By how much each row's better answer beats the best of its worse ones."""
        packed = _packed(rows)
        with torch.no_grad():
            scores = self._judged(packed.to(self.model.device))[2].cpu()
        found: dict[int, float] = {}
        for better, worse in zip(packed.better.tolist(), packed.worse.tolist(), strict=True):
            margin = float(scores[better] - scores[worse])
            found[better] = min(found.get(better, margin), margin)
        return list(found.values())

    def _judged(self, packed: _Packed) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What leaves the chat model's layers, the layers before the last, and the scores."""
        with torch.autocast(self.model.device.type, dtype=torch.bfloat16):
            chat, middle, last = self._hidden(packed.ids, packed.places, _bias(packed.segments))
            return chat, middle, self.model.score(last.flatten(0, 1)[packed.ends]).squeeze(-1).float()

    def _hidden(
        self, ids: torch.Tensor, places: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What leaves the chat model's layers, the layers before the last, and the last."""
        body = self.model.model
        hidden = body.embed_tokens(ids)
        turned = body.rotary_emb(hidden, position_ids=places)
        between = []
        for layer in body.layers:
            hidden = layer(hidden, attention_mask=bias, position_embeddings=turned, position_ids=places)
            between.append(hidden)
        return between[self._known - 1], between[-2], body.norm(hidden)


@dataclass(frozen=True)
class _Packed:
    """A batch as tensors. The first four are [rows, tokens]; the others count tokens or answers through the whole batch."""

    ids: torch.Tensor
    places: torch.Tensor
    """Position of each token in its own text."""
    segments: torch.Tensor
    """0 in the shared beginning, the answer's number in an answer, -1 in the padding."""
    faults: torch.Tensor
    ends: torch.Tensor
    """Last token of each answer."""
    better: torch.Tensor
    """For each comparison the better answer,"""
    worse: torch.Tensor
    """and the worse one."""
    said_from: torch.Tensor
    """Tokens whose next one is the better answer's."""
    said: torch.Tensor
    """Those next ones."""

    def to(self, device: torch.device) -> _Packed:
        """The batch on a device."""
        return _Packed(*(getattr(self, part.name).to(device) for part in fields(self)))


def _packed(rows: Sequence[Row]) -> _Packed:
    shape = len(rows), max(row.length for row in rows)
    ids, places = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    segments, faults = torch.full(shape, -1), torch.full(shape, _UNKNOWN)
    ends: list[int] = []
    better: list[int] = []
    worse: list[int] = []
    said_from: list[int] = []
    for index, row in enumerate(rows):
        at, size = index * shape[1], len(row.shared)
        _put(ids[index], 0, row.shared)
        _put(places[index], 0, range(size))
        _put(segments[index], 0, [0] * size)
        _put(faults[index], size - row.answered, [0.0] * row.answered)
        said_from += range(at + size - row.answered - 1, at + size + len(row.tails[0]) - 1)
        worse += range(len(ends) + 1, len(ends) + len(row.tails))
        better += [len(ends)] * (len(row.tails) - 1)
        inside = size
        for number, (tail, wrong) in enumerate(zip(row.tails, row.faults, strict=True), start=1):
            _put(ids[index], inside, tail)
            _put(places[index], inside, range(size, size + len(tail)))
            _put(segments[index], inside, [number] * len(tail))
            _put(faults[index], inside, wrong)
            inside += len(tail)
            ends.append(at + inside - 1)
    said = ids.flatten()[torch.tensor(said_from) + 1]
    at_end, is_better, is_worse, before = (torch.tensor(some) for some in (ends, better, worse, said_from))
    return _Packed(ids, places, segments, faults, at_end, is_better, is_worse, before, said)


def _put(row: torch.Tensor, start: int, values: Sequence[float]) -> None:
    row[start : start + len(values)] = torch.tensor(values)


def _bias(segments: torch.Tensor) -> torch.Tensor:
    """Added to the attention's scores, [rows, 1, tokens, tokens]: a token sees the shared beginning and its own answer up to itself."""
    width = segments.shape[1]
    own = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    seen = own & torch.ones((width, width), dtype=torch.bool, device=segments.device).tril()
    return torch.zeros(seen.shape, dtype=torch.bfloat16, device=seen.device).masked_fill(~seen, -torch.inf)[:, None]
