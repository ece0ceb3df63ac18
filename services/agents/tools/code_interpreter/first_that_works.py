"""The first of several sandboxes that works on this machine."""

from collections.abc import Mapping, Sequence

import structlog

from services.agents.tools.code_interpreter.sandbox import Execution, Sandbox, SandboxLimits
from services.core.errors import FailedPreconditionError

_log = structlog.get_logger(__name__)


class FirstThatWorks(Sandbox):
    """Stays with the first that it found to work; looks again as long as it has found none."""

    def __init__(self, sandboxes: Sequence[Sandbox]) -> None:
        """Looks later.

        Args:
            sandboxes: In the order in which they are wanted.
        """
        self._sandboxes = sandboxes
        self._chosen: Sandbox | None = None

    async def check(self) -> None:
        """Makes sure that one works here.

        Raises:
            FailedPreconditionError: None does; the message says why each does not.
        """
        reasons = []
        for sandbox in self._sandboxes:
            try:
                await sandbox.check()
            except FailedPreconditionError as error:
                reasons.append(error.message)
            else:
                self._chosen = sandbox
                if reasons:
                    _log.warning("code_interpreter_falls_back", to=type(sandbox).__name__, why="; ".join(reasons))
                return
        raise FailedPreconditionError("; ".join(reasons), reason="NO_SANDBOX")

    async def run(self, code: str, files: Mapping[str, bytes], limits: SandboxLimits) -> Execution:
        """Runs code."""
        if self._chosen is None:
            await self.check()
        assert self._chosen is not None
        return await self._chosen.run(code, files, limits)

    async def close(self) -> None:
        """Closes all of them."""
        for sandbox in self._sandboxes:
            await sandbox.close()
