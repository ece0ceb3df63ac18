"""One process of the stack."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caravan.local.layout import told_apart

# Tells the guardian of itself before it becomes the program: nobody can be killed between the two.
_ANNOUNCED = 'echo "watch $$" >&0; exec "$@" </dev/null'
_TAIL_LINES = 15


@dataclass(frozen=True)
class Program:
    """What to run."""

    name: str
    """Name in the stack."""
    command: Sequence[str]
    """Program and arguments."""
    environment: Mapping[str, str]
    """Whole environment."""
    log: Path
    """File that its output goes to."""
    grace: float
    """Seconds that it gets to stop."""


@dataclass(frozen=True)
class Guardian:
    """The process that ends the others when this one is killed (`caravan.local.guardian`)."""

    process: Process
    """The process."""
    descriptor: int
    """Writing end of its standard input."""

    @classmethod
    async def start(cls, grace: float) -> "Guardian":
        """Starts it.

        Args:
            grace: Seconds that the others get to stop.
        """
        reading, writing = os.pipe()
        try:
            command = (sys.executable, "-P", "-m", "caravan.local.guardian", str(grace))
            process = await asyncio.create_subprocess_exec(*command, stdin=reading, start_new_session=True)
        finally:
            os.close(reading)
        return cls(process, writing)

    def forget(self, group: int) -> None:
        """Tells that a process group is gone.

        Args:
            group: The group.
        """
        with contextlib.suppress(BrokenPipeError):
            os.write(self.descriptor, f"forget {group}\n".encode())

    async def release(self) -> None:
        """Lets it go; it ends what it still watches."""
        os.close(self.descriptor)
        await self.process.wait()


@dataclass
class Child:
    """A process that runs, or has run."""

    program: Program
    """What it runs."""
    process: Process
    """The process; leader of its own session and process group."""
    guardian: Guardian
    """Who watches it."""
    _unread: int = 0
    _address: str = ""

    @classmethod
    async def start(cls, program: Program, guardian: Guardian) -> "Child":
        """Starts a program in a session of its own. All its output goes to a fresh log; that of the run before is kept beside it.

        Args:
            program: What to run.
            guardian: Who watches it.

        Raises:
            StackError: Its log cannot be written.
        """
        with told_apart(program.log):
            if program.log.exists():
                program.log.replace(program.log.with_suffix(".log.1"))
            log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _ANNOUNCED,
                "sh",
                *program.command,
                stdin=guardian.descriptor,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                start_new_session=True,
            )
        finally:
            os.close(log)
        return cls(program, process, guardian)

    @property
    def alive(self) -> bool:
        """It still runs."""
        return self.process.returncode is None

    def address(self) -> str:
        """Where it accepts calls; empty until it has said so: `{"event": "listening", "address": ...}` on a line of its own."""
        if not self._address:
            with self.program.log.open("rb") as log:
                log.seek(self._unread)
                for line in log:
                    if line.endswith(b"\n"):
                        self._unread += len(line)
                        self._address = self._address or _announced(line)
        return self._address

    async def stop(self) -> None:
        """Stops it: SIGTERM, and SIGKILL to its whole group when it takes too long."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), self.program.grace)
        await self.kill()

    async def kill(self) -> None:
        """Ends it and whatever it has started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self.guardian.forget(self.process.pid)

    def how_it_ended(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            text = self.program.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])


def _announced(line: bytes) -> str:
    if not line.startswith(b"{"):
        return ""
    try:
        event = json.loads(line)
    except ValueError:
        return ""
    return str(event.get("address", "")) if event.get("event") == "listening" else ""
