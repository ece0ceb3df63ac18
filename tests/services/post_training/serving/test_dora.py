"""Plain adapters of DoRA adapters, against PEFT's own arithmetic."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from services.post_training.serving.dora import ConversionError, factorize, plain_adapter

MODULES = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
TOKENS = torch.arange(1, 25).reshape(2, 12)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["alpha/r", "alpha/sqrt(r)"])
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A DoRA adapter as a training leaves it: everything has moved, the magnitudes too."""
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    config = LoraConfig(
        r=4, lora_alpha=6, use_dora=True, use_rslora=request.param, target_modules=MODULES, task_type="CAUSAL_LM"
    )
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.mul_(1 + 0.1 * noise) if "magnitude" in name else parameter.copy_(0.2 * noise)
    model.save_pretrained(folder)
    return folder


def logits(base: Path, adapter: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def test_a_plain_adapter_of_full_rank_says_what_the_dora_adapter_says(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    error = plain_adapter(adapter, base, tmp_path / "plain", max_rank=64)
    assert error < 1e-6
    config = json.loads((tmp_path / "plain" / "adapter_config.json").read_text())
    assert (config["use_dora"], config["r"], config["lora_alpha"]) == (False, 32, 32)
    torch.testing.assert_close(logits(base, tmp_path / "plain"), logits(base, adapter), atol=1e-4, rtol=1e-4)


def test_a_lower_rank_leaves_out_what_it_says(base: Path, adapter: Path, tmp_path: Path) -> None:
    errors = [plain_adapter(adapter, base, tmp_path / str(rank), max_rank=rank) for rank in (2, 8, 24)]
    assert 1 > errors[0] > errors[1] > errors[2] > 0
    told = json.loads((tmp_path / "8" / "conversion.json").read_text())
    assert told == {"relative_error": errors[1]}
    distances = [float((logits(base, tmp_path / str(rank)) - logits(base, adapter)).norm()) for rank in (2, 8, 24)]
    assert distances == sorted(distances, reverse=True)


def test_large_matrices_are_factorized_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.post_training.serving.dora._LARGE", 64)
    torch.manual_seed(0)
    delta = torch.randn(96, 8) @ torch.randn(8, 160) + 0.01 * torch.randn(96, 160)
    up, down = factorize(delta, 8)
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    best = left[:, :8] * values[:8] @ right[:8]
    assert float((delta - up @ down).norm()) == pytest.approx(float((delta - best).norm()), rel=1e-3)


def test_what_is_no_dora_adapter_of_the_base_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    plain_adapter(adapter, base, tmp_path / "plain", max_rank=8)
    with pytest.raises(ConversionError, match="no DoRA adapter"):
        plain_adapter(tmp_path / "plain", base, tmp_path / "again", max_rank=8)
    with pytest.raises(ConversionError, match="has no weight"):
        plain_adapter(adapter, tmp_path, tmp_path / "again", max_rank=8)
    assert not (tmp_path / "again").exists()


def test_the_command_converts_or_says_why_not(base: Path, adapter: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.post_training.serving.convert"]
    wrong = subprocess.run([*command, base, base, tmp_path / "x", "8"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("no readable adapter_config.json")
    assert subprocess.run([*command, adapter, base, tmp_path / "x", "8"], check=False).returncode == 0
    assert (tmp_path / "x" / "adapter_model.safetensors").is_file()
