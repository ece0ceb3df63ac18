"""The training loop: a small Llama, Muon and AdamW, a schedule over steps or minutes, checkpoints on the way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from models.recipe.branches import NO_LABEL, Batch, Block, block, hidden_states
from models.recipe.induction import start_with_induction
from models.recipe.tokenizer import END_TOKENS, MAX_CONTEXT
from models.recipe.workers import Workers

_WARM_UP_STEPS = 10


@dataclass(frozen=True)
class Architecture:
    """The shape of the model."""

    width: int = 192
    layers: int = 6
    heads: int = 3
    inner: int = 512


@dataclass(frozen=True)
class Schedule:
    """How long to train and how fast to learn: a short warm-up, a constant rate, and a straight fall at the end."""

    steps: int
    muon_rate: float = 0.01
    adam_rate: float = 3e-3
    fall: float = 0.75
    """Share of the steps over which the rates fall."""
    save_minutes: float = 8.0

    def factor(self, step: int) -> float:
        """What the rates are multiplied with at a step."""
        left = (self.steps - step) / (self.fall * self.steps)
        return max(0.01, min((step + 1) / _WARM_UP_STEPS, left, 1.0))


def build_model(architecture: Architecture, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Returns a fresh model for the tokenizer, initialised from torch's global seed."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.width,
        intermediate_size=architecture.inner,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        max_position_embeddings=MAX_CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(list(END_TOKENS)),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    start_with_induction(model)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=False,
    )
    return model


class Trainer:
    """Trains a model on a stream of batches.

    Args:
        model: The model, on its device.
        schedule: Length and learning rates.
        save: Called now and then, and at the end.
        log: Called with a line of progress.
        workers: The processes that train together, where there are several: each draws batches of its own.
        compiled: Compile the model first: 1.5 times as fast on a CPU, after a minute or two.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        schedule: Schedule,
        save: Callable[[Trainer], None],
        log: Callable[[str], None] = print,
        *,
        workers: Workers | None = None,
        compiled: bool = True,
    ) -> None:
        self.model = model
        self.step = 0
        self._block: Block = torch.compile(block, dynamic=True) if compiled else block
        self._schedule = schedule
        self._save = save
        self._log = log
        self._workers = workers
        matrices = [weight for name, weight in model.model.layers.named_parameters() if weight.ndim == 2]
        others = [weight for weight in model.parameters() if all(weight is not matrix for matrix in matrices)]
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, lr=schedule.muon_rate, momentum=0.95, weight_decay=0.01, ns_steps=4),
            torch.optim.AdamW(others, lr=schedule.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
        )

    @property
    def progress(self) -> float:
        """How much of the run is over, from 0 to 1."""
        return min(1.0, self.step / self._schedule.steps)

    def state(self) -> dict[str, object]:
        """Everything that a later run needs to go on from here."""
        optimizers = [optimizer.state_dict() for optimizer in self._optimizers]
        return {"step": self.step, "model": self.model.state_dict(), "optimizers": optimizers}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a state."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        for optimizer, stored in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)

    def run(self, stream: Iterator[tuple[Batch, ...]]) -> None:
        """Trains to the end of the schedule and saves the result."""
        self.model.train()
        started = saved = time.monotonic()
        seen, losses = 0, 0.0
        while self.progress < 1.0:
            parts = next(stream)
            losses += self._advance(parts)
            seen += sum(batch.tokens for batch in parts)
            if self.step % 50 == 0:
                rate = seen / (time.monotonic() - started)
                self._log(f"step {self.step} loss {losses / 50:.4f} tokens {seen} tokens/s {rate:.0f}")
                losses = 0.0
            if time.monotonic() - saved > self._schedule.save_minutes * 60:
                self._save(self)
                saved = time.monotonic()
        self._save(self)
        self._log(f"done: {self.step} steps, {seen} tokens, {(time.monotonic() - started) / 60:.0f} minutes")

    def _advance(self, parts: Sequence[Batch]) -> float:
        """One optimizer step; returns the mean loss over the labels."""
        factor = self._schedule.factor(self.step)
        for optimizer, rate in zip(self._optimizers, (self._schedule.muon_rate, self._schedule.adam_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        labels = sum(int((batch.labels() != NO_LABEL).sum()) for batch in parts)
        total = 0.0
        for batch in parts:
            loss = self._loss(batch) / labels
            loss.backward()
            total += float(loss.item())
        if self._workers:
            self._workers.mean_gradients(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Sum of the cross entropy where the next token is a label; logits are computed only there."""
        device = self.model.device
        batch = batch.to(device)
        labels = batch.labels()
        wanted = labels != NO_LABEL
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = self.model.lm_head(hidden_states(self.model, batch, self._block)[wanted])
        return torch.nn.functional.cross_entropy(logits.float(), labels[wanted], reduction="sum")


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes the model in bfloat16 beside its tokenizer; a reader sees the old checkpoint or the new one, never a half."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for stale in (fresh, old):
        shutil.rmtree(stale, ignore_errors=True)
    state = {name: weight.detach().to("cpu", torch.bfloat16) for name, weight in model.state_dict().items()}
    state.pop("lm_head.weight", None)
    copy = type(model)(model.config).to(torch.bfloat16)
    copy.load_state_dict(state, strict=False)
    if model.can_generate():
        copy.generation_config = model.generation_config
    copy.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / "model.safetensors").chmod(0o644)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
