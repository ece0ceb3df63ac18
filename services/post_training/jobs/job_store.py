"""The port of the store that jobs are kept in."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2
from services.core.errors import OutOfRangeError
from services.post_training.jobs.records import (
    Batch,
    Change,
    JobFilter,
    JobRecord,
    Lane,
    Lease,
    NewJob,
    Page,
    Request,
)


class StaleError(Exception):
    """A job changed since it was read: read it again and decide again."""


class EventsGoneError(OutOfRangeError):
    """Events that are asked for are no longer kept."""


class JobStore(ABC):
    """Jobs, their events and what they made."""

    @abstractmethod
    async def start(self) -> None:
        """Connects, and begins to listen for what other processes do.

        Raises:
            UnavailableError: The store does not answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ends all watches."""

    @abstractmethod
    async def create(self, new: NewJob, request: Request | None = None) -> str:
        """Creates a job, or finds the one that was created before by the same call.

        Args:
            new: The job.
            request: What makes the call repeatable.

        Returns:
            Identifier of the job.

        Raises:
            AlreadyExistsError: Another job has the identifier.
            InvalidArgumentError: The request id was used for something else.
            NotFoundError: A data set, a revision or a checkpoint that it uses is not there.
        """

    @abstractmethod
    async def find_created(self, job_uuid: str, digest: str, request: Request | None = None) -> str:
        """Looks for the job that a call has created before.

        Args:
            job_uuid: Identifier that the call asks for. Empty: none.
            digest: Of its request.
            request: What makes the call repeatable.

        Returns:
            Identifier of the job; empty when there is none.

        Raises:
            AlreadyExistsError: Another job has the identifier.
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def read(self, job_uuid: str) -> JobRecord:
        """Returns a job.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    async def change(
        self, record: JobRecord, change: Change, *, lease: Lease | None = None, request: Request | None = None
    ) -> int:
        """Changes a job, wholly or not at all.

        Args:
            record: The job as the change was decided on.
            change: What changes.
            lease: The right to run it; not given, anybody may change it.
            request: What makes the call repeatable.

        Returns:
            The fencing token, which a change to `Claimed` makes greater.

        Raises:
            StaleError: It has changed since it was read.
            LeaseLostError: The lease is somebody else's.
            NotFoundError: What it uses is gone.
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def repeated(self, request: Request | None) -> bool:
        """Tells whether a call was answered before.

        Raises:
            InvalidArgumentError: Its request id was used for something else.
        """

    @abstractmethod
    async def append(self, lease: Lease, batch: Batch) -> None:
        """Adds events that change no state.

        Raises:
            LeaseLostError: The lease is somebody else's.
        """

    @abstractmethod
    async def heartbeat(self, lease: Lease, lease_ms: int) -> None:
        """Renews a lease, and learns what is wished of the job.

        Raises:
            LeaseLostError: It is somebody else's.
        """

    @abstractmethod
    async def next_jobs(self, lane: Lane, limit: int) -> tuple[Sequence[str], float | None]:
        """Returns the first jobs of a queue, and the seconds until another one that is delayed will be in it; None: none will."""

    @abstractmethod
    async def waiting(self) -> Mapping[Lane, int]:
        """Returns how many jobs wait in each queue, those that are delayed too."""

    @abstractmethod
    async def expired_jobs(self, limit: int) -> Sequence[str]:
        """Returns jobs whose holder has let its lease run out."""

    @abstractmethod
    async def outdated_jobs(self, limit: int) -> Sequence[str]:
        """Returns ended jobs whose time is over."""

    @abstractmethod
    async def delete(self, record: JobRecord, request: Request | None = None) -> None:
        """Deletes an ended job with all that the store holds of it; its files wait for `bury`.

        Raises:
            StaleError: It has changed since it was read.
            FailedPreconditionError: Another job goes on from one of its checkpoints (CHECKPOINT_IN_USE).
        """

    @abstractmethod
    async def graves(self, limit: int) -> Sequence[str]:
        """Returns deleted jobs whose files are still there."""

    @abstractmethod
    async def bury(self, job_uuid: str) -> None:
        """Says that a deleted job's files are gone."""

    @abstractmethod
    async def list_jobs(
        self, wanted: JobFilter, page_size: int, page_token: str
    ) -> Page[post_training_pb2.ListJobsResponse]:
        """Returns a page of jobs, newest first, without requests and checkpoints.

        Raises:
            InvalidArgumentError: The page token is none of ours.
        """

    @abstractmethod
    async def list_checkpoints(
        self, job_uuid: str, *, final_only: bool, page_size: int, page_token: str
    ) -> Page[Sequence[checkpoints_pb2.Checkpoint]]:
        """Returns a page of checkpoints, newest first.

        Raises:
            NotFoundError: There is no such job.
            InvalidArgumentError: The page token is none of ours.
        """

    @abstractmethod
    async def add_checkpoint(
        self,
        job_uuid: str,
        checkpoint: checkpoints_pb2.Checkpoint,
        event: jobs_pb2.JobEvent | None,
        request: Request | None = None,
    ) -> None:
        """Adds a checkpoint to a job that nobody needs to hold, or puts it in the place of the one of the same identifier.

        Raises:
            NotFoundError: There is no such job.
        """

    @abstractmethod
    async def drop_checkpoint(self, job_uuid: str, identifier: str, request: Request | None = None) -> None:
        """Forgets a checkpoint.

        Raises:
            FailedPreconditionError: Another job goes on from it (CHECKPOINT_IN_USE).
        """

    @abstractmethod
    def watch(self, job_uuid: str, from_sequence: int, *, include_trials: bool) -> AsyncIterator[jobs_pb2.JobEvent]:
        """Yields a job's events from a number on, those to come as they come; ends after the one that ends the job.

        Close it (`contextlib.aclosing`) when leaving before its end. A reader that is slow holds nobody back.

        Args:
            job_uuid: The job.
            from_sequence: Number of the first event wanted. 0: the first of all.
            include_trials: Yields the trials' events too.

        Raises:
            NotFoundError: There is no such job, or it was deleted.
            EventsGoneError: The events from there on are no longer kept.
        """

    @abstractmethod
    async def changed(self, seconds: float) -> None:
        """Waits until some job may stand somewhere else than before; returns after `seconds` in any case."""

    @abstractmethod
    def listen(self, hear: Callable[[str, "jobs_pb2.JobStatus.ValueType"], None]) -> None:
        """Calls back whenever a job has news, with its identifier and where it stands; some news may be lost.

        Args:
            hear: Must be quick.
        """

    @abstractmethod
    async def now_us(self) -> int:
        """Returns the store's time in microseconds since the epoch."""

    @property
    @abstractmethod
    def quiet_seconds(self) -> float:
        """Seconds since the store did not answer the last time."""
