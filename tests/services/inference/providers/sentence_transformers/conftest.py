from collections.abc import AsyncIterator
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig
from services.inference.providers.sentence_transformers.provider import SentenceTransformersProvider
from tests.services.inference.conversation import content

MODEL_ID = "all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
async def provider() -> AsyncIterator[SentenceTransformersProvider]:
    """A provider with the packaged model."""
    running = SentenceTransformersProvider(
        "vectors", SentenceTransformersConfig(threads=1, matryoshka_dimensions=[64, 128])
    )
    await running.start()
    yield running
    await running.stop()


def request(*texts: str, **fields: Any) -> inference_pb2.EmbeddingsRequest:
    return inference_pb2.EmbeddingsRequest(
        **{"model_id": MODEL_ID, "contents": [content(text) for text in texts], **fields}
    )
