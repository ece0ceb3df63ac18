"""The provider of shields that scan code. It serves only while its positive control finds what it must."""

import asyncio
from collections.abc import Sequence

import structlog

from services.core.errors import UnavailableError
from services.safety.ports import TextShield
from services.safety.provider import ShieldProvider
from services.safety.providers.code_scanner.config import CodeScannerConfig, CodeScannerParams
from services.safety.providers.code_scanner.control import missed
from services.safety.providers.code_scanner.scanning import Issue
from services.safety.providers.code_scanner.shield import CodeScannerShield
from services.safety.providers.code_scanner.workers import Job, Scanners

_CONTROL_SECONDS = 60.0
"""Longest time for the positive control, which takes a tenth of a second on an idle machine."""

_log = structlog.stdlib.get_logger("caravan.safety.code_scanner")


class CodeScannerProvider(ShieldProvider[CodeScannerParams]):
    """`inline::code-scanner`."""

    params_type = CodeScannerParams

    def __init__(self, provider_id: str, config: CodeScannerConfig) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: How it scans.
        """
        super().__init__(provider_id, "inline::code-scanner", config)
        self._scan_seconds = config.scan_seconds
        self._control_seconds = config.control_seconds
        self._scanners = Scanners(config.processes)
        self._fault = "the positive control has not run yet"
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the processes, runs the positive control, and goes on running it."""
        await asyncio.to_thread(self._scanners.start)
        await super().start()
        await self.control()
        self._watch = asyncio.create_task(self._control_for_ever(), name="code-scanner-control")

    async def stop(self) -> None:
        """Ends the processes."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.to_thread(self._scanners.stop)

    async def prepare(self, provider_shield_id: str, params: CodeScannerParams) -> TextShield:
        """Makes a shield."""
        return CodeScannerShield(params, self._scan)

    async def control(self) -> None:
        """Runs the positive control; what it says is the provider's readiness."""
        unfound = await asyncio.to_thread(missed, self._scanners, _CONTROL_SECONDS)
        if unfound:
            self._fault = f"the positive control failed: insecure code was not found ({', '.join(unfound[:10])})"
            _log.error("code_scanner_control_failed", missed=unfound)
            self.readiness.set_not_ready(self._fault)
        else:
            self._fault = ""
            self.readiness.set_ready()

    async def _control_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._control_seconds)
            await self.control()

    def _scan(self, jobs: Sequence[Job]) -> list[list[Issue]]:
        if self._fault:
            raise UnavailableError(f"the code scanner cannot be trusted: {self._fault}", reason="CONTROL_FAILED")
        return self._scanners.scan(jobs, self._scan_seconds)
