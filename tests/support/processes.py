"""Services as processes, the way an operator runs them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHAT_MODEL = ROOT / "models" / "caravan-chat"
ENGINE_START_SECONDS = 180.0


class ServiceProcess:
    """A running `python -m <module>`; its log is kept for when it fails."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "CARAVAN_LOG_FORMAT": "json", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._events: Queue[dict[str, Any]] = Queue()
        self.log: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, event: str, timeout: float = ENGINE_START_SECONDS) -> dict[str, Any]:
        """Waits for an event that the process announces on stdout, for instance `serving`."""
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            try:
                announced = self._events.get(timeout=0.1)
            except Empty:
                if self._process.poll() is None:
                    continue
                message = f"{self.module} ended with {self._process.returncode}:\n{self.tail()}"
                raise AssertionError(message) from None
            if announced.get("event") == event:
                return announced
        message = f"{self.module} did not announce {event!r} within {timeout} s:\n{self.tail()}"
        raise AssertionError(message)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log[-lines:])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        return self._process.wait(timeout)

    def stop(self) -> None:
        """Ends the process and whatever it started."""
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._events.put(json.loads(line))
            except ValueError:
                self.log.append(line.rstrip())

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip())


@contextmanager
def serving(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[ServiceProcess, str]]:
    """A service that can answer, and its address."""
    process = ServiceProcess(module, "--listen", "127.0.0.1:0", *arguments, environment=environment)
    try:
        yield process, process.wait_for("serving")["address"]
    finally:
        process.stop()


def vllm_arguments(model: Path | str = CHAT_MODEL, **settings: object) -> list[str]:
    """Arguments of an inference service on vLLM."""
    provider = {"type": "inline::vllm", "model": str(model), **settings}
    return ["--provider-id", "vllm"] + [
        part for name, value in provider.items() for part in (f"--provider.{name.replace('_', '-')}", str(value))
    ]
