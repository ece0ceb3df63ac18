"""What goes into and comes out of the jobs' store."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, training_pb2

T = TypeVar("T")

TrainingMessage: TypeAlias = (
    training_pb2.SupervisedFineTuneRequest
    | training_pb2.PreferenceOptimizeRequest
    | training_pb2.TrainRewardModelRequest
)
"""What a training is asked for."""

Lane: TypeAlias = Literal["local", "kubernetes", "search", "data"]
"""Queue that a job waits in: for a place on this service's machines, on a cluster, or among searches and generations, which need none."""

LANES: tuple[Lane, ...] = ("local", "kubernetes", "search", "data")


class _Message(Protocol):
    """A request message with a `request_id`."""

    request_id: str

    def SerializeToString(self, *, deterministic: bool = False) -> bytes:
        """Returns the wire bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a repeated call one."""

    rpc: str
    """Name of the RPC; an identifier belongs to one."""
    request_id: str
    """The caller's identifier; not empty."""
    digest: str
    """Of everything that the call asks for."""

    @classmethod
    def of(cls, rpc: str, request: _Message) -> "Request | None":
        """Returns what makes a call repeatable; None when it has no `request_id`.

        Args:
            rpc: Name of the RPC.
            request: Its request.
        """
        return cls(rpc, request.request_id, digest_of(request)) if request.request_id else None


def digest_of(request: _Message) -> str:
    """Returns the SHA-256 of a message, in hexadecimal.

    Args:
        request: The message.
    """
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A revision of a data set that a job needs until it ends."""

    dataset_id: str
    """The data set."""
    revision: int
    """The revision. 0: whichever."""


@dataclass(frozen=True, slots=True)
class CheckpointUse:
    """A checkpoint of another job that a job goes on from; it is kept until the job ends."""

    job_uuid: str
    """Job that made it."""
    identifier: str
    """The checkpoint."""


Use: TypeAlias = DatasetUse | CheckpointUse


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is about to be created."""

    job: jobs_pb2.Job
    """The job with its request; SCHEDULED, revision 1."""
    digest: str
    """Of the request as the caller sent it, by which a repeated creation is known."""
    lane: Lane
    """Queue that it waits in."""
    priority: int = 0
    """Jobs of a higher priority come first."""
    uses: Sequence[Use] = ()
    """What must be there, and must stay until the job ends."""
    keep_ms: int = 0
    """Milliseconds that it is kept once it has ended. 0: for ever."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the store holds it."""

    job: jobs_pb2.Job
    """The job as GetJobStatus shows it."""
    digest: str
    """Of the request that it was created with."""
    lane: Lane
    """Queue that it waits in."""
    token: int
    """Fencing token of the newest lease."""
    crashes: int
    """Times that it crashed since somebody put it into the queue."""
    ran_ms: int
    """Milliseconds that it ran since somebody put it into the queue."""
    keep_ms: int
    """Milliseconds that it is kept once it has ended. 0: for ever."""
    told_step: int
    """Last step that metrics were told of. 0: none."""
    metrics: Mapping[str, float]
    """Last value of each metric."""
    now_us: int
    """The store's time when this was read, microseconds since the epoch."""

    @property
    def uses(self) -> Sequence[Use]:
        """What the job needs until it ends."""
        return uses_of(self.job)


@dataclass(frozen=True, slots=True)
class Queued:
    """What puts a job into its queue."""

    delay_ms: int = 0
    """Milliseconds until it may run."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What makes a job somebody's."""

    holder: str
    """Process that runs it."""
    lease_ms: int
    """Milliseconds until somebody else may take it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One atomic change of a job's state. It counts the revision up by one."""

    job: jobs_pb2.Job
    """The job from now on: all of it but the request, checkpoints, trials, progress, place in the queue and what the store counts."""
    events: Sequence[jobs_pb2.JobEvent] = ()
    """Events that follow the last one."""
    move: "Queued | Claimed | Literal['stay', 'rest']" = "stay"
    """Where it goes: into the queue, to a holder, nowhere, or out of queue and hands, because it rests or has ended."""
    crashes: int = 0
    """Times that it crashed, from now on."""
    ran_ms: int = 0
    """Milliseconds that it ran, from now on."""
    uses: Literal["keep", "release", "acquire"] = "keep"
    """What becomes of what the job uses."""
    only_expired: bool = False
    """Refuses unless the job's lease has run out."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right to run a job, and what its holder hears."""

    job_uuid: str
    """The job."""
    token: int
    """Fencing token: grows each time that somebody gets the job."""
    wish: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as somebody wants the job to stop: pause it or cancel it."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as it is known that the job is somebody else's, or gone."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of a running job that change no state: one round trip for all of them."""

    events: Sequence[jobs_pb2.JobEvent]
    """The events."""
    progress: jobs_pb2.TrainingProgress | None = None
    """How far the job has come. None: as before."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """New values by name."""
    checkpoints: Sequence[checkpoints_pb2.Checkpoint] = ()
    """New checkpoints."""

    @property
    def told_step(self) -> int:
        """Last step that the events tell metrics of. 0: none."""
        return next((event.metrics.step for event in reversed(self.events) if event.HasField("metrics")), 0)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are listed."""

    statuses: frozenset["jobs_pb2.JobStatus.ValueType"] = frozenset()
    """Those that stand here. Empty: all."""
    kinds: frozenset["jobs_pb2.JobKind.ValueType"] = frozenset()
    """Those of these kinds. Empty: all."""
    parent_job_uuid: str = ""
    """Trials of this search. Empty: all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those that have all of these."""
    after_us: int | None = None
    """Those put into the queue then or later, microseconds since the epoch."""
    before_us: int | None = None
    """Those put into the queue before."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing."""

    items: T
    """What is on it."""
    next_token: str = ""
    """Token of the next page. Empty: this was the last."""


def request_of(job: jobs_pb2.Job) -> jobs_pb2.Job:
    """Returns a job that has the request alone.

    Args:
        job: The job.
    """
    name = job.WhichOneof("request")
    return jobs_pb2.Job(**{name: getattr(job, name)}) if name else jobs_pb2.Job()


def training_of(job: jobs_pb2.Job) -> TrainingMessage | None:
    """Returns what a job is asked to train; None when it trains nothing.

    Args:
        job: The job with its request.
    """
    match job.WhichOneof("request"):
        case "supervised_fine_tune":
            return job.supervised_fine_tune
        case "preference_optimize":
            return job.preference_optimize
        case "train_reward_model":
            return job.train_reward_model
        case _:
            return None


def uses_of(job: jobs_pb2.Job) -> list[Use]:
    """Returns what a job needs until it ends.

    Args:
        job: The job with its request, its revisions of data sets filled in.
    """
    training = training_of(job)
    if training is None:
        rows = job.synthetic_data.dataset_id
        return [DatasetUse(rows, 0)] if rows else []
    data = training.training_config.data_config
    uses: list[Use] = [DatasetUse(data.dataset_id, data.dataset_revision)]
    if data.validation_dataset_id:
        uses.append(DatasetUse(data.validation_dataset_id, data.validation_dataset_revision))
    if training.continue_from.HasField("checkpoint"):
        source = training.continue_from.checkpoint
        uses.append(CheckpointUse(source.job_uuid, source.identifier))
    return uses
