"""Trains a small Llama to answer prompts that begin alike: what the rows of a batch have in common is computed once.

The loss counts on the answers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    AttentionInterface,
    DynamicCache,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from models.recipe.optimization import Losses
from models.recipe.tokenizer import END_TOKENS, MAX_CONTEXT

_ATTENTION = "caravan_shared_beginning"


@dataclass(frozen=True)
class Shape:
    """The shape of the model."""

    width: int = 192
    layers: int = 4
    heads: int = 3
    inner: int = 512


@dataclass(frozen=True)
class Row:
    """A prompt and the answer to learn, as token ids; the answer ends with the end of the turn."""

    prompt: list[int]
    answer: list[int]
    weight: float = 1.0
    """How much the answer's first token counts, which decides."""


def build_classifier(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Returns a fresh model for the tokenizer, initialised from torch's global seed."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=MAX_CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(list(END_TOKENS)),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(_ATTENTION)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=False,
    )
    return model


def _attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention by plain products over [rows, heads, tokens, size]; there may be more keys than queries, before them."""
    asked, seen = query.shape[-2], key.shape[-2]
    bias = torch.full((asked, seen), -torch.inf, dtype=query.dtype, device=query.device).triu(seen - asked + 1)
    scores = (query * scaling) @ key.transpose(-1, -2)
    return (torch.softmax(scores.add_(bias), dim=-1) @ value).transpose(1, 2), None


AttentionInterface.register(_ATTENTION, _attention)


def losses(model: LlamaForCausalLM, rows: Sequence[Row]) -> Losses:
    """Mean cross entropy of the answers' first tokens, which decide, and of all others."""
    device = model.device
    shared = _common_beginning([row.prompt for row in rows])
    own = [row.prompt[len(shared) :] + row.answer for row in rows]
    longest = max(map(len, own))
    ids = torch.full((len(rows), longest), model.config.pad_token_id, dtype=torch.long)
    wanted = torch.zeros((len(rows), longest), dtype=torch.bool)
    firsts = torch.zeros((len(rows), longest), dtype=torch.bool)
    for index, (row, tokens) in enumerate(zip(rows, own, strict=True)):
        ids[index, : len(tokens)] = torch.tensor(tokens)
        wanted[index, len(tokens) - len(row.answer) : len(tokens)] = True
        firsts[index, len(tokens) - len(row.answer)] = True
    weights = torch.tensor([row.weight for row in rows], device=device)
    ids, wanted, firsts = ids.to(device), wanted[:, 1:].to(device), firsts[:, 1:].to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        cache = DynamicCache(config=model.config)
        if shared:
            model.model(input_ids=torch.tensor([shared], device=device), past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(rows))
        hidden = model.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).last_hidden_state
        logits = model.lm_head(hidden[wanted])
    errors = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][wanted], reduction="none")
    decides = firsts[wanted]
    return {"decided": (errors[decides] * weights).sum() / weights.sum(), "told": errors[~decides].mean()}


def _common_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """The longest beginning that all prompts share, short of the whole of any."""
    first, last = min(prompts), max(prompts)
    size = next((place for place, token in enumerate(first) if token != last[place]), len(first))
    return first[: min(size, len(first) - 1)]
