"""A stack of its own for an evaluation: `caravan up` on a free port, with a data directory that is thrown away."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_START_SECONDS = 300.0
_STOP_SECONDS = 60.0


@contextmanager
def running_stack(model: Path | None = None) -> Iterator[str]:
    """Starts a stack, yields the address of its gateway, and stops it.

    Args:
        model: Folder of the chat model. Default: the demo model in the tree.

    Raises:
        RuntimeError: The stack ended or was not up in time; the message holds what it said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with TemporaryDirectory(prefix="caravan-evaluation-") as data:
        options = ["--listen", address, "--data", data, *(() if model is None else ("--model", str(model)))]
        command = [str(Path(sys.executable).with_name("caravan")), "up", "--no-demo", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - our own command
        try:
            _wait_until_up(process)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_up(process: subprocess.Popen[str]) -> None:
    said: deque[str] = deque(maxlen=40)
    is_up, ended = threading.Event(), threading.Event()

    def read() -> None:
        for line in process.stdout or ():
            said.append(line)
            if line.startswith("Ctrl-C"):
                is_up.set()
        ended.set()
        is_up.set()

    threading.Thread(target=read, daemon=True).start()
    if not is_up.wait(_START_SECONDS) or ended.is_set():
        message = "the stack did not come up:\n" + "".join(said)
        raise RuntimeError(message)
