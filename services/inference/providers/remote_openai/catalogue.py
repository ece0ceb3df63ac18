"""What the server serves, asked of it again and again; whether it answers is whether the provider is ready."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase

import structlog

from caravan.registry.v1 import models_pb2
from services.core.errors import CaravanError, NotFoundError, UnavailableError
from services.core.readiness import Readiness
from services.inference.models import ModelTable, ServedModel
from services.inference.providers.remote_openai.client import OpenAIClient
from services.inference.providers.remote_openai.config import RemoteModel, RemoteOpenAIConfig
from services.inference.providers.remote_openai.dialects import DIALECTS
from services.inference.tool_calls.json_values import JsonObject

FIRST_PAUSE = 0.5
"""Seconds until the server is asked again after a failure; doubles with each, up to `refresh_seconds`."""
PATIENCE = 3
"""Slow answers in a row after which a provider that was ready is not."""

_TYPES = {"llm": models_pb2.MODEL_TYPE_LLM, "embedding": models_pb2.MODEL_TYPE_EMBEDDING}

_log = structlog.stdlib.get_logger("caravan.inference.remote_openai")


class Catalogue:
    """Keeps the provider's own models and its readiness up to date."""

    def __init__(
        self,
        client: OpenAIClient,
        config: RemoteOpenAIConfig,
        models: ModelTable,
        readiness: Readiness,
        doubt: asyncio.Event,
    ) -> None:
        """Prepares the catalogue; `watch` fills it.

        Args:
            client: Asks the server.
            config: Which models may be requested.
            models: Where the models go.
            readiness: Where it goes whether the server answers.
            doubt: Set when something is not as the catalogue says: the server is asked again at once.
        """
        self._client = client
        self._config = config
        self._models = models
        self._readiness = readiness
        self._listed: Mapping[str, JsonObject] | None = None
        self._doubt = doubt

    async def watch(self) -> None:
        """Asks the server for ever."""
        failed = 0
        while True:
            try:
                await self.refresh()
                failed = 0
                self._readiness.set_ready()
            except CaravanError as error:
                failed += 1
                self._note(error, failed)
            await self._pause(failed)

    async def refresh(self) -> None:
        """Asks the server what it serves.

        Raises:
            CaravanError: It does not tell.
        """
        self._doubt.clear()
        try:
            self._listed = {model["id"]: model for model in await self._client.models()}
        except CaravanError as error:
            if self._config.models is None or not self._does_without_list(error):
                raise
            self._listed = None
        own = self._own_models()
        if not own:
            message = (
                "the server lists none of the models that it may be asked for"
                if self._config.models
                else "the server lists no models"
            )
            raise UnavailableError(message, reason="PROVIDER_EMPTY")
        self._models.replace_own(own)

    def find(self, provider_model_id: str) -> ServedModel:
        """Finds a model by the server's name for it.

        Raises:
            NotFoundError: It is not one of those that may be requested, or the server does not list it.
        """
        own = self._models.by_provider_model_id(provider_model_id)
        if own is None and self._config.models is None and self._lists(provider_model_id):
            own = self._of_card(self._card(provider_model_id), provider_model_id)
        if own is None:
            names = ", ".join(sorted({model.provider_model_id for model in self._models.own}))
            raise NotFoundError(
                f"the server does not serve {provider_model_id!r} to this provider (it serves: {names}); choose one of these",
                resource_type="model",
                resource_name=provider_model_id,
            )
        return own

    def _own_models(self) -> list[ServedModel]:
        if self._config.models is None:
            return [self._of_card(card, name) for name, card in (self._listed or {}).items()]
        allowed = self._config.models
        missing = [
            model.remote_name for model in allowed if self._listed is not None and not self._lists(model.remote_name)
        ]
        if missing:
            _log.warning("models_not_listed", missing=missing)
        return [self._of_config(model) for model in allowed if model.remote_name not in missing]

    def _of_card(self, card: JsonObject, name: str) -> ServedModel:
        embeds = any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self._config.embedding_models)
        return _served(RemoteModel(model_id=name, model_type="embedding" if embeds else "llm"), card)

    def _of_config(self, model: RemoteModel) -> ServedModel:
        return _served(model, self._card(model.remote_name))

    def _lists(self, name: str) -> bool:
        listed = self._listed or {}
        return name in listed or name + DIALECTS[self._config.dialect].implied_tag in listed

    def _card(self, name: str) -> JsonObject:
        listed = self._listed or {}
        return listed.get(name) or listed.get(name + DIALECTS[self._config.dialect].implied_tag) or {}

    def _does_without_list(self, error: CaravanError) -> bool:
        """Whether the configured models are to be trusted: the server has no list, or shows it only to callers with keys of their own."""
        keyless = self._config.allow_request_credentials and self._config.api_key is None
        return error.reason == "PROVIDER_REFUSES" or (keyless and error.reason == "PROVIDER_CREDENTIALS")

    def _note(self, error: CaravanError, failed: int) -> None:
        # A server that has too much to do is not away; one that is slow may be.
        bearable = error.reason == "PROVIDER_BUSY" or (error.reason == "PROVIDER_TIMEOUT" and failed < PATIENCE)
        if self._readiness.ready and bearable:
            return
        if self._readiness.reason != error.message:
            _log.warning("server_not_ready", reason=error.reason, message=error.message)
        self._readiness.set_not_ready(error.message)

    async def _pause(self, failed: int) -> None:
        whole = self._config.refresh_seconds
        if failed:
            await asyncio.sleep(min(whole, FIRST_PAUSE * 2 ** min(failed - 1, 16)) * random.uniform(0.5, 1.0))  # noqa: S311
            return
        # Not at once: many calls may find the same thing at the same time.
        await asyncio.sleep(min(whole, FIRST_PAUSE))
        with suppress(TimeoutError):
            async with asyncio.timeout(whole):
                await self._doubt.wait()


def _served(model: RemoteModel, card: JsonObject) -> ServedModel:
    told = card.get("max_model_len")
    context = model.context_length or (told if isinstance(told, int) else None)
    return ServedModel(
        model_id=model.model_id,
        provider_model_id=model.remote_name,
        model_type=_TYPES[model.model_type],
        metadata={} if context is None else {"context_length": float(context)},
    )
