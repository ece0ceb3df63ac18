"""Jobs as callers see them: read, listed, watched, cancelled, paused, resumed, deleted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from caravan.post_training.v1 import jobs_pb2, post_training_pb2
from services.core.errors import AbortedError, FailedPreconditionError
from services.post_training.jobs import events, transitions
from services.post_training.jobs.job_store import JobStore, StaleError
from services.post_training.jobs.records import Change, JobFilter, JobRecord, Page, Request
from services.post_training.storage import Storage, remove

DEFAULT_PAGE = 100


class Jobs:
    """Jobs."""

    def __init__(self, store: JobStore, storage: Storage) -> None:
        """Reads and changes them there.

        Args:
            store: The jobs.
            storage: Their folders.
        """
        self._store, self._storage = store, storage

    async def get(self, job_uuid: str) -> jobs_pb2.Job:
        """Returns a job.

        Raises:
            NotFoundError: There is none.
        """
        return (await self._store.read(job_uuid)).job

    async def list(self, request: post_training_pb2.ListJobsRequest) -> Page[post_training_pb2.ListJobsResponse]:
        """Returns a page of jobs, newest first, without requests and checkpoints.

        Args:
            request: Which ones.
        """
        after = request.scheduled_after.ToMicroseconds() if request.HasField("scheduled_after") else None
        before = request.scheduled_before.ToMicroseconds() if request.HasField("scheduled_before") else None
        wanted = JobFilter(
            frozenset(status for status in request.statuses if status),
            frozenset(kind for kind in request.kinds if kind),
            request.parent_job_uuid,
            dict(request.labels),
            after,
            before,
        )
        return await self._store.list_jobs(wanted, request.page_size or DEFAULT_PAGE, request.page_token)

    async def watch(self, request: post_training_pb2.WatchJobRequest) -> AsyncIterator[jobs_pb2.JobEvent]:
        """Yields a job's events.

        Args:
            request: Which ones, and from where on.

        Raises:
            NotFoundError: There is no such job.
            EventsGoneError: They are no longer kept.
        """
        kinds = {*request.kinds, post_training_pb2.JOB_EVENT_KIND_END} if request.kinds else set()
        watched = self._store.watch(request.job_uuid, request.from_sequence, include_trials=request.include_trials)
        async with contextlib.aclosing(watched) as found:  # type: ignore[type-var]
            async for event in found:
                if not kinds or events.KINDS[event.WhichOneof("event") or "end"] in kinds:
                    yield event

    async def cancel(self, request: post_training_pb2.CancelJobRequest) -> jobs_pb2.Job:
        """Cancels a job; nothing changes when it has ended.

        Raises:
            NotFoundError: There is no such job.
            AbortedError: It has another revision.
        """
        job = await self._change(request, lambda record: transitions.cancel(record, request.reason))
        if job.status == transitions.CANCELLED:
            # Those of a search that did not run have nobody else to do it.
            for uuid in job.child_job_uuids:
                reason = "its search was cancelled"
                await self.cancel(post_training_pb2.CancelJobRequest(job_uuid=uuid, reason=reason))
        return job

    async def pause(self, request: post_training_pb2.PauseJobRequest) -> jobs_pb2.Job:
        """Makes a job rest.

        Raises:
            NotFoundError: There is no such job.
            AbortedError: It has another revision.
            FailedPreconditionError: It has ended.
        """
        return await self._change(request, lambda record: transitions.pause(record, request.reason))

    async def resume(self, request: post_training_pb2.ResumeJobRequest) -> jobs_pb2.Job:
        """Puts a job back into the queue.

        Raises:
            NotFoundError: There is no such job, or a data set of it is gone.
            AbortedError: It has another revision.
            FailedPreconditionError: It runs, has completed, or has no checkpoint.
        """
        return await self._change(request, lambda record: transitions.resume(record, request.reason))

    async def delete(self, request: post_training_pb2.DeleteJobRequest) -> None:
        """Deletes a job that has ended, and a search's trials with it.

        Raises:
            NotFoundError: There is no such job.
            AbortedError: It has another revision.
            FailedPreconditionError: It has not ended, or another one goes on from a checkpoint of it.
        """
        once = Request.of("DeleteJob", request)
        if await self._store.repeated(once):
            return
        while True:
            record = await self._store.read(request.job_uuid)
            _check_revision(record, request.revision if request.HasField("revision") else None)
            for trial in record.job.child_job_uuids:
                require_ended(await self._store.read(trial))
            require_ended(record)
            try:
                await self.delete_with_trials(record, once)
            except StaleError:
                continue
            return

    async def delete_with_trials(self, record: JobRecord, once: Request | None = None) -> None:
        """Deletes an ended job, and a search's trials first.

        Args:
            record: The job.
            once: What makes the call repeatable.

        Raises:
            StaleError: One of them has changed.
            FailedPreconditionError: Another job goes on from a checkpoint of one, or a trial has not ended.
        """
        for uuid in record.job.child_job_uuids:
            trial = await self._store.read(uuid)
            require_ended(trial)
            await self._store.delete(trial)
            await self.clear(uuid)
        await self._store.delete(record, once)
        await self.clear(record.job.job_uuid)

    async def clear(self, job_uuid: str) -> None:
        """Removes the files of a job that was deleted.

        Args:
            job_uuid: The job.
        """
        await asyncio.to_thread(remove, self._storage.job(job_uuid))
        await self._store.bury(job_uuid)

    async def _change(self, request: "_Mutation", decide: Callable[[JobRecord], Change | None]) -> jobs_pb2.Job:
        """Changes a job as it is decided, again when it has changed meanwhile."""
        once = Request.of(request.DESCRIPTOR.name.removesuffix("Request"), request)
        if await self._store.repeated(once):
            return await self.get(request.job_uuid)
        revision = request.revision if request.HasField("revision") else None
        while True:
            record = await self._store.read(request.job_uuid)
            _check_revision(record, revision)
            change = decide(record)
            if change is None:
                return record.job
            try:
                await self._store.change(record, change, request=once)
            except StaleError:
                continue
            return await self.get(request.job_uuid)


_Mutation = post_training_pb2.CancelJobRequest | post_training_pb2.PauseJobRequest | post_training_pb2.ResumeJobRequest


def require_ended(record: JobRecord) -> None:
    """Makes sure that a job has ended.

    Raises:
        FailedPreconditionError: It has not.
    """
    if record.job.status not in transitions.ENDED:
        uuid = record.job.job_uuid
        message = f"job {uuid!r} has not ended: cancel it first, and wait for its end"
        raise FailedPreconditionError(message, reason="JOB_NOT_ENDED", metadata={"job_uuid": uuid})


def _check_revision(record: JobRecord, revision: int | None) -> None:
    if revision is not None and revision != record.job.revision:
        message = f"job {record.job.job_uuid!r} has revision {record.job.revision}, not {revision}: read it again"
        metadata = {"revision": str(record.job.revision)}
        raise AbortedError(message, reason="STALE_REVISION", metadata=metadata)
