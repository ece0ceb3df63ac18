"""How jobs come to be: what is asked for is checked, completed and estimated before there is a job."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from google.protobuf.struct_pb2 import Struct

from caravan.post_training.v1 import jobs_pb2, training_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.post_training.jobs import events, trials
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.ports import DataSets, Executor, Planner, Registrar
from services.post_training.jobs.records import Lane, NewJob, Request, TrainingMessage, digest_of, uses_of
from services.post_training.jobs.transitions import WAITING, final_checkpoint

_MEMBERS: dict[str, tuple[str, str, "jobs_pb2.JobKind.ValueType"]] = {
    # Request: its RPC, its member of Job.request, and the kind of job.
    "SupervisedFineTuneRequest": (
        "SupervisedFineTune",
        "supervised_fine_tune",
        jobs_pb2.JOB_KIND_SUPERVISED_FINE_TUNE,
    ),
    "PreferenceOptimizeRequest": (
        "PreferenceOptimize",
        "preference_optimize",
        jobs_pb2.JOB_KIND_PREFERENCE_OPTIMIZE,
    ),
    "TrainRewardModelRequest": ("TrainRewardModel", "train_reward_model", jobs_pb2.JOB_KIND_TRAIN_REWARD_MODEL),
}
_TRIAL_DIGITS = 4
_LONGEST_UUID = 128


@dataclass(frozen=True, slots=True)
class Created:
    """What came of a call that creates a job."""

    estimate: jobs_pb2.TrainingEstimate
    """What the job takes, or would take."""
    job: jobs_pb2.Job = field(default_factory=jobs_pb2.Job)
    """The job; empty when it was only checked."""


@dataclass(frozen=True, slots=True)
class CreationLimits:
    """What the service's configuration says about new jobs."""

    default_lane: Lane = "local"
    """Where trainings run that do not say."""
    retention: timedelta | None = None
    """How long jobs are kept that do not say, once they have ended. None: for ever."""


