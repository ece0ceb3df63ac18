"""Which of a job's checkpoints are kept while it trains: the newest, and the best."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import structlog

from caravan.post_training.v1 import checkpoints_pb2
from services.core.errors import CaravanError, FailedPreconditionError
from services.post_training.jobs.job_store import JobStore
from services.post_training.spec import CHECKPOINTS_FOLDER
from services.post_training.storage import Storage, remove

_log = structlog.get_logger(__name__)


class Keeping:
    """Removes the checkpoints that are too many."""

    def __init__(self, store: JobStore, storage: Storage) -> None:
        """Removes nothing yet.

        Args:
            store: The jobs.
            storage: Their folders.
        """
        self._store, self._storage = store, storage

    async def prune(self, job_uuid: str, keep: int) -> None:
        """Removes a job's checkpoints that are too many; one that another job goes on from stays.

        Args:
            job_uuid: The job.
            keep: How many stay.
        """
        try:
            checkpoints = (await self._store.read(job_uuid)).job.checkpoints
            for checkpoint in surplus(checkpoints, keep):
                with contextlib.suppress(FailedPreconditionError):
                    await self._store.drop_checkpoint(job_uuid, checkpoint.identifier)
                    await asyncio.to_thread(remove_checkpoint, self._storage.job(job_uuid), checkpoint.identifier)
        except (CaravanError, OSError) as error:
            # The next checkpoint brings another chance.
            _log.warning("checkpoints_not_pruned", job_uuid=job_uuid, why=str(error))


def surplus(checkpoints: Sequence[checkpoints_pb2.Checkpoint], keep: int) -> list[checkpoints_pb2.Checkpoint]:
    """Returns the checkpoints that are too many, oldest first: results, exports and those in service are never among them.

    Args:
        checkpoints: Those of a job.
        keep: How many stay: the newest, and the best among all in the place of the oldest of those.
    """
    made = [one for one in checkpoints if one.resumable and not one.is_final and not one.registered_model_id]
    made.sort(key=lambda one: one.iters)
    kept = made[-keep:]
    best = min(made, key=_loss, default=None)
    if best is not None and keep > 1 and best not in kept:
        kept = [best, *kept[1:]]
    return [one for one in made if one not in kept]


def remove_checkpoint(folder: Path, identifier: str, kind: str = CHECKPOINTS_FOLDER) -> None:
    """Removes a checkpoint's files, in such a way that a folder with its name is never half of it.

    Args:
        folder: The job's folder.
        identifier: The checkpoint.
        kind: Folder in it that the checkpoint is in.
    """
    place = folder / kind / identifier
    doomed = place.with_name(f".gone-{identifier}")
    remove(doomed)
    with contextlib.suppress(FileNotFoundError):
        place.rename(doomed)
    remove(doomed)


def _loss(checkpoint: checkpoints_pb2.Checkpoint) -> float:
    metrics = checkpoint.metrics
    return metrics["validation_loss"] if "validation_loss" in metrics else metrics.get("loss", float("inf"))
