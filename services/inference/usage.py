"""The usage metrics that every response carries."""

from caravan.types.v1 import types_pb2


def usage(*, prompt: int, completion: int | None = None, cached: int = 0) -> list[types_pb2.MetricInResponse]:
    """Builds the usage metrics.

    Args:
        prompt: Tokens of the prompt.
        completion: Tokens generated; `None` where nothing is generated (embeddings).
        cached: Tokens of the prompt that the engine found in its prefix cache.

    Returns:
        `prompt_tokens`, `completion_tokens` where it applies, `total_tokens`, and `cached_tokens` when there were some.
    """
    values = {"prompt_tokens": prompt}
    if completion is not None:
        values["completion_tokens"] = completion
    values["total_tokens"] = prompt + (completion or 0)
    if cached:
        values["cached_tokens"] = cached
    return [types_pb2.MetricInResponse(metric=name, value=value, unit="tokens") for name, value in values.items()]
