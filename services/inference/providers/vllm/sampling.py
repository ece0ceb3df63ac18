"""From the contract's sampling parameters to vLLM's."""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from caravan.types.v1 import types_pb2

DEFAULT_TEMPERATURE = 1.0
DEFAULT_TOP_P = 0.95


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a call asks for beside its sampling parameters."""

    streamed: bool
    """Whether the answer is streamed."""
    stop_token_ids: Sequence[int] = ()
    """Control tokens that end the answer."""
    keep_control_tokens: bool = False
    """Whether control tokens stay in the text, for the tool-call codec to see."""
    constraint: StructuredOutputsParams | None = None
    """Form that the answer must have."""
    logprobs: types_pb2.LogProbConfig | None = None
    """Which log probabilities to return."""


def to_vllm(params: types_pb2.SamplingParams, decoding: Decoding) -> SamplingParams:
    """Builds vLLM's sampling parameters.

    Args:
        params: The request's; unset fields have the defaults that the contract states.
        decoding: What the call asks for beside them.
    """
    temperature, top_p, top_k = _strategy(params)
    return SamplingParams(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        max_tokens=params.max_tokens or None,
        repetition_penalty=params.repetition_penalty if params.HasField("repetition_penalty") else 1.0,
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        seed=params.seed if params.HasField("seed") else None,
        stop=list(params.stop),
        stop_token_ids=list(decoding.stop_token_ids),
        skip_special_tokens=not decoding.keep_control_tokens,
        spaces_between_special_tokens=False,
        structured_outputs=decoding.constraint,
        logprobs=decoding.logprobs.top_k if decoding.logprobs is not None else None,
        output_kind=RequestOutputKind.DELTA if decoding.streamed else RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def _strategy(params: types_pb2.SamplingParams) -> tuple[float, float, int]:
    """Temperature, top_p and top_k; 0 stands for no limit of top_k."""
    match params.WhichOneof("strategy"):
        case "top_p":
            nucleus = params.top_p
            return (
                nucleus.temperature if nucleus.HasField("temperature") else DEFAULT_TEMPERATURE,
                nucleus.top_p if nucleus.HasField("top_p") else DEFAULT_TOP_P,
                0,
            )
        case "top_k":
            limited = params.top_k
            return (
                limited.temperature if limited.HasField("temperature") else DEFAULT_TEMPERATURE,
                limited.top_p if limited.HasField("top_p") else 1.0,
                limited.top_k,
            )
        case _:
            return 0.0, 1.0, 0
