"""Which shields always guard which model, as the registry has it."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from caravan.registry.v1 import shields_pb2, shields_pb2_grpc
from services.core.errors import CaravanError, UnavailableError
from services.core.gateway import Gateway

EVERY_MODEL = "*"

_PAGE = 1000
_TIMEOUT = 5.0
_FIRST_RETRY = 0.2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AlwaysOnShield:
    """A shield that guards a model whoever calls it."""

    shield_id: str
    """Identifier in the registry."""
    provider_id: str
    """Provider that serves it."""
    fails_open: bool
    """Whether content passes that it cannot judge."""


Bindings: TypeAlias = dict[str, tuple[AlwaysOnShield, ...]]


class ShieldFollower:
    """Follows the registry's shields.

    While the list cannot be read the last one that was read stays in force. A shield that its provider serves by itself stays in force when
    it is no longer listed, since the provider may just be away; until it is listed without models, or this process ends.
    """

    def __init__(self, gateway: Gateway, poll_seconds: float) -> None:
        """Prepares; `start` begins to read.

        Args:
            gateway: The way to the registry.
            poll_seconds: Time between two looks at the list.
        """
        self._gateway = gateway
        self._poll_seconds = poll_seconds
        self._bindings: Bindings | None = None
        self._own: dict[str, shields_pb2.Shield] = {}
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows with each change of the list."""

    def start(self) -> None:
        """Begins to follow."""
        self._task = asyncio.create_task(self._follow(), name="follow shields")

    async def close(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def guarding(self, names: Iterable[str]) -> tuple[AlwaysOnShield, ...]:
        """Returns the shields of a model, in the order of their identifiers.

        Args:
            names: The names that the model has.

        Raises:
            UnavailableError: The list has not been read yet.
        """
        bindings = self._bindings
        if bindings is None:
            message = (
                "the shields that guard this model are not known yet, because the registry has not answered; try again"
            )
            raise UnavailableError(message, reason="SHIELDS_UNKNOWN")
        found = {shield for name in (EVERY_MODEL, *names) for shield in bindings.get(name, ())}
        return tuple(sorted(found, key=lambda shield: shield.shield_id))

    async def _follow(self) -> None:
        is_told = False
        while True:
            try:
                self._take(await self._list())
                is_told = False
            except CaravanError as error:
                if not is_told:
                    _log.warning("shields_not_read", reason=error.reason, message=error.message)
                is_told = True
            await asyncio.sleep(self._poll_seconds if self._bindings is not None else _FIRST_RETRY)

    async def _list(self) -> list[shields_pb2.Shield]:
        stub = shields_pb2_grpc.ShieldsServiceStub(self._gateway.channel)
        shields: list[shields_pb2.Shield] = []
        token = ""
        while True:
            request = shields_pb2.ListShieldsRequest(page_size=_PAGE, page_token=token)
            page = await self._gateway.call(stub.ListShields, request, timeout=_TIMEOUT)
            shields += page.data
            token = page.next_page_token
            if not token:
                return shields

    def _take(self, listed: Sequence[shields_pb2.Shield]) -> None:
        missing = self._own.keys() - {shield.shield_id for shield in listed}
        followed = [*listed, *(self._own[shield_id] for shield_id in missing)]
        bindings: Bindings = {}
        for shield in followed:
            one = AlwaysOnShield(shield.shield_id, shield.provider_id, _fails_open(shield))
            for model_id in shield.always_on_model_ids:
                bindings[model_id] = (*bindings.get(model_id, ()), one)
        self._own = {
            shield.shield_id: shield for shield in followed if shield.always_on_model_ids and not shield.entry.revision
        }
        if bindings != self._bindings:
            self._bindings = bindings
            self.generation += 1
            guarded = {model_id: [one.shield_id for one in shields] for model_id, shields in bindings.items()}
            _log.info("shields_changed", guarded=guarded)


def _fails_open(shield: shields_pb2.Shield) -> bool:
    return "fail_open" in shield.params.fields and shield.params.fields["fail_open"].bool_value