class Creating:
    """Creates jobs."""

    def __init__(  # noqa: PLR0913, PLR0917 - what creating a job touches
        self,
        store: JobStore,
        datasets: DataSets,
        planner: Planner,
        registrar: Registrar,
        executors: Mapping[Lane, Executor],
        new_id: Callable[[], str],
        limits: CreationLimits,
    ) -> None:
        """Uses these.

        Args:
            store: The jobs.
            datasets: The data sets.
            planner: Checks and estimates.
            registrar: Puts results into service.
            executors: Where trainings run.
            new_id: Makes identifiers.
            limits: The service's configuration.
        """
        self._store, self._datasets, self._planner, self._registrar = store, datasets, planner, registrar
        self._executors, self._new_id, self._limits = executors, new_id, limits

    async def create(self, request: TrainingMessage) -> Created:
        """Creates a training, or a search for a good one, or only checks and estimates it.

        Args:
            request: What is asked for.

        Raises:
            CaravanError: It cannot be; there is no job then.
        """
        rpc, _, kind = _MEMBERS[request.DESCRIPTOR.name]
        once, digest = Request.of(rpc, request), _digest(request)
        if not request.validate_only:
            found = await self._store.find_created(request.job_uuid, digest, once)
            if found:
                job = (await self._store.read(found)).job
                return Created(job.estimate, job)
        job = await self._drafted(request, kind)
        lane = await self._plan(job, request)
        if request.validate_only:
            return Created(job.estimate)
        uuid = await self._store.create(await self._new(job, digest, lane, request), once)
        job = (await self._store.read(uuid)).job
        return Created(job.estimate, job)

    async def create_trial(self, search: jobs_pb2.Job, request: TrainingMessage, trial: trials.Trial) -> str:
        """Creates a trial of a search, if it is not there yet; returns its identifier.

        Args:
            search: The search's job.
            request: What the search is asked for.
            trial: The trial.

        Raises:
            CaravanError: The trial cannot be; there is no job then.
        """
        own = trials.request_of_trial(request, trial)
        own.job_uuid = trial_uuid(search.job_uuid, trial.number)
        digest = _digest(own)
        if found := await self._store.find_created(own.job_uuid, digest):
            return found
        _, _, kind = _MEMBERS[own.DESCRIPTOR.name]
        job = await self._drafted(own, kind)
        job.parent_job_uuid = search.job_uuid
        parameters = Struct()
        parameters.update(dict(trial.parameters))
        job.trial_parameters.CopyFrom(parameters)
        lane = await self._plan(job, own)
        return await self._store.create(await self._new(job, digest, lane, own))

    async def start_generation(
        self, request: synthetic_data_pb2.StartGenerationRequest, check: Callable[[], Awaitable[None]]
    ) -> str:
        """Creates a job that makes data; returns its identifier.

        Args:
            request: What is asked for.
            check: Makes sure that it can be, before there is a job; not called when the call is repeated.

        Raises:
            AlreadyExistsError: Another job has the identifier.
            InvalidArgumentError: The request id was used for something else.
        """
        once, digest = Request.of("StartGeneration", request), _digest(request)
        if found := await self._store.find_created(request.job_uuid, digest, once):
            return found
        await check()
        job = jobs_pb2.Job(
            job_uuid=request.job_uuid or self._new_id(), kind=jobs_pb2.JOB_KIND_SYNTHETIC_DATA, synthetic_data=request
        )
        job.synthetic_data.job_uuid = job.job_uuid
        return await self._store.create(await self._new(job, digest, "data", None), once)

    async def _drafted(self, request: TrainingMessage, kind: "jobs_pb2.JobKind.ValueType") -> jobs_pb2.Job:
        """A job with its request, in which is filled in what would otherwise be decided later."""
        _, member, _ = _MEMBERS[request.DESCRIPTOR.name]
        job = jobs_pb2.Job(job_uuid=request.job_uuid or self._new_id(), kind=kind, labels=request.labels)
        own: TrainingMessage = getattr(job, member)
        own.CopyFrom(request)  # type: ignore[arg-type]
        own.job_uuid = job.job_uuid
        own.ClearField("validate_only")
        own.ClearField("request_id")
        data = own.training_config.data_config
        if not data.HasField("dataset_revision"):
            data.dataset_revision = await self._datasets.newest_revision(data.dataset_id)
        if data.validation_dataset_id and not data.HasField("validation_dataset_revision"):
            data.validation_dataset_revision = await self._datasets.newest_revision(data.validation_dataset_id)
        if own.continue_from.HasField("checkpoint"):
            await self._find_checkpoint(own.continue_from.checkpoint, job.job_uuid)
        return job

    async def _find_checkpoint(self, source: training_pb2.CheckpointReference, job_uuid: str) -> None:
        if source.job_uuid == job_uuid:
            message = "must be another job: ResumeJob goes on with this one"
            raise InvalidArgumentError.of("continue_from.checkpoint.job_uuid", message)
        made = (await self._store.read(source.job_uuid)).job
        if not source.identifier:
            last = final_checkpoint(made) or (made.checkpoints[-1] if made.checkpoints else None)
            source.identifier = last.identifier if last else ""
        if source.identifier not in {checkpoint.identifier for checkpoint in made.checkpoints}:
            message = (
                f"job {made.job_uuid!r} has no checkpoint {source.identifier!r}; GetJobArtifacts lists those it has"
            )
            name = f"{made.job_uuid}/{source.identifier}"
            raise NotFoundError(message, resource_type="checkpoint", resource_name=name)

    async def _plan(self, job: jobs_pb2.Job, request: TrainingMessage) -> Lane:
        """Checks and estimates a job; returns the queue that it waits in."""
        lane = request.executor.WhichOneof("executor") or self._limits.default_lane
        executor = self._executors.get(lane)
        if executor is None:
            message = f"this service runs no trainings on {lane}: set executor to another one, or configure it"
            raise FailedPreconditionError(message, reason="NO_SUCH_EXECUTOR", metadata={"executor": lane})
        num_processes = executor.check(request.executor)
        if request.HasField("auto_register"):
            await self._registrar.check(job)
        if not trials.is_search(request):
            job.estimate.CopyFrom(await self._planner.plan(job, num_processes))
            return executor.lane
        found = await asyncio.to_thread(trials.trials_of, request)
        # One trial stands for all; each is checked by itself before it begins.
        _, member, _ = _MEMBERS[request.DESCRIPTOR.name]
        own = trials.request_of_trial(getattr(job, member), found[0])
        first = jobs_pb2.Job(job_uuid=job.job_uuid, kind=job.kind)
        getattr(first, member).CopyFrom(own)
        job.estimate.CopyFrom(await self._planner.plan(first, num_processes))
        job.estimate.notes.append(f"for the first of {len(found)} trials")
        job.kind = jobs_pb2.JOB_KIND_HYPERPARAM_SEARCH
        return "search"

    async def _new(self, job: jobs_pb2.Job, digest: str, lane: Lane, request: TrainingMessage | None) -> NewJob:
        job.status, job.revision = WAITING, 1
        job.status_reason = "waits for its turn"
        job.scheduled_at.CopyFrom(events.at(await self._store.now_us()))
        keep = self._limits.retention
        if request is not None and request.HasField("retention"):
            keep = request.retention.ToTimedelta()
        keep_ms = max(1, keep // timedelta(milliseconds=1)) if keep is not None else 0
        priority = request.executor.priority if request is not None else 0
        return NewJob(job, digest, lane, priority, uses_of(job), keep_ms)


def trial_uuid(search: str, number: int) -> str:
    """Returns the identifier of a search's trial.

    Args:
        search: Identifier of the search.
        number: The trial's number.
    """
    end = f"-trial-{number:0{_TRIAL_DIGITS}d}"
    return search[: _LONGEST_UUID - len(end)] + end


def _digest(request: TrainingMessage | synthetic_data_pb2.StartGenerationRequest) -> str:
    """Of what is asked for, whoever asks and however often."""
    asked = type(request)()
    asked.CopyFrom(request)  # type: ignore[arg-type]
    for name in ("job_uuid", "request_id", "validate_only"):
        if name in asked.DESCRIPTOR.fields_by_name:
            asked.ClearField(name)  # type: ignore[arg-type]
    return digest_of(asked)
