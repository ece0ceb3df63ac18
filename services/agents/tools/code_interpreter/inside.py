"""Runs inside the sandbox, on Python's standard library alone.

Reads a tar archive from standard input: `code` and `files/<path>`. Runs the code as a process of its own in the working directory, whose
output goes straight to stdout and stderr. When it has ended, writes what is new or changed as a tar archive to the file descriptor named
last on the command line, first of all a member `exit` with the exit status. The code can tamper with this process: the host trusts nothing
that comes out, and bounds all of it.
"""

import io
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

WORK = Path("/work")
OWN = Path("/tmp/caravan")  # noqa: S108 - of the sandbox
FIGURES = Path("/figures.py")


def main() -> None:
    """Unpacks, runs, packs."""
    cpu, processes, file_bytes, address_space, user, descriptor = (int(text) for text in sys.argv[1:7])
    limits = (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    )

    def limit() -> None:
        for which, most in limits:
            resource.setrlimit(which, (most, most))
        if os.getuid() == 0:
            # Started by root: the limits on processes do not hold for root, and the code must not be it anyway.
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

    OWN.mkdir(parents=True)
    unpack(user)
    before = snapshot()
    command = [sys.executable, "-u", "-B", str(OWN / "main.py")]
    running = subprocess.Popen(command, cwd=WORK, stdin=subprocess.DEVNULL, preexec_fn=limit)  # noqa: PLW1509, S603
    status = running.wait()
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as result:
        add(result, "exit", str(status).encode())
        for path, stamp in sorted(snapshot().items()):
            if before.get(path) != stamp:
                add(result, f"files/{path}", (WORK / path).read_bytes())


def unpack(user: int) -> None:
    """Puts code and files where they belong, and gives them to the user that the code runs as."""
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            inside = member.name.removeprefix("files/")
            path = WORK / inside if member.name != "code" else OWN / "main.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read() if content else b"")
    shutil.copy(FIGURES, OWN / "caravan_figures.py")
    if os.getuid() == 0:
        for path in (WORK, *WORK.rglob("*")):
            os.chown(path, user, user)


def snapshot() -> dict[str, tuple[int, int]]:
    """Regular files of the working directory with their size and time; links are left out."""
    found = {}
    for folder, _, names in os.walk(WORK):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not path.is_symlink():
                seen = path.stat()
                found[str(path.relative_to(WORK))] = (seen.st_size, seen.st_mtime_ns)
    return found


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Writes a member."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
