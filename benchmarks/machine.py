"""The machine and the versions that figures belong to."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def describe(packages: Sequence[str]) -> list[str]:
    """Says when and where something is measured.

    Args:
        packages: Distributions whose versions matter.
    """
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version}" for name in packages if (version := _version(name)))
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average just after: {os.getloadavg()[0]:.1f}.",
        f"{_processor()}, {cores} cores, {memory:.0f} GiB; {platform.system()}; Python {platform.python_version()}, {versions}.",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
