"""The MCP server of `mcp_program` as a process that serves HTTP."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).with_name("mcp_program.py")
_START_SECONDS = 120.0


class McpProcess:
    """The server, as a test sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._port = port
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        self._process = subprocess.Popen([sys.executable, PROGRAM, str(self._port)], start_new_session=True)
        ends = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                assert time.monotonic() < ends, "the MCP server does not listen"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def mcp_process() -> Iterator[McpProcess]:
    """Runs the server on a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = McpProcess(port)
    try:
        yield process
    finally:
        process.kill()
