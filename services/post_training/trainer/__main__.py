"""`python -m services.post_training.trainer <spec.json>`: runs a training, alone or as one of torchrun's workers."""

import os
import sys
from pathlib import Path

from services.post_training.trainer.stopping import Stop

if __name__ == "__main__":
    stop = Stop()
    stop.listen()

    from services.post_training.trainer.run import run

    status = run(Path(sys.argv[1]), stop)
    sys.stdout.flush()
    sys.stderr.flush()
    # What was written is on disk; the libraries' own endings take seconds, and wait for processes that may be gone.
    os._exit(status)
