"""Making data, in plain Python values, and the request messages that they become."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, TypeVar, get_type_hints

from caravan import llama_stack
from caravan.errors import InvalidInputError
from caravan.messages import MessageLike, conversation
from caravan.synthetic_data.v1 import synthetic_data_pb2

M = TypeVar(
    "M",
    synthetic_data_pb2.GenerateRequest,
    synthetic_data_pb2.StreamGenerateRequest,
    synthetic_data_pb2.StartGenerationRequest,
)


class GenerationParameters(TypedDict, total=False):
    """What data shall be made. What is not given has the contract's default."""

    dataset: str | None
    """Data set of format `prompt` or `dialog` whose rows are answered too."""
    k: int | None
    """Answers to each dialog."""
    reward_model: str | None
    """Model that scores the answers."""
    filter: str | None
    """`none`, `random`, `top_k`, `top_p`, `top_k_top_p` or `sigmoid`."""
    filter_params: Mapping[str, Any] | None
    """Numbers of the filter: `top_k`, `top_p`, `sample_rate`, `seed`, `shift`, `scale`, `per_dialog`."""
    sampling_params: Mapping[str, Any] | None
    """How tokens are chosen, in the contract's shape."""
    output_dataset: str | None
    """Name of the data set that the answers which are kept are stored as."""
    request_id: str | None
    """Makes a repeated call return the first one's result. Default: a new one."""


_FIELDS = {
    "dataset": "dataset_id",
    "k": "k_generations",
    "reward_model": "reward_model",
    "filter": "filtering_function",
    "filter_params": "filter_params",
    "sampling_params": "sampling_params",
    "output_dataset": "output_dataset_id",
}


def generation_request(
    request_type: type[M],
    model: str,
    dialogs: Iterable[MessageLike | Iterable[MessageLike]],
    parameters: GenerationParameters,
) -> M:
    """Builds the request that makes data.

    Args:
        request_type: Class of the request.
        model: Model that answers.
        dialogs: The dialogs, each one message or several.
        parameters: What shall be made.

    Raises:
        InvalidInputError: A value does not fit.
    """
    known = get_type_hints(GenerationParameters)
    if unknown := set(parameters) - set(known):
        raise InvalidInputError(f"unknown parameter {min(unknown)!r}; known are {', '.join(sorted(known))}")
    given: Mapping[str, Any] = parameters
    shape = {field: given[name] for name, field in _FIELDS.items() if given.get(name) is not None}
    request_id = parameters.get("request_id") or uuid.uuid4().hex
    request = llama_stack.build(request_type, {**shape, "model": model, "request_id": request_id}, "generation")
    for dialog in dialogs:
        request.dialogs.add(messages=conversation(dialog))
    return request
