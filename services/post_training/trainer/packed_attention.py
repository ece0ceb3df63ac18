"""Attention over rows that share a sequence, row by row.

The mask of a packed sequence is a row of triangles on the diagonal. Attention over the whole sequence multiplies all of the square and
throws most of it away; row by row it multiplies what counts, and each row is plain causal attention, for which kernels are fastest.
"""

import weakref
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PACKED = "caravan_packed"
"""Name of this attention, for `set_attn_implementation`."""

Rows = list[list[tuple[int, int]]]
"""Of each sequence the rows: the first token of each, and the one after its last."""


class _Latest:
    """The rows of the mask that was last looked at: all layers of a model are given the same one."""

    def __init__(self) -> None:
        self._mask: weakref.ref[torch.Tensor] | None = None
        self._rows: Rows | None = None

    def rows(self, mask: torch.Tensor) -> Rows | None:
        if self._mask is None or self._mask() is not mask:
            self._mask, self._rows = weakref.ref(mask), rows_of(mask)
        return self._rows


_latest = _Latest()


def register() -> None:
    """Makes this attention known to Transformers."""
    AttentionInterface.register(PACKED, attention)
    AttentionMaskInterface.register(PACKED, sdpa_mask)


def rows_of(mask: torch.Tensor) -> Rows | None:
    """Returns the rows that a mask keeps apart; None when it is anything but causal attention within rows (a sliding window, padding).

    Args:
        mask: What each token sees: (sequences, 1, tokens, tokens), true where it does.
    """
    if mask.dtype != torch.bool or mask.dim() != 4 or mask.shape[1] != 1 or mask.shape[2] != mask.shape[3]:
        return None
    seen = mask[:, 0]
    places = torch.arange(seen.shape[-1], device=seen.device)
    first = seen.byte().argmax(-1)
    begins = first == places
    latest = torch.where(begins, places, 0).cummax(-1).values
    # Each token sees all from the beginning of its row up to itself, and nothing else.
    if not bool(((first == latest) & (seen.sum(-1) == places - first + 1)).all()):
        return None
    ends = seen.shape[-1]
    return [list(pairwise([*sequence.nonzero().flatten().tolist(), ends])) for sequence in begins]


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attends; see Transformers' `sdpa_attention_forward`, which does what is no packed sequence."""
    rows = _latest.rows(attention_mask) if attention_mask is not None else None
    if rows is None or options.get("position_bias") is not None:
        whole: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return whole
    sequences = []
    for number, found in enumerate(rows):
        one = slice(number, number + 1)
        parts = [
            sdpa_attention_forward(
                module, query[one, :, start:end], key[one, :, start:end], value[one, :, start:end], None, **options
            )[0]
            for start, end in found
        ]
        sequences.append(torch.cat(parts, dim=1))
    return torch.cat(sequences), None
