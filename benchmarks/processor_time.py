"""CPU time of groups of processes."""

from collections.abc import Mapping, Sequence

import psutil  # type: ignore[import-untyped]


class Meter:
    """Reads the CPU time that groups of running processes have used."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        """Takes the processes.

        Args:
            groups: Process ids by the name of what they do together.
        """
        self._groups = {name: [psutil.Process(pid) for pid in pids] for name, pids in groups.items()}

    def read(self) -> dict[str, float]:
        """Returns the CPU seconds, user's and system's, of each group up to now."""
        return {name: sum(_seconds(process) for process in group) for name, group in self._groups.items()}


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Returns the seconds used between two readings, by group."""
    return {name: after[name] - seconds for name, seconds in before.items()}


def family(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    return [pid, *descendants(pid)]


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process started, and those that they started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def resident(pids: Sequence[int]) -> int:
    """Returns the resident memory of processes in bytes."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
