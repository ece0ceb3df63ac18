"""The child's side of `services.core.worker_pool`: answers one request after the other, until its input ends.

A request is a line of JSON, `{"request": ..., "size": n}`, and n bytes; an answer is a line of JSON. Light to import: a worker brings in
what it needs itself.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1
# What a process may have used and still get another request.
_WORN_KIBIBYTES = 512 << 10


def serve(answer: Callable[[dict[str, Any], bytes], dict[str, Any]]) -> None:
    """Answers requests from standard input on standard output. The process's arguments are the pool's.

    Args:
        answer: Makes an answer, plain values, of a request and its bytes. What it raises ends the process.
    """
    limit(resource.RLIMIT_DATA, int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # What a library prints must not get between the answers.
    sys.stdout = sys.stderr
    while line := requests.readline():
        head = json.loads(line)
        given = answer(head["request"], requests.read(head["size"]))
        answers.write(json.dumps(given | {"worn": _peak_kibibytes() > _WORN_KIBIBYTES}).encode() + b"\n")
        answers.flush()


def limit(which: int, most: int) -> None:
    """Limits what this process may use.

    Args:
        which: One of `resource.RLIMIT_*`.
        most: The limit.
    """
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _peak_kibibytes() -> int:
    """Returns the most memory that this process has had."""
    # What `getrusage` tells begins with what the service had when it made the process.
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - as light as can be
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def _die_with(parent: int) -> None:
    """Ends this process when the service's dies, however that dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
