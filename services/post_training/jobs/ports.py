"""What jobs need of the world: a store, somebody who does the work, processes, and a place to put a result into service."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, training_pb2
from services.core.errors import CaravanError
from services.post_training.jobs.records import (
    JobRecord,
    Lease,
)


class LeaseLostError(Exception):
    """A job is somebody else's by now, or gone."""


class Report(ABC):
    """Where work says what happens. Events are numbered and committed in batches."""

    @abstractmethod
    async def say(self, event: jobs_pb2.JobEvent) -> None:
        """Says one event; waits while too many are on their way."""

    @abstractmethod
    async def settle(self) -> None:
        """Waits until everything said is in the store.

        Raises:
            LeaseLostError: The job is somebody else's.
        """


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job that is to be done now."""

    record: JobRecord
    """The job as it was claimed, with its request and checkpoints."""
    lease: Lease
    """The right to run it. `wish`: end soon, and keep what there is; `lost`: end at once."""
    folder: Path
    """The job's folder; it need not exist yet."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The work is done."""

    registered_model_id: str = ""
    """Identifier that the result is registered under as a model. Empty: it is not."""
    best_child_job_uuid: str = ""
    """Best trial of a search."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The work ended early, because that was wished."""

    why: str = ""
    """What there is to go on from, for people."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The work came to nothing."""

    error: CaravanError
    """What went wrong and what to do."""
    again: bool
    """It may go well the next time: it was no fault of the request's."""


class Work(ABC):
    """Does jobs of some kinds. May be given a job that another process has begun: it goes on from what is there."""

    @abstractmethod
    async def run(self, assignment: Assignment, report: Report) -> Completed | Stopped | Failed:
        """Does a job.

        Args:
            assignment: The job.
            report: Where it says what happens.

        Raises:
            CaravanError: It failed; UnavailableError and AbortedError are tried again.
            LeaseLostError: The job is somebody else's.
        """

    def resources(self, job: jobs_pb2.Job) -> dict[str, Any]:
        """Returns what the job gets here: `processes`, `gpus`, `memory_bytes`."""
        del job
        return {}


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a training said."""

    text: str
    """The line without its end; cut when it is too long."""
    error: bool = False
    """It came on the standard error output."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a training's processes ended."""

    code: int
    """Exit code; negative: number of the signal that ended it."""
    out_of_memory: bool = False
    """It was ended because a process used more memory than it may."""
    peak_bytes: int = 0
    """Most memory that one of its processes used."""


class Running(ABC):
    """A training's processes."""

    @abstractmethod
    def lines(self) -> AsyncIterator[Line]:
        """Yields what they say; ends when all of them have ended."""

    @abstractmethod
    async def stop(self) -> None:
        """Asks them to write a checkpoint and end."""

    @abstractmethod
    async def kill(self) -> None:
        """Ends them at once."""

    @abstractmethod
    async def wait(self) -> Exit:
        """Waits until they have ended."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What an executor is to run."""

    job: jobs_pb2.Job
    """The job, with its request."""
    spec: Path
    """File that says all to the training."""
    folder: Path
    """The job's folder."""
    num_processes: int
    """Processes that train together."""
    max_memory_bytes: int
    """Memory that one process may use. 0: no limit."""


class Executor(ABC):
    """Runs trainings somewhere."""

    lane: Literal["local", "kubernetes"]

    @abstractmethod
    def check(self, executor: training_pb2.ExecutorConfig) -> int:
        """Makes sure that it can run what is asked for; returns the number of processes.

        Raises:
            InvalidArgumentError: It cannot, with the field's path.
            FailedPreconditionError: It is not to be had here.
        """

    @abstractmethod
    async def start(self, launch: Launch) -> Running:
        """Starts a training.

        Raises:
            CaravanError: It cannot.
        """

    @abstractmethod
    def resources(self, job: jobs_pb2.Job) -> dict[str, Any]:
        """Returns what a training gets: `processes`, `gpus`, `memory_bytes`."""


class DataSets(ABC):
    """The data sets that trainings use."""

    @abstractmethod
    async def newest_revision(self, dataset_id: str) -> int:
        """Returns the number of a data set's newest revision.

        Raises:
            NotFoundError: There is no such data set.
        """


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training needs to be started."""

    spec: Path
    """The file for the training's processes."""
    num_processes: int
    """Processes that train together."""


class Preparer(ABC):
    """Makes what a training's processes are given."""

    @abstractmethod
    async def prepare(self, assignment: Assignment, num_processes: int) -> Prepared:
        """Writes the training's spec into its folder. The training goes on from the newest checkpoint there, if there is one.

        Args:
            assignment: The job.
            num_processes: Processes that train together.

        Raises:
            CaravanError: Something that the training needs is not there any more.
        """


class Planner(ABC):
    """Checks trainings before they are jobs, and says what they will take."""

    @abstractmethod
    async def plan(self, job: jobs_pb2.Job, num_processes: int) -> jobs_pb2.TrainingEstimate:
        """Checks a training and estimates it.

        Args:
            job: The job that there would be, with its request; revisions of data sets are filled in.
            num_processes: Processes that train together.

        Raises:
            InvalidArgumentError: It is wrong, with the paths of the request's fields.
            NotFoundError: There is no such model.
            FailedPreconditionError: It cannot be done here.
        """


class Registrar(ABC):
    """Puts results into service."""

    @abstractmethod
    async def check(self, job: jobs_pb2.Job) -> None:
        """Makes sure, before there is a job, that its result can be put into service as it asks.

        Raises:
            CaravanError: It cannot.
        """

    @abstractmethod
    async def register(self, job: jobs_pb2.Job, checkpoint: checkpoints_pb2.Checkpoint) -> str:
        """Puts a job's result into service and returns its identifier as a model. May be repeated.

        Raises:
            CaravanError: It cannot.
        """

    @abstractmethod
    async def is_served(self, checkpoint: checkpoints_pb2.Checkpoint) -> bool:
        """Tells whether a registered model is served from a checkpoint's folder."""


class Exporter(ABC):
    """Writes checkpoints in other forms."""

    @abstractmethod
    async def export(
        self, job_folder: Path, checkpoint: Path, target: Path, form: "checkpoints_pb2.CheckpointFormat.ValueType"
    ) -> None:
        """Writes a checkpoint in another form; the target is whole or not there.

        Args:
            job_folder: Folder of the job that made it, with its spec.
            checkpoint: Folder of the checkpoint.
            target: Folder that must not be there yet.
            form: The form.

        Raises:
            CaravanError: It cannot.
        """
