"""Ends the stack's processes when `caravan up` is gone without having done so, killed for instance.

`python -m caravan.local.guardian SECONDS` reads lines from standard input: `watch PID` and `forget PID`, each PID the leader of a process
group. Standard input ends when nobody holds its other end any more; what is still watched then gets SIGTERM, and SIGKILL after SECONDS.
"""

import contextlib
import os
import signal
import sys
import time


def watch(seconds: float) -> None:
    """Follows standard input to its end, then ends what is still watched.

    Args:
        seconds: Time to stop for whoever gets SIGTERM.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    for line in sys.stdin:
        verb, _, pid = line.strip().partition(" ")
        if verb == "watch":
            groups.append(int(pid))
        elif verb == "forget" and int(pid) in groups:
            groups.remove(int(pid))
    end(list(reversed(groups)), seconds)


def end(groups: list[int], seconds: float) -> None:
    """Ends process groups: SIGTERM to the leaders one after the other, SIGKILL to what is left of a group whose leader is gone.

    Args:
        groups: Process groups, in the order in which they are to stop.
        seconds: Time to stop, for all of them together.
    """
    deadline = time.monotonic() + seconds
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(group, signal.SIGTERM)
    while groups:
        patient = time.monotonic() < deadline
        waiting = [group for group in groups if patient and _lives(group)]
        for group in groups:
            if group not in waiting:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        groups = waiting
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch(float(sys.argv[1]))
