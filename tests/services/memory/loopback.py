"""A gateway on loopback whose models do what the test says."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, NotFoundError
from services.core.gateway import Gateway, GatewaySettings
from services.core.provider_data import provider_data_text
from services.core.server import Binding
from services.memory.content import of_text, text_of
from tests.services.core.loopback import serving

DIMENSION = 4


class Models(models_pb2_grpc.ModelsServiceServicer, inference_pb2_grpc.InferenceServiceServicer):
    """One embedding model, `vectors`, and one language model, `judge`, which says yes to what holds the word yes."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.provider_data: list[str | None] = []
        self.failures: list[CaravanError] = []
        self.values: list[float] | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.at_once = self.most_at_once = 0
        self.logprobs = True
        self.prompts: list[str] = []
        self.says = "  cats and dogs\n"
        self.stop_reason = types_pb2.STOP_REASON_END_OF_TURN

    async def GetModel(self, request: Any, context: Any) -> Any:
        kinds = {"vectors": models_pb2.MODEL_TYPE_EMBEDDING, "judge": models_pb2.MODEL_TYPE_LLM}
        if request.model_id not in kinds:
            message = "no such model"
            raise NotFoundError(message, resource_type="model", resource_name=request.model_id)
        model = models_pb2.Model(model_id=request.model_id, model_type=kinds[request.model_id])
        model.metadata.update({"embedding_dimension": DIMENSION, "context_length": 16})
        return models_pb2.GetModelResponse(model=model)

    async def Embeddings(self, request: Any, context: Any) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        if self.failures:
            raise self.failures.pop(0)
        texts = [text_of(content) for content in request.contents]
        self.batches.append(texts)
        self.provider_data.append(provider_data_text())
        values = self.values
        return inference_pb2.EmbeddingsResponse(
            embeddings=[inference_pb2.Embedding(values=values or vector_of(text)) for text in texts]
        )

    async def BatchChatCompletion(self, request: Any, context: Any) -> Any:
        response = inference_pb2.BatchChatCompletionResponse()
        for conversation in request.messages_batch:
            passage = text_of(conversation.messages[0].user.content).partition("Passage:")[2].partition("\n\n")[0]
            answer = response.batch.add()
            if self.logprobs:
                share = 0.9 if "yes" in passage else 0.2
                told = {" Yes": math.log(share / 2), "yes": math.log(share / 2), "No": math.log(1 - share)}
                answer.logprobs.append(types_pb2.TokenLogProbs(logprobs_by_token=told))
        return response

    async def ChatCompletion(self, request: Any, context: Any) -> Any:
        if request.model_id != "judge":
            message = "no such model"
            raise NotFoundError(message, resource_type="model", resource_name=request.model_id)
        self.prompts.append(text_of(request.messages[0].user.content))
        answer = types_pb2.CompletionMessage(content=of_text(self.says), stop_reason=self.stop_reason)
        return inference_pb2.ChatCompletionResponse(completion_message=answer)

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


def vector_of(text: str) -> list[float]:
    return [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSION]]


@asynccontextmanager
async def served(models: Models) -> AsyncIterator[str]:
    """Serves the models as a gateway does; yields the address."""
    bindings = [
        Binding(
            "caravan.inference.v1.InferenceService",
            inference_pb2_grpc.add_InferenceServiceServicer_to_server,
            models,
        ),
        Binding("caravan.registry.v1.ModelsService", models_pb2_grpc.add_ModelsServiceServicer_to_server, models),
    ]
    async with serving(bindings=bindings) as running:
        yield running.address


@asynccontextmanager
async def gateway_of(models: Models) -> AsyncIterator[Gateway]:
    async with served(models) as address:
        gateway = Gateway(GatewaySettings(address=address))
        try:
            yield gateway
        finally:
            await gateway.close()
