"""The port of a sandbox: what goes in, what comes out, and the limits between."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """How much one execution may use."""

    wall_seconds: float = 30.0
    """Longest time by the clock."""
    cpu_seconds: int = 20
    """Most processor time."""
    memory_bytes: int = 512 * MEBIBYTE
    """Most memory, of all its processes together."""
    processes: int = 32
    """Most processes and threads."""
    disk_bytes: int = 64 * MEBIBYTE
    """Most file content; it lies in memory and counts beside `memory_bytes`."""
    output_bytes: int = 256 * 1024
    """Most of stdout, and of stderr; the rest is cut off."""
    files_bytes: int = 16 * MEBIBYTE
    """Most file content that comes back."""
    files: int = 32
    """Most files that come back."""


class Ending(StrEnum):
    """How an execution ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Execution:
    """What came out."""

    ending: Ending
    """How it ended."""
    stdout: str = ""
    """What the code printed."""
    stderr: str = ""
    """What it reported, the traceback included."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that are new or changed, by their path in the working directory."""
    notes: tuple[str, ...] = ()
    """What was cut off."""


class Sandbox(ABC):
    """A place where untrusted Python runs: without network, without the host's files, within limits, and gone afterwards."""

    @abstractmethod
    async def check(self) -> None:
        """Makes sure that it works here, by running something.

        Raises:
            FailedPreconditionError: It does not; the message says why.
        """

    @abstractmethod
    async def run(self, code: str, files: Mapping[str, bytes], limits: SandboxLimits) -> Execution:
        """Runs code. Cancelling ends it at once.

        Args:
            code: Python.
            files: Files to put into the working directory, by name.
            limits: How much it may use.
        """

    async def close(self) -> None:  # noqa: B027 - a sandbox may hold nothing
        """Ends what it does beside executions."""
