"""Trains a small Llama to answer prompts that begin alike: what the rows of a batch have in common is computed once.

The loss counts on the answers alone. The guard and the reward model are trained by it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
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

from models.recipe.tokenizer import END_TOKENS, MAX_CONTEXT

_WARM_UP_STEPS = 30
_REPORTED = 50
_ATTENTION = "caravan_shared_beginning"


@dataclass(frozen=True)
class Shape:
    """The shape of the model."""

    width: int = 192
    layers: int = 4
    heads: int = 3
    inner: int = 512


@dataclass(frozen=True)
class Pace:
    """How long to train and how fast to learn."""

    steps: int
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    others: float = 1.0
    """Weight of everything but the answers' first tokens."""


@dataclass(frozen=True)
class Row:
    """A prompt and the answer to learn, as token ids; the answer ends with the end of the turn."""

    prompt: list[int]
    answer: list[int]
    learnt: tuple[int, int] = (0, 0)
    """Places of the prompt, from and to, whose tokens are learnt as well, each from those before it."""


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


def train(
    model: LlamaForCausalLM, pace: Pace, batches: Iterator[Sequence[Row]], log: Callable[[str], None] = print
) -> None:
    """Trains the model: Muon for the matrices, AdamW for the rest, a warm-up and then a cosine.

    Args:
        model: The model, on its device.
        pace: Length and learning rates.
        batches: Batches without end.
        log: Called with a line of progress.
    """
    model.train()
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in chosen]
    optimizers: tuple[tuple[torch.optim.Optimizer, float], ...] = (
        (torch.optim.Muon(matrices, lr=pace.muon_rate, momentum=0.95, weight_decay=0.01), pace.muon_rate),
        (torch.optim.AdamW(others, lr=pace.adam_rate, betas=(0.9, 0.98), weight_decay=0.0), pace.adam_rate),
    )
    started, losses = time.monotonic(), torch.zeros(2)
    for step in range(pace.steps):
        factor = min((step + 1) / _WARM_UP_STEPS, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / pace.steps)))
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        first, others = _losses(model, next(batches))
        (first + pace.others * others).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses += torch.stack((first.detach(), others.detach())).cpu()
        if (step + 1) % _REPORTED == 0:
            decided, told = (losses / _REPORTED).tolist()
            spent = (time.monotonic() - started) / 60
            log(f"step {step + 1}/{pace.steps} loss {decided:.4f} then {told:.4f} {spent:.1f} minutes")
            losses.zero_()


def _losses(model: LlamaForCausalLM, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross entropy of the answers' first tokens, which decide, and of all others that are learnt."""
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
        learnt = slice(*(max(0, place - len(shared)) for place in row.learnt))
        wanted[index, learnt] = True
    ids, wanted, firsts = ids.to(device), wanted[:, 1:].to(device), firsts[:, 1:].to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        cache = DynamicCache(config=model.config)
        if shared:
            model.model(input_ids=torch.tensor([shared], device=device), past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(rows))
        hidden = model.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).last_hidden_state
        logits = model.lm_head(hidden[wanted])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][wanted], reduction="none")
    decides = firsts[wanted]
    return losses[decides].mean(), losses[~decides].mean()


def _common_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """The longest beginning that all prompts share, short of the whole of any."""
    first, last = min(prompts), max(prompts)
    size = next((place for place, token in enumerate(first) if token != last[place]), len(first))
    return first[: min(size, len(first) - 1)]
