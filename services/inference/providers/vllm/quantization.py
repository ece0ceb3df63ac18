"""Precision of the weights, as vLLM's arguments."""

import json
from typing import Any

from services.core.errors import FailedPreconditionError
from services.inference.providers.vllm.config import Quantization, VllmConfig

# Weights that share a scale, as in torchao's own default for this scheme.
INT4_GROUP_SIZE = 32


def quantization_arguments(config: VllmConfig, *, on_cpu: bool) -> dict[str, Any]:
    """Turns `quantization` into arguments of vLLM's `AsyncEngineArgs`.

    Args:
        config: The provider's configuration.
        on_cpu: vLLM is the build for CPUs.

    Raises:
        FailedPreconditionError: This machine cannot do it.
    """
    match config.quantization:
        case None:
            return {}
        case Quantization.BF16:
            return {"dtype": "bfloat16"}
        case Quantization.FP8:
            if on_cpu:
                raise FailedPreconditionError(
                    "quantization fp8 needs a GPU: vLLM has no fp8 kernels for CPUs; use bf16 or int4",
                    reason="NO_KERNELS",
                )
            return {"quantization": "fp8"}
        case Quantization.INT4:
            return {
                "quantization": "torchao",
                "hf_overrides": {"quantization_config_dict_json": json.dumps(_int4_weight_int8_dynamic_activation())},
            }


def _int4_weight_int8_dynamic_activation() -> dict[str, Any]:
    """The scheme of this name in torchao's own serialized form."""
    try:
        import torch
        from torchao.core.config import config_to_dict
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup
    except ImportError as error:
        raise FailedPreconditionError(
            "quantization int4 needs torchao beside vLLM: pip install torchao", reason="TORCHAO_MISSING"
        ) from error
    scheme = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int4, weight_granularity=PerGroup(INT4_GROUP_SIZE)
    )
    serialized: dict[str, Any] = config_to_dict(scheme)
    return serialized
