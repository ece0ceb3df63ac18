"""A real disk that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mounts a file system of a few MiB on a folder; skips the test where that is not allowed.

    Args:
        folder: An empty folder.
        mebibytes: Its size.
    """
    options = f"size={mebibytes}m,mode=0777"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def enlarge(folder: Path, mebibytes: int) -> None:
    """Gives a small disk another size.

    Args:
        folder: Where it is mounted.
        mebibytes: Its size.
    """
    subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", folder], check=True)
