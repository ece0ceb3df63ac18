"""A plugin that vLLM loads in each of its processes: an engine ends with the process that started it, however that ends.

vLLM ends its engine core when the front end leaves in order. One whose front end is killed would keep its memory, and the GPU's, for good,
and the next one would find none.
"""

import multiprocessing
import os
import signal
import threading
import time

_GRACE_SECONDS = 5.0


def end_with_parent() -> None:
    """Watches the process that started this one, if that is one of Python's own kind. vLLM calls it."""
    if multiprocessing.parent_process() is not None:
        threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
