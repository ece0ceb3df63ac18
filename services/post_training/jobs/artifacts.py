"""What jobs have made: checkpoints read, exported, sent and deleted."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2
from services.core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
)
from services.post_training.jobs import events, transitions
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.jobs import DEFAULT_PAGE
from services.post_training.jobs.keeping import remove_checkpoint
from services.post_training.jobs.ports import Exporter, Registrar
from services.post_training.jobs.records import Page, Request
from services.post_training.storage import Storage
from services.post_training.trainer.checkpoints import describe_files

_CHUNK = 256 << 10
_FORM_NAMES = {
    checkpoints_pb2.CHECKPOINT_FORMAT_PEFT_ADAPTER: "peft",
    checkpoints_pb2.CHECKPOINT_FORMAT_MERGED: "merged",
}
_EXPORTS = "exports"


class Artifacts:
    """What jobs have made."""

    def __init__(self, store: JobStore, storage: Storage, registrar: Registrar, exporter: Exporter) -> None:
        """Uses these.

        Args:
            store: The jobs.
            storage: Their folders.
            registrar: Knows which checkpoints models are served from.
            exporter: Writes checkpoints in other forms.
        """
        self._store, self._storage, self._registrar, self._exporter = store, storage, registrar, exporter
        self._exporting: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def of_job(self, job_uuid: str) -> post_training_pb2.GetJobArtifactsResponse:
        """Returns what a job has made.

        Raises:
            NotFoundError: There is no such job.
        """
        job = (await self._store.read(job_uuid)).job
        final = transitions.final_checkpoint(job)
        made_data = job.status == jobs_pb2.JOB_STATUS_COMPLETED and job.HasField("synthetic_data")
        return post_training_pb2.GetJobArtifactsResponse(
            job_uuid=job_uuid,
            checkpoints=job.checkpoints,
            final_identifier=final.identifier if final else "",
            registered_model_id=job.registered_model_id,
            output_dataset_id=job.synthetic_data.output_dataset_id if made_data else "",
        )

    async def list(
        self, request: post_training_pb2.ListCheckpointsRequest
    ) -> Page[Sequence[checkpoints_pb2.Checkpoint]]:
        """Returns a page of checkpoints, newest first.

        Raises:
            NotFoundError: There is no such job.
        """
        return await self._store.list_checkpoints(
            request.job_uuid,
            final_only=request.final_only,
            page_size=request.page_size or DEFAULT_PAGE,
            page_token=request.page_token,
        )

    async def get(self, job_uuid: str, identifier: str) -> checkpoints_pb2.Checkpoint:
        """Returns a checkpoint.

        Raises:
            NotFoundError: There is none.
        """
        return find(await self._job(job_uuid), identifier)

    async def delete(self, request: post_training_pb2.DeleteCheckpointRequest) -> None:
        """Deletes a checkpoint.

        Raises:
            NotFoundError: There is none.
            FailedPreconditionError: The job needs it, another job goes on from it, or a model is served from it.
        """
        once = Request.of("DeleteCheckpoint", request)
        if await self._store.repeated(once):
            return
        job = await self._job(request.job_uuid)
        checkpoint = find(job, request.identifier)
        newest = transitions.newest_resumable(job)
        if job.status not in transitions.ENDED and newest is not None and newest.identifier == checkpoint.identifier:
            raise _needed(f"job {job.job_uuid!r} goes on from it: wait until the job has ended, or cancel it")
        if checkpoint.registered_model_id and await self._registrar.is_served(checkpoint):
            name = checkpoint.registered_model_id
            raise _needed(f"model {name!r} is served from it: unregister the model first")
        await self._store.drop_checkpoint(request.job_uuid, request.identifier, once)
        await asyncio.to_thread(self._remove, request.job_uuid, request.identifier)

    def _remove(self, job_uuid: str, identifier: str) -> None:
        folder = self._storage.job(job_uuid)
        remove_checkpoint(folder, identifier)
        remove_checkpoint(folder, identifier, _EXPORTS)

    async def export(self, request: post_training_pb2.ExportCheckpointRequest) -> checkpoints_pb2.Checkpoint:
        """Writes a checkpoint in another form beside it, unless that was done before.

        Raises:
            NotFoundError: There is no such checkpoint.
            InvalidArgumentError: It has no such form.
            ResourceExhaustedError: There is no room.
        """
        once = Request.of("ExportCheckpoint", request)
        await self._store.repeated(once)
        job = await self._job(request.job_uuid)
        source = find(job, request.identifier)
        form = _form(source, request.format)
        identifier = f"{source.identifier}-{form}"
        lock = self._exporting.setdefault((job.job_uuid, identifier), asyncio.Lock())
        async with lock:
            job = await self._job(request.job_uuid)
            found = next((one for one in job.checkpoints if one.identifier == identifier), None)
            if found is None:
                found = await self._export(job, source, identifier, request.format)
            await self._store.add_checkpoint(job.job_uuid, found, events.checkpoint(found), once)
        return found

    async def _export(
        self,
        job: jobs_pb2.Job,
        source: checkpoints_pb2.Checkpoint,
        identifier: str,
        form: "checkpoints_pb2.CheckpointFormat.ValueType",
    ) -> checkpoints_pb2.Checkpoint:
        folder = self._storage.job(job.job_uuid)
        target = folder / _EXPORTS / identifier
        await asyncio.to_thread(self._make_room, folder, identifier, source)
        await self._exporter.export(folder, Path(source.path), target, form)
        made = checkpoints_pb2.Checkpoint()
        made.CopyFrom(source)
        for name in ("files", "size_bytes", "sha256", "registered_model_id"):
            made.ClearField(name)
        made.identifier, made.path, made.format = identifier, str(target), form
        made.resumable = made.is_final = False
        made.created_at.CopyFrom(events.now())
        await asyncio.to_thread(describe_files, target, made)
        return made

    def _make_room(self, folder: Path, identifier: str, source: checkpoints_pb2.Checkpoint) -> None:
        # What an export that nobody knows of has left.
        remove_checkpoint(folder, identifier, _EXPORTS)
        (folder / _EXPORTS).mkdir(mode=0o750, exist_ok=True)
        if self._storage.free_bytes() < source.size_bytes:
            message = "there is no room for the export on the service's disk: delete data sets, jobs or checkpoints"
            raise ResourceExhaustedError(message, subject="storage_dir", reason="DISK_FULL")

    async def download(
        self, request: post_training_pb2.DownloadCheckpointRequest
    ) -> AsyncIterator[post_training_pb2.DownloadCheckpointResponse]:
        """Yields a checkpoint's files one after the other, from a file and a byte on.

        Raises:
            NotFoundError: There is no such checkpoint, or no such file in it.
            OutOfRangeError: The file is shorter than that.
        """
        checkpoint = await self.get(request.job_uuid, request.identifier)
        files = _from(checkpoint, request.from_path, single=request.single_file)
        offset = request.offset
        if offset > files[0].size_bytes:
            message = f"{files[0].path} has {files[0].size_bytes} bytes: offset must be at most that"
            raise OutOfRangeError(message, reason="OFFSET_TOO_LARGE")
        for file in files:
            yield post_training_pb2.DownloadCheckpointResponse(file=file)
            async for data in _read(Path(checkpoint.path), file, offset):
                yield post_training_pb2.DownloadCheckpointResponse(data=data)
            offset = 0
        complete = post_training_pb2.DownloadComplete(sha256=checkpoint.sha256)
        yield post_training_pb2.DownloadCheckpointResponse(complete=complete)

    async def _job(self, job_uuid: str) -> jobs_pb2.Job:
        return (await self._store.read(job_uuid)).job


def find(job: jobs_pb2.Job, identifier: str) -> checkpoints_pb2.Checkpoint:
    """Returns a checkpoint of a job.

    Args:
        job: The job.
        identifier: The checkpoint.

    Raises:
        NotFoundError: It has none of that name.
    """
    for checkpoint in job.checkpoints:
        if checkpoint.identifier == identifier:
            return checkpoint
    message = f"job {job.job_uuid!r} has no checkpoint {identifier!r}; GetJobArtifacts lists those it has"
    raise NotFoundError(message, resource_type="checkpoint", resource_name=f"{job.job_uuid}/{identifier}")


def _form(source: checkpoints_pb2.Checkpoint, form: "checkpoints_pb2.CheckpointFormat.ValueType") -> str:
    name = _FORM_NAMES.get(form)
    if source.format != checkpoints_pb2.CHECKPOINT_FORMAT_PEFT_ADAPTER or name is None:
        allowed = "CHECKPOINT_FORMAT_PEFT_ADAPTER or CHECKPOINT_FORMAT_MERGED"
        what = (
            f"must be {allowed}"
            if name is None
            else "must be left alone: this checkpoint is a whole model already; download it"
        )
        raise InvalidArgumentError.of("format", what, reason="NO_SUCH_FORM")
    return name


def _from(checkpoint: checkpoints_pb2.Checkpoint, path: str, *, single: bool) -> list[checkpoints_pb2.CheckpointFile]:
    names = [file.path for file in checkpoint.files]
    if path and path not in names:
        message = f"checkpoint {checkpoint.identifier!r} has no file {path!r}; GetCheckpoint lists its files"
        raise NotFoundError(message, resource_type="file", resource_name=path)
    if not names:
        message = f"checkpoint {checkpoint.identifier!r} has no files"
        raise NotFoundError(message, resource_type="file", resource_name="")
    files = list(checkpoint.files)[names.index(path) if path else 0 :]
    return files[:1] if single else files


async def _read(folder: Path, file: checkpoints_pb2.CheckpointFile, offset: int) -> AsyncIterator[bytes]:
    """Yields a file's bytes; as many as the checkpoint says, or it is an error."""
    descriptor = await asyncio.to_thread(_open, folder, file.path)
    left = file.size_bytes - offset
    try:
        while left > 0:
            data = await asyncio.to_thread(os.pread, descriptor, min(_CHUNK, left), file.size_bytes - left)
            if not data:
                raise _damaged(file.path)
            left -= len(data)
            yield data
    finally:
        os.close(descriptor)


def _open(folder: Path, path: str) -> int:
    """Opens a file of a checkpoint; a name that leads out of its folder opens nothing."""
    whole = folder / path
    try:
        if not whole.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            raise _damaged(path)
        return os.open(whole, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _damaged(path) from error


def _damaged(path: str) -> FailedPreconditionError:
    message = f"{path} is not as the checkpoint says it is: it was deleted meanwhile, or the service's disk lost it"
    return FailedPreconditionError(message, reason="CHECKPOINT_DAMAGED")


def _needed(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(message, reason="CHECKPOINT_IN_USE")
