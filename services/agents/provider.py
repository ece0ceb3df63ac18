"""The provider of the agents API."""

import asyncio
import contextlib

import structlog

from services.agents.runner import TurnRunner
from services.agents.store.settings import StoreSettings
from services.agents.tools.code_interpreter.sandbox import Sandbox
from services.agents.tools.maker import SettingsToolMaker
from services.core.errors import CaravanError
from services.core.gateway import Gateway
from services.core.provider import Provider

AGENTS = "caravan.agents.v1.AgentsService"
_PING_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class AgentsProvider(Provider):
    """Runs turns; ready while the store answers."""

    def __init__(
        self,
        provider_id: str,
        config: StoreSettings,
        runner: TurnRunner,
        gateway: Gateway,
        maker: SettingsToolMaker,
        sandbox: Sandbox,
    ) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier of this provider.
            config: Where the state is.
            runner: Runs turns.
            gateway: The way to other services.
            maker: Makes tools.
            sandbox: Where code runs.
        """
        super().__init__(provider_id=provider_id, provider_type="inline::agents", services=[AGENTS], config=config)
        self._runner, self._gateway, self._maker, self._sandbox = runner, gateway, maker, sandbox
        self._pinging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects to the store and takes up what other processes left behind."""
        try:
            await self._sandbox.check()
        except CaravanError as error:
            # Everything else works without it, and a call of the tool says so.
            _log.warning("no_code_interpreter", why=error.message)
        await self._runner.store.start()
        self._runner.start_scanning()
        self._pinging = asyncio.create_task(self._ping())

    async def stop(self) -> None:
        """Gives up the turns that run here and disconnects."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        await self._runner.stop()
        with contextlib.suppress(CaravanError):
            await self._runner.store.close()
        await self._maker.close()
        await self._gateway.close()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            try:
                await self._runner.store.ping()
            except CaravanError as error:
                self.readiness.set_not_ready(f"the store does not answer: {error.message}")
            else:
                self.readiness.set_ready()
