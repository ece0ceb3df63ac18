"""Attention row by row, against attention over the whole sequence with its mask."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from services.post_training.trainer.packed_attention import attention, rows_of


def mask_of(*sequences: list[int]) -> torch.Tensor:
    """The mask of sequences, from the lengths of their rows."""
    masks = []
    for lengths in sequences:
        row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        masks.append((row[:, None] == row[None, :]).tril())
    return torch.stack(masks)[:, None]


def test_the_rows_of_a_mask_are_found() -> None:
    assert rows_of(mask_of([3, 1, 4], [8])) == [[(0, 3), (3, 4), (4, 8)], [(0, 8)]]


def test_a_mask_of_anything_else_has_no_rows() -> None:
    window = mask_of([8]).triu(-2)
    padded = mask_of([8]).clone()
    padded[..., :2] = False
    bidirectional = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert [rows_of(mask) for mask in (window, padded, bidirectional, mask_of([8]).float())] == [None] * 4


@pytest.mark.parametrize("key_heads", [4, 2])
def test_row_by_row_is_the_same_as_at_once(key_heads: int) -> None:
    module = torch.nn.Module()
    module.num_key_value_groups = 4 // key_heads  # type: ignore[assignment]
    mask = mask_of([5, 1, 10], [16])
    torch.manual_seed(0)
    given = [torch.randn(2, heads, 16, 8, requires_grad=True) for heads in (4, key_heads, key_heads)]
    found, _ = attention(module, *given, mask, scaling=0.3)
    wanted = functional.scaled_dot_product_attention(*given, attn_mask=mask, scale=0.3, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(found)
    for one, other in pairwise(
        torch.stack([gradient.flatten() for gradient in torch.autograd.grad((out * weight).sum(), given[:1])])
        for out in (found, wanted)
    ):
        torch.testing.assert_close(one, other)


def test_what_is_not_packed_goes_the_usual_way() -> None:
    module = torch.nn.Module()
    torch.manual_seed(0)
    given = [torch.randn(1, 2, 8, 4) for _ in range(3)]
    window = mask_of([8]).triu(-2)
    found, _ = attention(module, *given, window)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(*given, attn_mask=window).transpose(1, 2))
