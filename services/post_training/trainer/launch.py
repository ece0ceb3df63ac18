"""`python -m services.post_training.trainer.launch <processes> <spec.json>`: runs a training in several processes under torchrun.

`cluster` for the number: nodes, processes and where they meet come from torchrun's variables `PET_*`, which Kubeflow Trainer sets.

torchrun answers SIGTERM by ending its workers within 30 seconds. Here it only passes the signal on, and waits: they finish their step,
write a checkpoint and end, however long that takes.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from services.post_training.trainer.stopping import (
    LAUNCHER_VARIABLE,
    service_is_watched,
    service_lives,
    signal_at_death_of_parent,
)


def _stop_workers(number: int, _: FrameType | None) -> None:
    # Workers are sessions of their own, which a signal to this process's group does not reach.
    for worker in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(worker), number)


def main(processes: str, spec_file: str) -> None:
    """Runs a training.

    Args:
        processes: Number of processes, or `cluster`.
        spec_file: File with the spec.
    """
    signal.signal(signal.SIGTERM, _stop_workers)
    if service_is_watched():
        signal_at_death_of_parent(signal.SIGTERM)
        if not service_lives():
            sys.exit("the service that started the training is gone")
    os.environ[LAUNCHER_VARIABLE] = str(os.getpid())
    from torch.distributed.run import main as torchrun

    place = () if processes == "cluster" else ("--standalone", "--nproc-per-node", processes)
    torchrun(
        [
            *(*place, "--max-restarts", "0", "--signals-to-handle", "SIGQUIT"),
            *("-m", "services.post_training.trainer", spec_file),
        ]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
