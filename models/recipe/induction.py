"""Starts a model with an induction circuit, so that it copies from the prompt before it has learnt anything.

A model learns to copy by two attention heads that work together (Olsson et al., "In-context Learning and Induction Heads", 2022): one tells
each token what stood before it, a later one looks for places where the present token stood before and repeats what followed.
Gradient descent takes millions of tokens to find the pair. Here it is written into the weights of the first two layers; training is free
to change it. The result is an ordinary Llama checkpoint.

The residual stream starts out divided: dimension 0 is constant, the next ones hold the token, the last 64 the two tokens before it.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

_EMBEDDING_SPREAD = 0.1
_CONSTANT = 0.5
_NEIGHBOUR_SHARPNESS = 1.85
_TOKEN_SHARPNESS = 2.2
_CONTEXT_SHARPNESS = 1.6
_COPY_STRENGTH = 0.2
_FAST_PAIRS = 6
"""Pairs of the rotary embedding that turn fast enough to tell neighbours apart."""
_SLOW_PAIR = 14
"""First pair that turns so slowly that tokens hundreds of places apart still match."""
_CONTEXT_SIZE = 14
"""Dimensions of the match that compare the token before; the other slow ones compare the token itself."""


def start_with_induction(model: LlamaForCausalLM) -> None:
    """Writes the circuit into a freshly initialised model.

    Args:
        model: At least two layers, heads of size 64, tied embeddings, width above 128. Random parts come from torch's global seed.
    """
    size, width = model.config.head_dim, model.config.hidden_size
    identity = width - size - 1
    with torch.no_grad():
        _divide_embeddings(model, identity)
        projection = torch.linalg.qr(torch.randn(identity, size))[0].T
        one_back = 1 + identity
        two_back = one_back + 2 * (size // 2 - _SLOW_PAIR)
        _write_neighbour_head(model, projection[: two_back - one_back], head=0, distance=1, target=one_back)
        _write_neighbour_head(model, projection[: width - two_back], head=1, distance=2, target=two_back)
        for head in range(2):
            _write_match(model, projection, head, one_back, two_back)
            _write_copy(model, head, range(head * size, min((head + 1) * size, identity)))


def _divide_embeddings(model: LlamaForCausalLM, identity: int) -> None:
    weight = model.get_input_embeddings().weight
    torch.nn.init.normal_(weight, std=_EMBEDDING_SPREAD)
    weight[:, 0] = _CONSTANT
    weight[:, 1 + identity :] *= 0.1


def _write_neighbour_head(
    model: LlamaForCausalLM, projection: torch.Tensor, *, head: int, distance: int, target: int
) -> None:
    """Layer 0: rotary angles alone make a token attend to the one `distance` before; its identity goes to dimensions from `target` on."""
    attention = model.model.layers[0].self_attn
    size, half = model.config.head_dim, model.config.head_dim // 2
    rows = slice(head * size, (head + 1) * size)
    angles = distance * model.model.rotary_emb.inv_freq[:_FAST_PAIRS]
    query, key = torch.zeros(size), torch.zeros(size)
    key[:_FAST_PAIRS] = 1.0
    query[:_FAST_PAIRS] = torch.cos(angles)
    query[half : half + _FAST_PAIRS] = -torch.sin(angles)
    attention.q_proj.weight[rows, 0] = _NEIGHBOUR_SHARPNESS * query
    attention.k_proj.weight[rows, 0] = _NEIGHBOUR_SHARPNESS * key
    attention.v_proj.weight[rows] = 0.0
    attention.o_proj.weight[:, rows] = 0.0
    for row, direction in enumerate(projection):
        attention.v_proj.weight[head * size + row, 1 : 1 + len(direction)] = direction
        attention.o_proj.weight[target + row, head * size + row] = _EMBEDDING_SPREAD


def _write_match(model: LlamaForCausalLM, projection: torch.Tensor, head: int, one_back: int, two_back: int) -> None:
    """Layer 1: a token attends to places whose one and two tokens before are itself and the token before it."""
    attention = model.model.layers[1].self_attn
    size, half = model.config.head_dim, model.config.head_dim // 2
    slow = [pair + part for pair in range(_SLOW_PAIR, half) for part in (0, half)]
    attention.k_proj.weight[[head * size + row for row in slow]] = 0.0
    for index, row in enumerate(slow):
        query, key = attention.q_proj.weight[head * size + row], attention.k_proj.weight[head * size + row]
        if index < _CONTEXT_SIZE:
            query[one_back + index] = _CONTEXT_SHARPNESS
            key[two_back + index] = _CONTEXT_SHARPNESS
        else:
            query[1 : 1 + projection.shape[1]] = _TOKEN_SHARPNESS * projection[index]
            key[one_back + index] = _TOKEN_SHARPNESS


def _write_copy(model: LlamaForCausalLM, head: int, part: range) -> None:
    """Layer 1: what stands at the place found becomes the prediction; each head carries a part of the dimensions."""
    attention = model.model.layers[1].self_attn
    first = head * model.config.head_dim
    rows = slice(first, first + model.config.head_dim)
    attention.v_proj.weight[rows] = 0.0
    attention.o_proj.weight[:, rows] = 0.0
    for row, dimension in enumerate(part, start=first):
        attention.v_proj.weight[row, 1 + dimension] = 1.0
        attention.o_proj.weight[1 + dimension, row] = _COPY_STRENGTH
