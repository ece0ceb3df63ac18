"""A worker that does what the test says: `echo`, `pid`, `leave` files, `die`, `sleep`, `grow`, `babble`."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from services.core.worker_loop import serve


def answer(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    match request["do"]:
        case "die":
            os.abort()
        case "sleep":
            time.sleep(60)
        case "grow":
            return {"size": len(bytearray(request["bytes"]))}
        case "babble":
            print("a library says something")
            sys.stdout.flush()
        case "leave":
            for place in (Path.home(), Path(tempfile.gettempdir())):
                (place / "left").write_text("something")
            os.kill(os.getpid(), 9)
        case "environment":
            return {"names": sorted(os.environ), "home": str(Path.home()), "temporary": tempfile.gettempdir()}
    return {"pid": os.getpid(), "said": content.decode()}


if __name__ == "__main__":
    serve(answer)
