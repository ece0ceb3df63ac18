"""Precision of the weights as provider configuration."""

import sys

import pytest

from services.core.errors import FailedPreconditionError
from services.inference.providers.vllm.config import Quantization, VllmConfig
from services.inference.providers.vllm.quantization import quantization_arguments


def arguments(quantization: Quantization | None, *, on_cpu: bool = True) -> dict[str, object]:
    return quantization_arguments(VllmConfig(model="m", quantization=quantization), on_cpu=on_cpu)


def test_without_a_wish_the_checkpoint_decides() -> None:
    assert arguments(None) == {}


def test_bf16_is_a_dtype_and_fp8_a_method_of_vllm() -> None:
    assert arguments(Quantization.BF16) == {"dtype": "bfloat16"}
    assert arguments(Quantization.FP8, on_cpu=False) == {"quantization": "fp8"}


def test_fp8_on_a_cpu_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(FailedPreconditionError, match="needs a GPU"):
        arguments(Quantization.FP8)


def test_int4_without_torchao_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(FailedPreconditionError, match="pip install torchao"):
        arguments(Quantization.INT4)
