"""The adapter between the shields' port and classifiers."""

import asyncio
import gc
from weakref import WeakValueDictionary

from caravan.options.v1 import options_pb2
from caravan.registry.v1 import shields_pb2
from services.core.batching import Batcher
from services.core.errors import InvalidArgumentError, ResourceExhaustedError
from services.safety.provider import ShieldProvider
from services.safety.providers.prompt_guard import classifier as classifiers
from services.safety.providers.prompt_guard.classifier import Classifier
from services.safety.providers.prompt_guard.config import PromptGuardConfig, PromptGuardParams
from services.safety.providers.prompt_guard.shield import ClassifierShield


class PromptGuardProvider(ShieldProvider[PromptGuardParams]):
    """Shields that classify texts. A model stays in memory as long as a shield uses it, the configured one for ever."""

    params_type = PromptGuardParams
    config: PromptGuardConfig

    def __init__(self, provider_id: str, config: PromptGuardConfig) -> None:
        """Prepares the provider; `start` loads the model.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which model, and how to run it.
        """
        super().__init__(provider_id, config.type, config)
        classifiers.prepare(config)
        self._batcher: Batcher[str, list[float]] = Batcher("windows", config.max_batch_size, config.max_queued)
        self._models: WeakValueDictionary[str, Classifier] = WeakValueDictionary()
        self._own_model: Classifier | None = None
        self._loading = asyncio.Lock()

    async def start(self) -> None:
        """Loads the configured model and has it classify a text."""
        self._batcher.start()
        self._own_model = await self._model(self.config.model)
        await self._batcher.run(self._own_model.classify, ["Hello!"])
        await super().start()

    async def stop(self) -> None:
        """Ends the work."""
        await self._batcher.stop()

    async def unload(self, kind: options_pb2.ResourceKind.ValueType, resource_id: str) -> None:
        """Drops a registered shield, and its model when no other shield uses it."""
        await super().unload(kind, resource_id)
        # A model is full of references in circles.
        await asyncio.to_thread(gc.collect)

    async def resolve(self, shield: shields_pb2.Shield) -> str:
        """The configured model's name where the registration names no model."""
        named = shield.provider_shield_id
        return self.config.model_name if named in ("", shield.shield_id) else named

    async def prepare(self, provider_shield_id: str, params: PromptGuardParams) -> ClassifierShield:
        """Makes a shield that classifies with a model."""
        is_own = provider_shield_id in (self.config.model_name, *(own.shield_id for own in self.config.shields))
        model = await self._model(self.config.model if is_own else provider_shield_id)
        unknown = sorted(set(params.labels) - set(model.unsafe_labels))
        if unknown:
            must = f"{', '.join(unknown)}: must be some of {', '.join(model.unsafe_labels)}"
            raise InvalidArgumentError.of("params.labels", must)
        return ClassifierShield(self._batcher, model, params)

    async def _model(self, source: str) -> Classifier:
        async with self._loading:
            model = self._models.get(source)
            if model is None:
                if len(self._models) >= self.config.max_models:
                    message = f"{len(self._models)} models are loaded, which is the most; unregister a shield first"
                    raise ResourceExhaustedError(message, subject="models", reason="TOO_MANY_MODELS")
                model = self._models[source] = await asyncio.to_thread(classifiers.load, source, self.config)
            return model
