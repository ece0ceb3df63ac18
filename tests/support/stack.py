"""A whole stack, started as a newcomer does: by `caravan up`."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

UP_SECONDS = 300.0
MEMBER = re.compile(r"^  ([a-z-]+) +(\d\S+:\d+)")


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    target: str
    """Address of the gateway."""
    addresses: dict[str, str]
    """Address of each member by its name: `gateway`, `vllm`, ..."""
    said: str
    """What `caravan up` printed until it was up."""
    data: Path
    """Directory of its data and logs."""
    pid: int
    """Process id of `caravan up`."""


def free_address() -> str:
    """A loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def caravan_up(data: Path, *arguments: str) -> Iterator[Stack]:
    """Starts a stack and stops it by SIGINT, as Ctrl-C does."""
    command = [
        str(Path(sys.executable).with_name("caravan")),
        "up",
        "--listen",
        free_address(),
        "--data",
        str(data),
        *arguments,
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    lines: list[str] = []
    is_up = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                is_up.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        ends = time.monotonic() + UP_SECONDS
        while not is_up.wait(0.2):
            assert process.poll() is None, "caravan up ended:\n" + "".join(lines)
            assert time.monotonic() < ends, "caravan up is not up:\n" + "".join(lines)
        addresses = {found[1]: found[2] for line in lines if (found := MEMBER.match(line))}
        yield Stack(addresses["gateway"], addresses, "".join(lines), data, process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(90)
        finally:
            process.kill()
            process.wait()
            reader.join()
            assert process.stdout is not None
            process.stdout.close()
