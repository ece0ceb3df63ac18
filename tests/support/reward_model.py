"""A small reward model in Hugging Face's form, made for a test."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Chat = list[dict[str, str]]


def make_reward_model(folder: Path, base: Path, *, seed: int = 0) -> Path:
    """Writes a sequence classifier with one label: the base model's body and a random head.

    Args:
        folder: Where to write it.
        base: Checkpoint of a chat model.
        seed: Seed of the head's weights.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    torch.nn.init.normal_(model.score.weight, std=0.3)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / name, folder / name)
    return folder


def scores_by_transformers(folder: Path, chats: Sequence[Chat]) -> list[float]:
    """The scores of conversations with their answers, as Hugging Face's own code computes them."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    with torch.no_grad():
        for chat in chats:
            ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
            scores.append(float(model(input_ids=ids).logits[0, 0]))
    return scores
