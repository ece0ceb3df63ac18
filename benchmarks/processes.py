"""Processes that answer jobs: the load generator, and the peer without a server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.vllm_server import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]


class LineProcess:
    """A module that reads a line of JSON from standard input and answers with one."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        """Starts it.

        Args:
            module: The module to run.
            arguments: Its arguments.
            log: File that its errors are added to.
        """
        self.module = module
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, line: str) -> str:
        """Sends a line and returns the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> str:
        """Returns the next line.

        Raises:
            RuntimeError: The process ended.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[")):
                return line
        raise RuntimeError(f"{self.module} ended:\n{tail(self.log)}")

    def close(self) -> None:
        """Ends the process and takes its leftover output."""
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@contextmanager
def line_process(module: str, *arguments: str, log: Path) -> Iterator[LineProcess]:
    """A `LineProcess` that ends with the block."""
    process = LineProcess(module, *arguments, log=log)
    try:
        yield process
    finally:
        process.close()


def end_in_order() -> None:
    """Makes SIGTERM end this process like an exception does: servers are stopped, not left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def environment() -> Mapping[str, str]:
    """The environment of every process of a benchmark."""
    return {**os.environ, **ENVIRONMENT}


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-4000:]
