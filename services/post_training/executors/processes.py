"""A process with all that it has started: its memory, and its end. Reads Linux's /proc; blocks, so call it in a thread."""

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024


def tree(root: int, known: Mapping[int, str] | None = None) -> dict[int, str]:
    """Returns a process and its descendants, each with the time at which it started, by which it is known when its number is used again.

    Args:
        root: The process.
        known: Those found before; one that has lost its parents since still counts, with its descendants.
    """
    children: defaultdict[int, list[int]] = defaultdict(list)
    started: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (found := _parent_and_start(int(entry.name))):
            children[found[0]].append(int(entry.name))
            started[int(entry.name)] = found[1]
    orphans = [pid for pid, start in (known or {}).items() if started.get(pid) == start]
    members, waiting = {}, [root, *orphans]
    while waiting:
        pid = waiting.pop()
        if pid in started and pid not in members:
            members[pid] = started[pid]
            waiting += children[pid]
    return members


def used_bytes(pid: int) -> int:
    """Returns the memory that a process has for itself, in bytes: what it shares with files can be had again at any time.

    Args:
        pid: The process; 0 for one that is gone.
    """
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(value.split()[0]) for value in fields.values()) * _KIB


def kill(members: Mapping[int, str]) -> None:
    """Ends processes at once.

    Args:
        members: The processes, as `tree` returned them; one whose number is somebody else's by now is left alone.
    """
    for pid, start in members.items():
        found = _parent_and_start(pid)
        if found is not None and found[1] == start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def signal_group(group: int, number: signal.Signals) -> None:
    """Sends a signal to a process group; does nothing when it is gone.

    Args:
        group: The group.
        number: The signal.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _parent_and_start(pid: int) -> tuple[int, str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), fields[19]
