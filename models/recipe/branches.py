"""Computes a Llama over dialogs that begin alike: what they share once, and each dialog's own part behind it.

Ten requests over one set of tools cost the set of tools once. A branch sees the beginning and itself, at the positions that it has in the
whole dialog, so the result is that of separate dialogs; a test compares the two. Branches lie one behind the other in lanes, which keeps
the padding small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, rotate_half

NO_LABEL = -100


@dataclass(frozen=True)
class Batch:
    """Trees of token ids, beginnings and lanes padded on the right.

    Labels are the token that follows where the model has to predict it, else `NO_LABEL`.
    """

    beginnings: torch.Tensor
    """Ids, [trees, tokens]."""
    beginning_labels: torch.Tensor
    sizes: torch.Tensor
    """Lengths of the beginnings, [trees]."""
    lanes: torch.Tensor
    """Ids, [lanes, tokens]."""
    lane_labels: torch.Tensor
    positions: torch.Tensor
    """Place of each token of a lane in its dialog, [lanes, tokens]."""
    branches: torch.Tensor
    """Number of the branch that a token of a lane belongs to, -1 for padding, [lanes, tokens]."""
    trees: torch.Tensor
    """The tree of each lane, [lanes]."""

    @property
    def tokens(self) -> int:
        """How many places are computed, padding included."""
        return int(self.beginnings.numel() + self.lanes.numel())

    def labels(self) -> torch.Tensor:
        """The labels of all places, in the order of `hidden_states`."""
        return torch.cat([self.beginning_labels.flatten(), self.lane_labels.flatten()])

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class _Places:
    """What all layers use: the turns of the rotary embedding, and what is added to the attention's scores."""

    cosines: torch.Tensor
    sines: torch.Tensor
    beginnings: torch.Tensor
    """Causal, [tokens, tokens]."""
    shared: torch.Tensor
    """Lanes over their beginnings: hides the padding, [lanes, 1, 1, tokens]."""
    own: torch.Tensor
    """Within a lane: causal, and each branch for itself, [lanes, 1, tokens, tokens]."""


Block = Callable[[LlamaDecoderLayer, torch.Tensor, Batch, _Places], torch.Tensor]


def block(layer: LlamaDecoderLayer, states: torch.Tensor, batch: Batch, places: _Places) -> torch.Tensor:
    """One layer over all places; what is compiled, once for all layers."""
    states = states + _attend(layer.self_attn, layer.input_layernorm(states), batch, places)
    return states + layer.mlp(layer.post_attention_layernorm(states))


def hidden_states(model: LlamaForCausalLM, batch: Batch, run_block: Block = block) -> torch.Tensor:
    """Returns the last hidden states, [places, width]: the beginnings' row by row, then the lanes'."""
    states = model.model.embed_tokens(torch.cat([batch.beginnings.flatten(), batch.lanes.flatten()]))
    places = _places(model, states, batch)
    for layer in model.model.layers:
        states = run_block(layer, states, batch, places)
    return model.model.norm(states)


def _places(model: LlamaForCausalLM, states: torch.Tensor, batch: Batch) -> _Places:
    device = batch.lanes.device
    length, width = (
        torch.arange(batch.beginnings.shape[1], device=device),
        torch.arange(batch.lanes.shape[1], device=device),
    )
    positions = torch.cat([length.repeat(len(batch.beginnings)), batch.positions.flatten()])
    cosines, sines = model.model.rotary_emb(states, positions[None])
    seen = length < batch.sizes[batch.trees][:, None]
    own = (batch.branches[:, None, :] == batch.branches[:, :, None]) & (width <= width[:, None])
    return _Places(
        cosines[0, :, None],
        sines[0, :, None],
        _bias(length <= length[:, None]),
        _bias(seen)[:, None, None],
        _bias(own)[:, None],
    )


def _bias(visible: torch.Tensor) -> torch.Tensor:
    return torch.where(visible, 0.0, -torch.inf)


def _attend(attention: LlamaAttention, states: torch.Tensor, batch: Batch, places: _Places) -> torch.Tensor:
    """Attention by plain products; on a CPU in bfloat16 it is 3 times as fast as the fused one."""
    size = attention.head_dim
    query, key, value = (
        projection(states).unflatten(-1, (-1, size))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = _turned(query, places) * attention.scaling, _turned(key, places)
    shared = batch.beginnings.numel()
    queries, keys, values = (_per_head(part[:shared], batch.beginnings.shape) for part in (query, key, value))
    weights = torch.softmax(queries @ keys.transpose(-1, -2) + places.beginnings, dim=-1)
    first = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(0, 1)
    own_queries, own_keys, own_values = (_per_head(part[shared:], batch.lanes.shape) for part in (query, key, value))
    over_shared = own_queries @ keys[batch.trees].transpose(-1, -2) + places.shared
    over_own = own_queries @ own_keys.transpose(-1, -2) + places.own
    weights = torch.softmax(torch.cat([over_shared, over_own], dim=-1), dim=-1).to(values.dtype)
    length = batch.beginnings.shape[1]
    second = weights[..., :length] @ values[batch.trees] + weights[..., length:] @ own_values
    joined = torch.cat([first, second.transpose(1, 2).flatten(0, 1)])
    return attention.o_proj(joined.flatten(1))


def _turned(states: torch.Tensor, places: _Places) -> torch.Tensor:
    return (states * places.cosines + rotate_half(states) * places.sines).to(states.dtype)


def _per_head(states: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """[rows * tokens, heads, size] as [rows, heads, tokens, size]."""
    return states.unflatten(0, tuple(shape)).transpose(1, 2)
