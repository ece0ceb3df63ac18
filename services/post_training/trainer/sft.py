"""Supervised fine-tuning, and an adapter on the output layer, which TRL's fused loss would leave out."""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import FusedCausalLMOutput

from services.post_training.trainer.batches import PackedCollator, with_rows
from services.post_training.trainer.encoding import IGNORED
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.training import JobTrainer


class SupervisedTrainer(JobTrainer, SFTTrainer):  # type: ignore[misc] # TRL has no types here
    """TRL's trainer on rows that are encoded."""


def make(
    recipe: Recipe, model: Any, config: dict[str, Any], max_length: int, rest: dict[str, Any]
) -> SupervisedTrainer:
    """Makes the trainer.

    Args:
        recipe: The training.
        model: The model.
        config: Arguments of TRL's configuration.
        max_length: Longest sequence in tokens.
        rest: What the trainer takes beside model, configuration and batches.
    """
    # Rows are encoded, cut and packed by now.
    args = SFTConfig(**config, max_length=max_length, dataset_kwargs={"skip_prepare_dataset": True})
    pad = rest["processing_class"].pad_token_id
    collator: Any = PackedCollator(pad) if recipe.packed else DataCollatorForLanguageModeling(pad_token_id=pad)
    with output_adapter(recipe, model):
        return SupervisedTrainer(recipe=recipe, model=model, args=args, data_collator=with_rows(collator), **rest)


@contextmanager
def output_adapter(recipe: Recipe, model: Any) -> Iterator[None]:
    """Lets a trainer of TRL's be made for an adapter on the output layer.

    TRL multiplies hidden states by the output layer's weight, for speed, and refuses an adapter there, which that would leave out. Such
    an adapter is hidden from that check, and the output layer itself is called instead.

    Args:
        recipe: The training.
        model: The model, with or without the adapter.
    """
    if recipe.lora is None or not recipe.lora.output:
        yield
        return
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    original = base.forward
    find = base.get_output_embeddings
    base.get_output_embeddings = lambda: getattr(find(), "base_layer", find())
    try:
        yield
    finally:
        del base.get_output_embeddings
    base.forward = types.MethodType(_forward_through(original), base)


def _forward_through(original: Any) -> Any:
    def forward(_: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **more: Any) -> Any:
        if not fused_lm_head:
            return original(*args, **more) if labels is None else original(*args, labels=labels, **more)
        logits = original(*args, **(more | {"use_cache": False})).logits[:, :-1].float()
        labels = labels[:, 1:]
        mask = labels != IGNORED
        every = functional.log_softmax(logits, dim=-1)
        chosen = every.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1).masked_fill(~mask, 0.0)
        with torch.no_grad():
            entropy = -(every.exp() * every).sum(-1).masked_fill(~mask, 0.0)
            is_top1 = (logits.argmax(-1) == labels) & mask
            mean_logits = logits.mean(-1).masked_fill(~mask, 0.0)
        return FusedCausalLMOutput(
            loss=-chosen.sum() / mask.sum().clamp(min=1),
            log_probs=chosen,
            entropy=entropy,
            mean_logits=mean_logits,
            is_top1=is_top1,
            label_mask=mask,
        )

    return forward
