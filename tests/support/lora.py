"""LoRA adapters in PEFT's format, made for a test."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def make_adapter(folder: Path, base: Path, *, rank: int = 8, scale: float = 0.5, seed: int = 0) -> Path:
    """Writes an adapter with random weights that is large enough to change what the base model says.

    Args:
        folder: Where to write it.
        base: Checkpoint of the base model.
        rank: Rank of the adapter.
        scale: Standard deviation of its weights.
        seed: Seed of the weights.
    """
    config = json.loads((base / "config.json").read_text())
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    outputs = {"q_proj": head * config["num_attention_heads"], "v_proj": head * config["num_key_value_heads"]}
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(layers):
        for module, output in outputs.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{prefix}.lora_A.weight"] = torch.randn(rank, hidden, generator=generator) * scale
            tensors[f"{prefix}.lora_B.weight"] = torch.randn(output, rank, generator=generator) * scale
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(outputs),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    return folder
