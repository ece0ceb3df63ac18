"""The adapter between the shields' port and guard models."""

import asyncio
from contextlib import suppress

import structlog
from pydantic import SecretStr

from caravan.registry.v1 import entry_pb2, models_pb2, shields_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FieldViolation, InvalidArgumentError, NotFoundError
from services.core.gateway import Gateway
from services.safety import guard_prompts
from services.safety.hazards import Hazard
from services.safety.provider import ShieldProvider
from services.safety.providers.llama_guard.config import LlamaGuardConfig, LlamaGuardParams
from services.safety.providers.llama_guard.guard import Guards
from services.safety.providers.llama_guard.shield import GuardShield

_HELLO = types_pb2.Message(
    user=types_pb2.UserMessage(
        content=types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text="Hello!")])
    )
)

_log = structlog.get_logger(__name__)


class LlamaGuardProvider(ShieldProvider[LlamaGuardParams]):
    """Shields that ask guard models.

    It is ready once the guards of its own shields have answered a question. A guard that is taken out of the registry later is the
    registry's word: calls answer NOT_FOUND. One that does not answer is not.
    """

    params_type = LlamaGuardParams
    config: LlamaGuardConfig

    def __init__(self, provider_id: str, config: LlamaGuardConfig, gateway: Gateway, token: SecretStr | None) -> None:
        """Prepares the provider; `start` begins to look for the guards.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which shields, and how to ask.
            gateway: The way to the guard models.
            token: Exempts the guards' own calls from shields that are always on.
        """
        super().__init__(provider_id, config.type, config)
        self._guards = Guards(gateway, token, config.ask_timeout)
        self._contexts: dict[str, int] = {}
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Prepares its own shields and begins to look for their guards."""
        await super().start()
        if self.config.shields:
            self.readiness.set_not_ready(f"waiting for {', '.join(self._own_models())}")
            self._watch = asyncio.create_task(self._watch_guards(), name=f"watch {self.provider_id}")

    async def stop(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def resolve(self, shield: shields_pb2.Shield) -> str:
        """The guard model that a registration names; one that names none gets the model of its own name, else the configured one."""
        wanted = shield.provider_shield_id or shield.shield_id
        try:
            await self._look_up(wanted)
        except NotFoundError:
            if wanted != shield.shield_id:
                raise
            wanted = self.config.default_model_id
            await self._look_up(wanted)
        return wanted

    async def prepare(self, provider_shield_id: str, params: LlamaGuardParams) -> GuardShield:
        """Makes a shield that asks the guard model `provider_shield_id`."""
        custom = [Hazard(category.code, category.name, category.description) for category in params.categories]
        try:
            listed = guard_prompts.categories(params.format, custom=custom, excluded=params.excluded_categories)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                f"params.{error.message}",
                violations=[FieldViolation(f"params.{one.field}", one.description) for one in error.violations],
            ) from error
        if provider_shield_id not in self._contexts:
            # A guard that is not there yet is met again when it is asked.
            with suppress(CaravanError):
                await self._look_up(provider_shield_id)
        return GuardShield(self._guards, provider_shield_id, params, listed, self._contexts.get(provider_shield_id))

    def _own_models(self) -> list[str]:
        return sorted({shield.provider_shield_id or shield.shield_id for shield in self.config.shields})

    async def _look_up(self, model_id: str) -> models_pb2.Model:
        model = await self._guards.model(model_id)
        context = model.metadata.fields["context_length"].number_value if "context_length" in model.metadata else 0
        if context:
            self._contexts[model_id] = int(context)
        return model

    async def _watch_guards(self) -> None:
        proven: set[str] = set()
        while True:
            for model_id in self._own_models():
                reason = await self._reason_not_ready(model_id, proven)
                if reason is not None:
                    if self.readiness.reason != reason:
                        _log.warning("guard_not_ready", model_id=model_id, reason=reason)
                    self.readiness.set_not_ready(reason)
                    break
            else:
                self.readiness.set_ready()
            await asyncio.sleep(self.config.poll_seconds)

    async def _reason_not_ready(self, model_id: str, proven: set[str]) -> str | None:
        """Why a guard cannot judge; it has to answer a question once after each time that it was away."""
        try:
            model = await self._look_up(model_id)
            if model.entry.availability == entry_pb2.AVAILABILITY_NOT_SERVED:
                proven.discard(model_id)
                return f"guard model {model_id} is not served: {model.entry.unavailable_reason or 'no replica'}"
            if model_id not in proven:
                await self._prove(model_id)
                proven.add(model_id)
        except NotFoundError:
            return None if model_id in proven else f"there is no guard model {model_id}: register it"
        except CaravanError as error:
            proven.discard(model_id)
            return f"guard model {model_id} does not answer: {error.message}"
        return None

    async def _prove(self, model_id: str) -> None:
        entry = next(entry for entry in self._own.values() if entry.registration.provider_shield_id == model_id)
        assert isinstance(entry.ready.shield, GuardShield)
        await entry.ready.shield.judge([_HELLO], [0])
