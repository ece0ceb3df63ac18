"""Reward models: a base model with one output, which is higher for the better end of a dialog."""

from typing import Any

from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from services.post_training.trainer.batches import with_rows
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.training import JobTrainer


class RewardModelTrainer(JobTrainer, RewardTrainer):  # type: ignore[misc] # TRL has no types here
    """TRL's trainer on rows that are encoded."""

    def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
        return dataset


def make(
    recipe: Recipe, model: Any, config: dict[str, Any], max_length: int, rest: dict[str, Any]
) -> RewardModelTrainer:
    """Makes the trainer.

    Args:
        recipe: The training.
        model: The model.
        config: Arguments of TRL's configuration.
        max_length: Longest sequence in tokens.
        rest: What the trainer takes beside model, configuration and batches.
    """
    dropout = recipe.lora is not None and recipe.lora.dropout > 0
    args = RewardConfig(**config, max_length=max_length, disable_dropout=not dropout)
    collator = DataCollatorForPreference(pad_token_id=rest["processing_class"].pad_token_id)
    return RewardModelTrainer(recipe=recipe, model=model, args=args, data_collator=with_rows(collator), **rest)
