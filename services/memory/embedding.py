"""Vectors from the inference service: asked for in batches that concurrent calls share, and kept by the content's hash."""

import asyncio
import contextvars
import hashlib
import random
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from services.core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.gateway import Gateway
from services.core.provider_data import provider_data_text
from services.memory import content
from services.memory.ports import Embedder, EmbeddingModel
from services.memory.telemetry import texts_wanted

Vector = NDArray[np.float32]
_Key = tuple[str, int, bytes]

_ATTEMPTS = 4
_FIRST_PAUSE = 0.25
# Characters of a batch: its message stays far below what servers take.
_BATCH_CHARS = 1_000_000


class EmbeddingSettings(BaseModel):
    """How texts are embedded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(
        default=64, ge=1, le=2048, description="Most texts that one call of the inference service embeds."
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Most such calls at a time for one model.")
    max_waiting: int = Field(
        default=4096, ge=1, description="Most texts that wait; those who bring more are held back."
    )
    timeout_seconds: float = Field(default=120.0, gt=0, description="Longest time that one such call may take.")
    cache_bytes: int = Field(default=32 << 20, ge=0, description="Most memory for vectors that are kept by their text.")


class VectorCache:
    """Vectors by model, dimension and hash of the text; those not used for longest go first."""

    def __init__(self, most_bytes: int) -> None:
        """Makes an empty cache.

        Args:
            most_bytes: Most memory for the vectors.
        """
        self._most_bytes = most_bytes
        self._bytes = 0
        self._vectors: OrderedDict[_Key, Vector] = OrderedDict()

    def get(self, key: _Key) -> Vector | None:
        """Returns a vector that is kept."""
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: _Key, vector: Vector) -> None:
        """Keeps a vector."""
        if key not in self._vectors:
            self._bytes += vector.nbytes
        self._vectors[key] = vector
        while self._bytes > self._most_bytes:
            _, gone = self._vectors.popitem(last=False)
            self._bytes -= gone.nbytes


@dataclass(slots=True, eq=False)
class _Text:
    """A text that somebody waits for."""

    key: _Key
    text: str
    done: asyncio.Future[Vector]
    waiters: int = 0


@dataclass(slots=True)
class _Lane:
    """The texts for one model, and the calls that take them."""

    model: EmbeddingModel
    dimension: int
    pending: deque[_Text] = field(default_factory=deque)
    calls: set[asyncio.Task[None]] = field(default_factory=set)


class InferenceEmbedder(Embedder):
    """Embeds through the inference service, by way of the gateway."""

    def __init__(self, gateway: Gateway, settings: EmbeddingSettings) -> None:
        """Calls nobody yet.

        Args:
            gateway: The way to the inference service.
            settings: How texts are embedded.
        """
        self._gateway = gateway
        self._settings = settings
        self._cache = VectorCache(settings.cache_bytes)
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._texts: dict[_Key, _Text] = {}
        self._room = asyncio.Semaphore(settings.max_waiting)

    async def describe(self, model_id: str) -> EmbeddingModel:
        """Tells about a model, as the registry has it.

        Raises:
            FailedPreconditionError: There is no such model, or it embeds nothing, or does not say how long its vectors are.
            UnavailableError: The gateway does not answer.
        """
        stub = models_pb2_grpc.ModelsServiceStub(self._gateway.channel)
        try:
            response = await self._gateway.call(stub.GetModel, models_pb2.GetModelRequest(model_id=model_id))
        except NotFoundError as error:
            message = f"there is no embedding model {model_id!r}; ListModels names those there are"
            raise FailedPreconditionError(message, reason="EMBEDDING_MODEL_UNKNOWN") from error
        model = response.model
        if model.model_type != models_pb2.MODEL_TYPE_EMBEDDING:
            message = f"model {model_id!r} generates text; name an embedding model, ListModels tells the type"
            raise FailedPreconditionError(message, reason="WRONG_MODEL_TYPE")
        dimension = _number(model, "embedding_dimension")
        if dimension is None:
            message = f"model {model_id!r} does not tell the length of its vectors: register it with metadata.embedding_dimension"
            raise FailedPreconditionError(message, reason="EMBEDDING_DIMENSION_UNKNOWN")
        source = model.provider_model_id or model.model_id
        return EmbeddingModel(model_id, dimension, _number(model, "context_length"), source)

    async def embed(self, model: EmbeddingModel, dimension: int, texts: Sequence[str]) -> Vector:
        """Returns the texts' vectors; a text that was embedded before, or is being embedded for somebody else, costs no call.

        A call with provider data is made for its caller alone: the data may be credentials.

        Raises:
            FailedPreconditionError: The model is gone, or its vectors have another length now.
            InvalidArgumentError: The model refuses a text.
            UnavailableError: It does not answer.
        """
        if not texts:
            return np.empty((0, dimension), np.float32)
        if provider_data_text() is not None:
            texts_wanted(len(texts), cached=False)
            return await self._embed_alone(model, dimension, texts)
        found = np.empty((len(texts), dimension), np.float32)
        # In stretches, so that a long document neither waits for room that it takes itself nor keeps others out.
        stretch = max(1, self._settings.max_waiting // 4)
        for start in range(0, len(texts), stretch):
            part = texts[start : start + stretch]
            keys = [_key(model, dimension, text) for text in part]
            vectors = {key: vector for key in keys if (vector := self._cache.get(key)) is not None}
            missing = {key: text for key, text in zip(keys, part, strict=True) if key not in vectors}
            texts_wanted(len(vectors), cached=True)
            texts_wanted(len(missing), cached=False)
            if missing:
                vectors |= await self._shared(model, dimension, list(missing.items()))
            for place, key in enumerate(keys, start):
                found[place] = vectors[key]
        return found

    async def close(self) -> None:
        """Ends the calls that run."""
        calls = [call for lane in self._lanes.values() for call in lane.calls]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _embed_alone(self, model: EmbeddingModel, dimension: int, texts: Sequence[str]) -> Vector:
        size = self._settings.batch_size
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        return np.concatenate([await self._call(model, dimension, batch) for batch in batches])

    # Sharing calls.

    async def _shared(
        self, model: EmbeddingModel, dimension: int, items: Sequence[tuple[_Key, str]]
    ) -> dict[_Key, Vector]:
        """Waits for texts that are embedded together with those of other calls."""
        lane = self._lanes.setdefault((model.model_id, dimension), _Lane(model, dimension))
        lane.model = model
        waiting: list[_Text] = []
        try:
            for key, text in items:
                known = self._texts.get(key)
                if known is None or known.done.done():
                    if self._room.locked():
                        # What fills the room must be under way, or there would never be any.
                        self._dispatch(lane)
                    await self._room.acquire()
                    known = self._enqueue(lane, key, text)
                known.waiters += 1
                waiting.append(known)
            self._dispatch(lane)
            await asyncio.wait([one.done for one in waiting])
            return {one.key: one.done.result() for one in waiting}
        finally:
            for one in waiting:
                one.waiters -= 1
                if not one.waiters and not one.done.done():
                    one.done.cancel()

    def _enqueue(self, lane: _Lane, key: _Key, text: str) -> _Text:
        one = self._texts[key] = _Text(key, text, asyncio.get_running_loop().create_future())

        def forget(_: asyncio.Future[Vector]) -> None:
            self._room.release()
            if self._texts.get(key) is one:
                del self._texts[key]
            if not one.done.cancelled():
                # Seen, also when everybody who waited has gone.
                one.done.exception()

        one.done.add_done_callback(forget)
        lane.pending.append(one)
        if len(lane.pending) >= self._settings.batch_size:
            self._dispatch(lane)
        return one

    def _dispatch(self, lane: _Lane) -> None:
        if lane.pending and len(lane.calls) < self._settings.concurrency:
            # Of nobody's call: neither its deadline, nor its trace, nor its provider data.
            task = asyncio.create_task(self._work(lane), context=contextvars.Context())
            lane.calls.add(task)
            task.add_done_callback(lane.calls.discard)

    async def _work(self, lane: _Lane) -> None:
        while batch := self._take(lane):
            try:
                vectors = await self._call(lane.model, lane.dimension, [one.text for one in batch])
            except asyncio.CancelledError:
                for one in batch:
                    one.done.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - raised by those who wait
                for one in batch:
                    if not one.done.done():
                        one.done.set_exception(error)
                continue
            for one, vector in zip(batch, vectors, strict=True):
                # A copy, so that the cache does not keep the whole batch.
                self._cache.put(one.key, vector.copy())
                if not one.done.done():
                    one.done.set_result(vector)

    def _take(self, lane: _Lane) -> list[_Text]:
        batch: list[_Text] = []
        chars = 0
        while lane.pending and len(batch) < self._settings.batch_size and chars < _BATCH_CHARS:
            one = lane.pending.popleft()
            if not one.done.done():
                batch.append(one)
                chars += len(one.text)
        return batch

    # Calling.

    async def _call(self, model: EmbeddingModel, dimension: int, texts: Sequence[str]) -> Vector:
        """Embeds one batch; tries again for a while when the service is busy or away."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._call_once(model, dimension, texts)
            except (ResourceExhaustedError, UnavailableError) as error:
                pause = max(error.retry_after or 0.0, _FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
                await asyncio.sleep(min(pause, 5.0))
        try:
            return await self._call_once(model, dimension, texts)
        except ResourceExhaustedError as error:
            message = f"the embedding model {model.model_id!r} is too busy: {error.message}"
            raise UnavailableError(message, reason="EMBEDDING_MODEL_BUSY", retry_after=5.0) from error

    async def _call_once(self, model: EmbeddingModel, dimension: int, texts: Sequence[str]) -> Vector:
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        request = inference_pb2.EmbeddingsRequest(
            model_id=model.model_id,
            contents=[content.of_text(text) for text in texts],
            # What is cut by another tokenizer than the model's own may be a little too long.
            text_truncation=inference_pb2.TEXT_TRUNCATION_END,
        )
        if dimension != model.dimension:
            request.output_dimension = dimension
        try:
            response = await self._gateway.call(stub.Embeddings, request, timeout=self._settings.timeout_seconds)
        except (NotFoundError, FailedPreconditionError) as error:
            message = f"the bank's embedding model {model.model_id!r} cannot be asked: {error.message}"
            raise FailedPreconditionError(message, reason="EMBEDDING_MODEL_GONE") from error
        except InvalidArgumentError as error:
            message = f"the embedding model {model.model_id!r} refuses a text: {error.message}"
            raise InvalidArgumentError(message, reason="EMBEDDING_REFUSED") from error
        return _checked(model, dimension, len(texts), response)


def _checked(model: EmbeddingModel, dimension: int, count: int, response: inference_pb2.EmbeddingsResponse) -> Vector:
    lengths = {len(embedding.values) for embedding in response.embeddings}
    if len(response.embeddings) != count or lengths != {dimension}:
        message = (
            f"the embedding model {model.model_id!r} answers with vectors of length {sorted(lengths)} and the bank's have {dimension}: "
            "register a bank for the model as it is now"
        )
        raise FailedPreconditionError(message, reason="EMBEDDING_DIMENSION_CHANGED")
    vectors = np.array([embedding.values for embedding in response.embeddings], np.float32)
    if not np.isfinite(vectors).all():
        message = f"the embedding model {model.model_id!r} answers with vectors that are not finite"
        raise FailedPreconditionError(message, reason="EMBEDDING_NOT_FINITE")
    return vectors


def _key(model: EmbeddingModel, dimension: int, text: str) -> _Key:
    # The source too: a name may be registered anew for another model.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return (f"{model.model_id}\0{model.source}", dimension, digest)


def _number(model: models_pb2.Model, name: str) -> int | None:
    value = model.metadata.fields.get(name)
    return int(value.number_value) if value is not None and value.number_value >= 1 else None
