"""Direct preference optimisation.

`kto_pair` is KTO's loss over pairs (arXiv 2402.01306), as TRL once had it. The first form's numbers are mapped in `recipe`: label smoothing
is conservative DPO's (https://ericmitchell.ai/cdpo.pdf), the share of the chosen answers' likelihood is RPO's alpha (arXiv 2404.19733).
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import functional
from trl import DPOConfig, DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import use_adapter

from services.post_training.trainer.batches import with_rows
from services.post_training.trainer.encoding import IGNORED
from services.post_training.trainer.recipe import Preference, Recipe
from services.post_training.trainer.sft import output_adapter
from services.post_training.trainer.training import JobTrainer


def preference_loss(
    preference: Preference, chosen: torch.Tensor, rejected: torch.Tensor, lengths: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Returns the loss of each pair.

    Args:
        preference: The loss and its numbers.
        chosen: Log-ratios of the policy and the reference over the better ends, summed over tokens.
        rejected: Those over the other ends.
        lengths: Numbers of tokens of the better and the other ends.
    """
    beta = preference.beta
    if preference.loss == "ipo":
        # Per token, as IPO's authors do.
        margin = chosen / lengths[0].clamp(min=1) - rejected / lengths[1].clamp(min=1)
        return (margin - 1 / (2 * beta)) ** 2
    good, bad = beta * chosen, beta * rejected
    if preference.reward_clip is not None:
        good, bad = (rewards.clamp(-preference.reward_clip, preference.reward_clip) for rewards in (good, bad))
    if preference.loss == "hinge":
        return torch.relu(1 - (good - bad))
    if preference.loss == "kto_pair":
        drift_chosen = (beta * chosen).mean().clamp(min=0).detach()
        drift_rejected = (beta * rejected).mean().clamp(min=0).detach()
        return torch.cat((1 - torch.sigmoid(good - drift_rejected), 1 - torch.sigmoid(drift_chosen - bad)))
    smoothing = preference.label_smoothing
    margin = good - bad
    return -(1 - smoothing) * functional.logsigmoid(margin) - smoothing * functional.logsigmoid(-margin)


class PreferenceTrainer(JobTrainer, DPOTrainer):  # type: ignore[misc] # TRL has no types here
    """TRL's trainer with the losses above, on rows that are encoded."""

    preference: Preference

    def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        mask = inputs["completion_mask"][..., 1:]
        given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "use_cache": False}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
        outputs = model(**given, labels=labels, fused_lm_head=True)
        reference = self._reference(given, labels)
        chosen_logps, rejected_logps = outputs.log_probs.sum(1).chunk(2)
        chosen_reference, rejected_reference = reference.sum(1).chunk(2)
        chosen, rejected = chosen_logps - chosen_reference, rejected_logps - rejected_reference
        chosen_mask, rejected_mask = mask.chunk(2)
        lengths = (chosen_mask.sum(1), rejected_mask.sum(1))
        loss = preference_loss(self.preference, chosen, rejected, lengths).mean()
        if self.preference.sft_share:
            loss = loss - self.preference.sft_share * chosen_logps.sum() / lengths[0].sum().clamp(min=1)
        self._measure(outputs, (chosen, rejected), (chosen_logps, rejected_logps), (chosen_mask, rejected_mask))
        return (loss, outputs) if return_outputs else loss

    def _reference(self, given: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:
        """Returns the log-probabilities of the model as it was: without the adapter, with the one that it began with, or a copy."""
        model: Any = self.ref_model
        context: Any = nullcontext()
        if model is None:
            model = self.model
            unwrapped = self.accelerator.unwrap_model(model)
            context = use_adapter(unwrapped, adapter_name="ref" if "ref" in unwrapped.peft_config else None)
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            context,
        ):
            log_probs: torch.Tensor = model(**given, labels=labels, fused_lm_head=True).log_probs
        return log_probs

    def _measure(self, outputs: Any, ratios: Any, logps: Any, masks: Any) -> None:
        found = self._metrics["train" if self.model.training else "eval"]
        gather = self.accelerator.gather
        rewards = [gather(self.preference.beta * ratio.detach()) for ratio in ratios]
        count = masks[0].sum().clamp(min=1)
        values = {
            "rewards/chosen": rewards[0].mean(),
            "rewards/rejected": rewards[1].mean(),
            "rewards/accuracies": (rewards[0] > rewards[1]).float().mean(),
            "rewards/margins": (rewards[0] - rewards[1]).mean(),
            "logps/chosen": gather(logps[0].detach()).mean(),
            "logps/rejected": gather(logps[1].detach()).mean(),
            "mean_token_accuracy": gather((outputs.is_top1.chunk(2)[0] & masks[0].bool()).sum() / count).mean(),
            "entropy": gather(outputs.entropy.detach().sum() / outputs.label_mask.sum().clamp(min=1)).mean(),
        }
        for name, value in values.items():
            found[name].append(value.item())


def make(
    recipe: Recipe, model: Any, config: dict[str, Any], max_length: int, rest: dict[str, Any]
) -> PreferenceTrainer:
    """Makes the trainer.

    Args:
        recipe: The training.
        model: The model.
        config: Arguments of TRL's configuration.
        max_length: Longest sequence in tokens.
        rest: What the trainer takes beside model, configuration and batches.
    """
    preference = recipe.preference
    assert preference is not None
    dropout = recipe.lora is not None and recipe.lora.dropout > 0
    args = DPOConfig(**config, beta=preference.beta, max_length=max_length, disable_dropout=not dropout)
    collator = DataCollatorForPreference(pad_token_id=rest["processing_class"].pad_token_id, max_length=max_length)
    with output_adapter(recipe, model):
        trainer = PreferenceTrainer(recipe=recipe, model=model, args=args, data_collator=with_rows(collator), **rest)
    trainer.preference = preference
    return trainer
