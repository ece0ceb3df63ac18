"""Exports of checkpoints, each in a process of its own: what it needs of memory goes with it."""

import asyncio
import os
import sys
from pathlib import Path

from google.protobuf import json_format
from google.rpc import status_pb2

from caravan.post_training.v1 import checkpoints_pb2
from services.core.errors import CaravanError, DeadlineExceededError, FailedPreconditionError
from services.core.status import error_from_status
from services.post_training.executors import processes
from services.post_training.jobs.ports import Exporter
from services.post_training.spec import SPEC_FILE, trainer_environment

_FORMS = {
    checkpoints_pb2.CHECKPOINT_FORMAT_MERGED: "merged",
    checkpoints_pb2.CHECKPOINT_FORMAT_PEFT_ADAPTER: "peft",
}
_LAST_BYTES = 1 << 16


class ProcessExporter(Exporter):
    """Exports in child processes, one at a time."""

    def __init__(self, seconds: float) -> None:
        """Exports nothing yet.

        Args:
            seconds: Longest time that one may take.
        """
        self._seconds = seconds
        self._turn = asyncio.Semaphore(1)

    async def export(
        self, job_folder: Path, checkpoint: Path, target: Path, form: "checkpoints_pb2.CheckpointFormat.ValueType"
    ) -> None:
        """See Exporter."""
        arguments = [str(job_folder / SPEC_FILE), str(checkpoint), str(target), _FORMS[form]]
        command = [sys.executable, "-m", "services.post_training.trainer.export", *arguments]
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=trainer_environment(parent=os.getpid()),
                cwd=job_folder,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self._seconds):
                    assert process.stderr is not None
                    said = await _tail(process.stderr)
                    await process.wait()
            except TimeoutError:
                message = f"the export took longer than {self._seconds:g} s; the service's configuration allows no more"
                raise DeadlineExceededError(message, reason="EXPORT_TIMEOUT") from None
            finally:
                if process.returncode is None:
                    processes.kill(await asyncio.to_thread(processes.tree, process.pid))
                    await process.wait()
        if process.returncode:
            raise _failure(said, process.returncode)


async def _tail(stream: asyncio.StreamReader) -> str:
    """Reads to the end and returns the last of it."""
    kept = b""
    while chunk := await stream.read(_LAST_BYTES):
        kept = (kept + chunk)[-_LAST_BYTES:]
    return kept.decode(errors="replace")


def _failure(said: str, code: int) -> CaravanError:
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    try:
        return error_from_status(json_format.Parse(last, status_pb2.Status(), ignore_unknown_fields=True))
    except (json_format.ParseError, ValueError):
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        message = f"the export {how}; its last words: {last[:300] or '-'}"
        return FailedPreconditionError(message, reason="EXPORT_FAILED")
