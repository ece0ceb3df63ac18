"""`python -m services.post_training.datasets.worker`: reads and scans rows, one task after the other, until its input ends.

A task is a line of JSON, and so is an answer. What goes wrong with a file is an answer; a file that crashes the process, or takes too much
time or memory, costs nobody else anything.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict
from typing import Any

from services.core.errors import CaravanError
from services.post_training.datasets import importing, scanning
from services.post_training.datasets.answers import faults_of
from services.post_training.storage import is_full, no_room

_PR_SET_PDEATHSIG = 1
# What a process may have used and still get another task.
_WORN_KIBIBYTES = 512 << 10
_FILE_SLACK_BYTES = 64 << 20


def _done(task: dict[str, Any]) -> dict[str, Any]:
    arguments = task["arguments"]
    if task["name"] == "scan":
        return asdict(scanning.run(scanning.Scan(**arguments)))
    # Whatever a download says of its size, and whatever a library makes of it on the way.
    _limit(resource.RLIMIT_FSIZE, _FILE_SLACK_BYTES + 2 * arguments["max_bytes"])
    about = arguments.pop("huggingface")
    facts = importing.HuggingFaceFacts(**about) if about is not None else None
    return asdict(importing.run(importing.Import(**arguments, huggingface=facts)))


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": _done(task)}
    except CaravanError as error:
        return {"error": faults_of(error)}
    except FileNotFoundError as error:
        return {"gone": str(error.filename)}
    except OSError as error:
        if is_full(error):
            return {"error": faults_of(no_room())}
        traceback.print_exc()
        return {"broken": f"{type(error).__name__}: {error.strerror}"}
    except Exception as error:  # noqa: BLE001 - whatever a library makes of a broken file, it is the file's fault; the log tells
        traceback.print_exc()
        return {"broken": type(error).__name__}


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _die_with(parent: int) -> None:
    """Ends this process when the service's dies, however that dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Answers tasks from standard input on standard output. Arguments: most memory in bytes, and the process id of the service."""
    _limit(resource.RLIMIT_DATA, int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    # What a library prints must not get between the answers.
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory(prefix="caravan-datasets-") as home:
        # Nothing of the user's: no tokens, no caches.
        os.environ["HOME"] = home
        while line := tasks.readline():
            answer = _answer(json.loads(line))
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answers.write(json.dumps(answer | {"worn": used > _WORN_KIBIBYTES}).encode() + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
