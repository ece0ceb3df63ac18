"""Second judgement of hits by a model that inference serves.

Inference has no call for cross-encoders. A language model is asked of each hit whether it answers the query, and the score is the
probability of yes against no at the answer's first token (pointwise relevance generation: Nogueira et al. 2020, with log probabilities
as in Sachan et al. 2022); an embedding model gives the cosine of its own vectors. Both scores can be compared between banks.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError
from services.core.gateway import Gateway
from services.memory import content
from services.memory.ports import Embedder

_TIMEOUT = 120.0
_BATCH = 64
# Enough of a passage to judge it, and little enough for small contexts.
_CHARS = 6000
_PROMPT = (
    "Judge whether the passage helps to answer the query. Say yes or no, nothing else.\n\nQuery: {query}\n\nPassage: {passage}\n\n"
    "Does the passage help to answer the query?"
)


class Reranker:
    """Judges texts by a model."""

    def __init__(self, gateway: Gateway, embedder: Embedder) -> None:
        """Keeps the parts.

        Args:
            gateway: The way to registry and inference.
            embedder: Embeds texts.
        """
        self._gateway = gateway
        self._embedder = embedder

    async def scores(self, model_id: str, query: str, texts: Sequence[str]) -> list[float]:
        """Returns how well each text fits a query: 0 to 1 by a language model, -1 to 1 by an embedding model.

        Args:
            model_id: The model.
            query: The query.
            texts: The texts.

        Raises:
            FailedPreconditionError: There is no such model, or it can judge nothing.
            UnavailableError: It does not answer.
        """
        if not texts:
            return []
        stub = models_pb2_grpc.ModelsServiceStub(self._gateway.channel)
        try:
            response = await self._gateway.call(stub.GetModel, models_pb2.GetModelRequest(model_id=model_id))
        except NotFoundError as error:
            message = f"there is no model {model_id!r} to rerank with; ListModels names those there are"
            raise FailedPreconditionError(message, reason="RERANK_MODEL_UNKNOWN") from error
        if response.model.model_type == models_pb2.MODEL_TYPE_EMBEDDING:
            return await self._cosines(model_id, query, texts)
        return await self._probabilities(model_id, query, texts)

    async def _cosines(self, model_id: str, query: str, texts: Sequence[str]) -> list[float]:
        model = await self._embedder.describe(model_id)
        vectors = await self._embedder.embed(model, model.dimension, [query, *texts])
        lengths = np.maximum(np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True), 1e-12)
        unit = vectors / lengths
        return [float(score) for score in unit[1:] @ unit[0]]

    async def _probabilities(self, model_id: str, query: str, texts: Sequence[str]) -> list[float]:
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        scores: list[float] = []
        for start in range(0, len(texts), _BATCH):
            request = inference_pb2.BatchChatCompletionRequest(
                model_id=model_id,
                messages_batch=[_conversation(query, text) for text in texts[start : start + _BATCH]],
                sampling_params=types_pb2.SamplingParams(max_tokens=1),
                logprobs=types_pb2.LogProbConfig(top_k=20),
            )
            try:
                response = await self._gateway.call(stub.BatchChatCompletion, request, timeout=_TIMEOUT)
            except FailedPreconditionError as error:
                message = f"model {model_id!r} cannot rerank: {error.message}"
                raise FailedPreconditionError(message, reason="RERANK_MODEL_UNUSABLE") from error
            scores += [_probability(model_id, answer) for answer in response.batch]
        return scores


def _conversation(query: str, passage: str) -> inference_pb2.Conversation:
    prompt = _PROMPT.format(query=query[:_CHARS], passage=passage[:_CHARS])
    message = types_pb2.Message(user=types_pb2.UserMessage(content=content.of_text(prompt)))
    return inference_pb2.Conversation(messages=[message])


def _probability(model_id: str, answer: inference_pb2.ChatCompletionResponse) -> float:
    """Returns the probability of yes against no at the first token; 0.5 when the model thinks of neither."""
    if not answer.logprobs:
        raise _no_logprobs(model_id)
    told = answer.logprobs[0].logprobs_by_token
    yes, no = _share(told, "yes"), _share(told, "no")
    return yes / (yes + no) if yes + no > 0 else 0.5


def _share(told: Mapping[str, float], word: str) -> float:
    # Tokenizers mark a leading space in ways of their own.
    return sum(math.exp(value) for token, value in told.items() if token.strip(" \n\u0120\u2581").lower() == word)


def _no_logprobs(model_id: str) -> CaravanError:
    message = f"model {model_id!r} gives no log probabilities, which reranking needs; name another model"
    return FailedPreconditionError(message, reason="RERANK_MODEL_UNUSABLE")
