"""Turning DoRA adapters into plain ones in a process of its own: that takes torch, which the service does without."""

import asyncio
import sys

from services.core.errors import DeadlineExceededError, FailedPreconditionError
from services.post_training.spec import trainer_environment

_LINES = 20


class ChildConverter:
    """Converts in a child process."""

    def __init__(self, seconds: float) -> None:
        """Sets the limit.

        Args:
            seconds: Longest time that a conversion may take.
        """
        self._seconds = seconds

    async def convert(self, adapter: str, base: str, out: str, max_rank: int) -> None:
        """Writes a plain adapter.

        Args:
            adapter: Folder of the DoRA adapter.
            base: Folder of the base model.
            out: Folder to write.
            max_rank: Highest rank that it may have.

        Raises:
            FailedPreconditionError: It cannot be converted.
            DeadlineExceededError: It takes too long.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.post_training.serving.convert", adapter, base, out, str(max_rank)),
            env=trainer_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._seconds):
                _, said = await process.communicate()
        except TimeoutError as error:
            message = f"turning the DoRA adapter into one that can be served took longer than conversion_seconds, {self._seconds:g} s"
            raise DeadlineExceededError(message, reason="CONVERSION_TOO_SLOW") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            why = "; ".join(said.decode(errors="replace").strip().splitlines()[-_LINES:])
            message = f"the DoRA adapter cannot be turned into one that can be served: {why[-1000:] or f'exit code {process.returncode}'}"
            raise FailedPreconditionError(message, reason="CONVERSION_FAILED")
