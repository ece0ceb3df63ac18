"""Starts the worker processes, starts those again that die, and ends all of them in order. Serves nothing itself."""

import json
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from gateway import worker
from gateway.settings import GatewaySettings
from gateway.sockets import bind
from services.core.errors import CaravanError
from services.core.logs import configure_logs
from services.core.settings import split_address

_log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
# A worker that has lived this long did not die of its start.
_SOUND_SECONDS = 30.0
# Workers get this much beyond their own drain time.
_STOP_SECONDS = 10.0
_TICK_SECONDS = 0.2


@dataclass(slots=True)
class _Slot:
    """One worker's place."""

    number: int
    process: SpawnProcess | None = None
    channel: Any = None
    started: float = 0.0
    not_before: float = 0.0
    pause: float = _FIRST_PAUSE
    serving: bool = False


def run(settings: GatewaySettings) -> int:
    """Runs the gateway until SIGTERM or SIGINT, then drains it; a second signal stops it at once.

    Prints a JSON object a line on stdout, as `services.core.server.run` does: `listening` with the address when calls are accepted,
    `serving` when every worker has routes, `draining` and `stopped`. The log is on stderr.

    Args:
        settings: The gateway's settings.

    Returns:
        Exit code: 0 after a drain, 1 when the gateway cannot start.
    """
    configure_logs(settings.log_level, settings.log_format)
    try:
        supervisor = Supervisor(settings)
    except CaravanError as error:
        _log.error("cannot_start", message=error.message, reason=error.reason)
        return 1
    return supervisor.run()


class Supervisor:
    """The parent of the workers."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Takes the port.

        Raises:
            FailedPreconditionError: It cannot be had.
        """
        self._settings = settings
        self._spawn = multiprocessing.get_context("spawn")
        # Bound, never listening: it keeps the port (which may have been 0) while workers come and go, and gets no connections.
        self._placeholder = bind(settings.listen, alone=True)
        host = split_address(settings.listen)[0]
        port = self._placeholder.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._slots = [_Slot(number) for number in range(settings.worker_count)]
        self._folder = Path(tempfile.mkdtemp(prefix="caravan-gateway-"))
        self._signals: list[str] = []
        self._announced: set[str] = set()
        self._failure = False

    def run(self) -> int:
        """Runs until a signal; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        while not self._signals and not self._failure:
            self._start_missing()
            self._wait()
        if self._failure:
            self._stop(seconds=0)
            return 1
        _announce("draining", signal=self._signals[0], seconds=self._settings.drain_seconds)
        self._stop(self._settings.drain_seconds + self._settings.drain_delay_seconds)
        _announce("stopped")
        return 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signals.append(signal.Signals(number).name)

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None and now >= slot.not_before:
                ours, theirs = self._spawn.Pipe()
                folder = self._folder / str(slot.number)
                folder.mkdir(exist_ok=True)
                settings = (
                    self._settings if slot.number == 0 else self._settings.model_copy(update={"prometheus_port": None})
                )
                slot.process = self._spawn.Process(
                    target=worker.main,
                    args=(settings, self.address, folder, theirs),
                    name=f"gateway-{slot.number}",
                    daemon=False,
                )
                slot.process.start()
                theirs.close()
                slot.channel, slot.started, slot.serving = ours, now, False

    def _wait(self) -> None:
        """Waits for news from the workers, or a moment."""
        channels = {slot.channel: slot for slot in self._slots if slot.channel is not None}
        sentinels = {slot.process.sentinel: slot for slot in self._slots if slot.process is not None}
        if not channels and not sentinels:
            time.sleep(_TICK_SECONDS)
            return
        for ready in connection.wait([*channels, *sentinels], timeout=_TICK_SECONDS):
            if ready in channels:
                self._hear(channels[ready])
        for slot in self._slots:
            if slot.process is not None and not slot.process.is_alive():
                self._bury(slot)

    def _hear(self, slot: _Slot) -> None:
        try:
            event = slot.channel.recv()
        except (EOFError, OSError):
            slot.channel.close()
            slot.channel = None
            return
        if event == worker.LISTENING:
            self._announce_once("listening")
        elif event == worker.SERVING:
            slot.serving = True
            if all(other.serving for other in self._slots):
                self._announce_once("serving")

    def _bury(self, slot: _Slot) -> None:
        """Notes that a worker has died and when the next one may start."""
        if slot.process is None:
            return
        while slot.channel is not None and slot.channel.poll():
            self._hear(slot)
        code = slot.process.exitcode
        lived = time.monotonic() - slot.started
        if slot.channel is not None:
            slot.channel.close()
        slot.process.close()
        slot.process = slot.channel = None
        if self._signals:
            return
        if not self._announced:
            # Nothing has ever worked: starting again would fail again.
            self._failure = True
            return
        slot.pause = _FIRST_PAUSE if lived > _SOUND_SECONDS else min(slot.pause * 2, _LONGEST_PAUSE)
        slot.not_before = time.monotonic() + slot.pause
        _log.error("worker_died", worker=slot.number, exit_code=code, lived=round(lived, 1), next_in=slot.pause)

    def _stop(self, seconds: float) -> None:
        """Ends all workers: gently, at once on a second signal, by force when the time is over."""
        _terminate(self._slots)
        deadline = time.monotonic() + seconds + _STOP_SECONDS
        hurried = False
        while any(slot.process is not None for slot in self._slots):
            if len(self._signals) > 1 and not hurried:
                hurried = True
                deadline = min(deadline, time.monotonic() + _STOP_SECONDS)
                _terminate(self._slots)
            if time.monotonic() > deadline:
                for slot in self._slots:
                    if slot.process is not None:
                        slot.process.kill()
            self._wait()
        self._placeholder.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _announce_once(self, event: str) -> None:
        if event not in self._announced:
            self._announced.add(event)
            _announce(event, address=self.address)


def _terminate(slots: Sequence[_Slot]) -> None:
    for slot in slots:
        if slot.process is not None and slot.process.is_alive():
            slot.process.terminate()


def _announce(event: str, **fields: Any) -> None:
    with suppress(OSError):  # nobody reads any more
        print(json.dumps({"event": event, **fields}), flush=True)  # noqa: T201 - a contract with whoever started the process
