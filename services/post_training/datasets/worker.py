"""`python -m services.post_training.datasets.worker`: reads and scans rows. What goes wrong with a file is an answer."""

import resource
import traceback
from dataclasses import asdict
from typing import Any

from services.core.errors import CaravanError
from services.core.worker_loop import limit, serve
from services.post_training.datasets import importing, scanning
from services.post_training.datasets.answers import faults_of
from services.post_training.storage import is_full, no_room

_FILE_SLACK_BYTES = 64 << 20


def _done(task: dict[str, Any]) -> dict[str, Any]:
    arguments = task["arguments"]
    if task["name"] == "scan":
        return asdict(scanning.run(scanning.Scan(**arguments)))
    # Whatever a download says of its size, and whatever a library makes of it on the way.
    limit(resource.RLIMIT_FSIZE, _FILE_SLACK_BYTES + 2 * arguments["max_bytes"])
    about = arguments.pop("huggingface")
    facts = importing.HuggingFaceFacts(**about) if about is not None else None
    return asdict(importing.run(importing.Import(**arguments, huggingface=facts)))


def _answer(task: dict[str, Any], _: bytes) -> dict[str, Any]:
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


if __name__ == "__main__":
    serve(_answer)
