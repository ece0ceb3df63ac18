"""Processes that scan: code that makes a parser run for minutes, or crash, costs a process and not the service."""

import multiprocessing
import queue
import resource
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from services.core.errors import ResourceExhaustedError, UnavailableError
from services.safety.providers.code_scanner.scanning import Issue, scan

_MEMORY = 4 << 30
"""Most address space of a process, in bytes."""
_START_SECONDS = 60.0

Job = tuple[str, str]
"""Language and code."""


class Scanners:
    """Some processes, each of which scans one text at a time. Its methods block: call them in threads."""

    def __init__(self, count: int) -> None:
        """Prepares them; `start` starts them.

        Args:
            count: How many.
        """
        self._processes = [_Process() for _ in range(count)]
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)

    def start(self) -> None:
        """Starts all processes and waits until they can scan.

        Raises:
            UnavailableError: One does not start.
        """
        for process in self._processes:
            process.start()

    def scan(self, jobs: Sequence[Job], seconds: float) -> list[list[Issue]]:
        """Scans pieces of code.

        Args:
            jobs: Language and code of each.
            seconds: Longest time for all of them.

        Returns:
            What is insecure in each.

        Raises:
            ResourceExhaustedError: All processes are busy for as long.
            UnavailableError: The code takes longer, or makes the process crash.
        """
        until = time.monotonic() + seconds
        try:
            process = self._idle.get(timeout=seconds)
        except queue.Empty:
            message = "all processes that scan code are busy: try again, or have `processes` raised"
            raise ResourceExhaustedError(message, subject="scanners", reason="SCANNERS_BUSY") from None
        try:
            return process.scan(jobs, until - time.monotonic())
        finally:
            self._idle.put(process)

    def stop(self) -> None:
        """Ends all processes."""
        for process in self._processes:
            process.kill()


class _Process:
    """One process, started again when it is needed and gone."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> Connection:
        """Starts the process, if it does not run, and returns the way to it."""
        if self._process is not None and not self._process.is_alive():
            self._end()
        with self._lock:
            if self._pipe is not None:
                return self._pipe
            if self._stopped:
                raise UnavailableError("the code scanner is stopping", reason="STOPPING")
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), name="code-scanner", daemon=True)
            self._process.start()
            theirs.close()
            self._pipe = ours
        try:
            if not ours.poll(_START_SECONDS):
                raise TimeoutError
            ours.recv()
        except (OSError, EOFError) as error:
            self._end()
            raise UnavailableError("the process that scans code does not start", reason="SCANNER_FAILED") from error
        return ours

    def scan(self, jobs: Sequence[Job], seconds: float) -> list[list[Issue]]:
        """Scans pieces of code; a process that does not answer in time is killed."""
        pipe = self.start()
        try:
            pipe.send(jobs)
            if not pipe.poll(max(0.0, seconds)):
                raise TimeoutError
            answer: list[list[Issue]] = pipe.recv()
        except TimeoutError:
            self._end()
            raise UnavailableError(
                "the code takes too long to scan: make it shorter, or have `scan_seconds` raised", reason="SCAN_TIMEOUT"
            ) from None
        except (OSError, EOFError) as error:
            self._end()
            raise UnavailableError("the code scanner crashed on this code", reason="SCANNER_FAILED") from error
        return answer

    def kill(self) -> None:
        """Ends the process for good."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()
            if self._pipe is not None:
                self._pipe.close()
            self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    """What a process does, until the other end of the pipe is closed."""
    # The service decides when it ends, not the terminal that Ctrl-C comes from.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    scan("python", "pass")
    pipe.send(True)
    with suppress(EOFError, OSError):
        while True:
            pipe.send([scan(language, code) for language, code in pipe.recv()])
