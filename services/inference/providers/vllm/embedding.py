"""Calls of a pooling model."""

import asyncio
from typing import Any

from vllm import PoolingParams

from caravan.inference.v1 import inference_pb2
from services.core.errors import InvalidArgumentError
from services.inference.plain_text import plain_texts
from services.inference.providers.vllm.formats import token_prompt


async def embedding_inputs(
    request: inference_pb2.EmbeddingsRequest, tokenizer: Any, max_model_len: int
) -> list[dict[str, Any]]:
    """The engine's input for each content of a request.

    Args:
        request: The request.
        tokenizer: The model's tokenizer; its own special tokens are added.
        max_model_len: Longest content in tokens.

    Raises:
        InvalidArgumentError: A content is empty, holds an image, or is too long and not to be truncated.
    """
    texts = plain_texts("contents", list(request.contents))
    encoded = await asyncio.to_thread(lambda: [tokenizer.encode(text) for text in texts])
    return [
        token_prompt(_fitted(ids, max_model_len, request.text_truncation, f"contents[{index}]"))
        for index, ids in enumerate(encoded)
    ]


def pooling_params(request: inference_pb2.EmbeddingsRequest) -> PoolingParams:
    """The engine's parameters for a request."""
    dimensions = request.output_dimension if request.HasField("output_dimension") else None
    return PoolingParams(task="embed", dimensions=dimensions)


def _fitted(ids: list[int], limit: int, truncation: inference_pb2.TextTruncation.ValueType, field: str) -> list[int]:
    if len(ids) <= limit:
        return ids
    match truncation:
        case inference_pb2.TEXT_TRUNCATION_END:
            return ids[:limit]
        case inference_pb2.TEXT_TRUNCATION_START:
            return ids[-limit:]
        case _:
            raise InvalidArgumentError.of(
                field,
                f"has {len(ids)} tokens and the model takes {limit}; shorten it or set text_truncation",
                reason="PROMPT_TOO_LONG",
            )
