"""One execution as a process: fed through a pipe, followed until it ends or passes a limit, and read with bounds."""

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

from services.agents.tools.code_interpreter.archives import unpack
from services.agents.tools.code_interpreter.sandbox import MEBIBYTE, Ending, Execution, SandboxLimits

_POLL_SECONDS = 0.05
_ARCHIVE_OVERHEAD = MEBIBYTE
# Not the loop's own few threads: others wait for those. As many as `tools.code_slots` may be; they are made when needed.
_THREADS = ThreadPoolExecutor(256, thread_name_prefix="sandbox")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the sandbox itself takes, beside what the code may."""

    seconds: float = 0.0
    """Time by the clock to start."""
    memory_bytes: int = 0
    """Memory."""


async def execute(
    command: Sequence[str], archive: bytes, limits: SandboxLimits, allowance: Allowance = Allowance()
) -> Execution:
    """Runs a sandbox to its end. Cancelling ends it at once, with all its processes.

    Args:
        command: Starts it; the number of the file descriptor for what comes back is added.
        archive: What goes in, as `archives.pack` makes it.
        limits: How much the code may use.
        allowance: How much more the sandbox may.
    """
    run = _Run(limits, allowance)
    running = asyncio.get_running_loop().run_in_executor(_THREADS, run.execute, list(command), archive)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        run.cancel()
        # The processes are gone before the call is.
        await asyncio.wait([running], timeout=5.0)
        raise


@dataclass
class _Pipe:
    """What came through a pipe so far."""

    most: int
    content: bytearray = field(default_factory=bytearray)
    cut: bool = False

    def add(self, data: bytes) -> None:
        room = self.most - len(self.content)
        self.content += data[:room]
        self.cut = self.cut or len(data) > room


class _Run:
    """One execution, in a thread."""

    def __init__(self, limits: SandboxLimits, allowance: Allowance) -> None:
        self._limits, self._allowance = limits, allowance
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._cancelled = False

    def cancel(self) -> None:
        """Ends it."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._kill()

    def execute(self, command: list[str], archive: bytes) -> Execution:
        """Runs the sandbox to its end."""
        reading, writing = os.pipe()
        limits = self._limits
        pipes = {
            "stdout": _Pipe(limits.output_bytes),
            "stderr": _Pipe(limits.output_bytes),
            "result": _Pipe(limits.files_bytes + _ARCHIVE_OVERHEAD),
        }
        with os.fdopen(reading, "rb", buffering=0) as result:
            try:
                self._start([*command, str(writing)], writing)
            finally:
                os.close(writing)
            ended = self._follow(archive, result, pipes)
        return _execution(ended, pipes, limits)

    def _start(self, command: list[str], descriptor: int) -> None:
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(  # noqa: S603 - the code is an argument of nothing here
                command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=(descriptor,), start_new_session=True, env={}
            )

    def _follow(self, archive: bytes, result: IO[bytes], pipes: Mapping[str, _Pipe]) -> Ending | int:
        """Feeds and reads until every pipe is closed or a limit is reached; returns the limit's ending, or the exit status."""
        process = self._process
        assert process is not None
        assert process.stdin
        assert process.stdout
        assert process.stderr
        feeding = threading.Thread(target=_feed, args=(process.stdin, archive), daemon=True)
        feeding.start()
        deadline = time.monotonic() + self._limits.wall_seconds + self._allowance.seconds
        ending: Ending | None = None
        with selectors.DefaultSelector() as selector, process:
            for name, source in (("stdout", process.stdout), ("stderr", process.stderr), ("result", result)):
                selector.register(source, selectors.EVENT_READ, pipes[name])
            while selector.get_map():
                for key, _ in selector.select(_POLL_SECONDS):
                    data = os.read(key.fd, 1 << 16)
                    key.data.add(data) if data else selector.unregister(key.fileobj)
                if ending is None:
                    ending = self._over_limit(process.pid, deadline)
                    if ending is not None:
                        self._kill()
            status = process.wait()
        feeding.join()
        return status if ending is None else ending

    def _over_limit(self, pid: int, deadline: float) -> Ending | None:
        if time.monotonic() > deadline:
            return Ending.TIMED_OUT
        most = self._limits.memory_bytes + self._allowance.memory_bytes
        return Ending.OUT_OF_MEMORY if _resident_bytes(pid) > most else None

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            # Of namespaces the first process dies with it, and so every other one.
            os.killpg(self._process.pid, signal.SIGKILL)


def _feed(stdin: IO[bytes], archive: bytes) -> None:
    with contextlib.suppress(OSError), stdin:
        stdin.write(archive)


def _resident_bytes(pid: int) -> int:
    """Memory of a process and all below it."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return total


def _execution(ended: Ending | int, pipes: Mapping[str, _Pipe], limits: SandboxLimits) -> Execution:
    notes = [
        f"{name} was cut off after {limits.output_bytes} bytes" for name in ("stdout", "stderr") if pipes[name].cut
    ]
    status, files, left_out = unpack(BytesIO(bytes(pipes["result"].content)), limits)
    notes += left_out
    # A process that has said nothing may have been ended itself.
    ending = ended if isinstance(ended, Ending) else _ending(min(ended, -1) if status is None else status)
    texts = {name: bytes(pipes[name].content).decode(errors="replace") for name in ("stdout", "stderr")}
    if "MemoryError" in texts["stderr"].rsplit("\n", 2)[-2:][0] and ending is Ending.FAILED:
        ending = Ending.OUT_OF_MEMORY
    return Execution(ending, texts["stdout"], texts["stderr"], files, tuple(notes))


def _ending(status: int) -> Ending:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        # The kernel's answer to too much processor time.
        return Ending.TIMED_OUT
    return Ending.COMPLETED if status == 0 else Ending.FAILED if status > 0 else Ending.CRASHED
