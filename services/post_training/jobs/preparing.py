"""What a training needs of the service: base model, rows and what it goes on from are found, for its plan and for its processes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Protocol, cast

from google.protobuf import json_format

from caravan.datasets.v1 import datasets_pb2
from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.core.errors import NotFoundError
from services.post_training.jobs import ports
from services.post_training.jobs.artifacts import find
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.ports import Assignment, Prepared
from services.post_training.jobs.records import TrainingMessage, training_of
from services.post_training.spec import SPEC_FILE, Kind, RowsSource, TrainingSpec
from services.post_training.storage import write_file


class Files(Protocol):
    """Rows of a revision, as files."""

    @property
    def revision(self) -> int:
        """The revision."""

    @property
    def sha256(self) -> str:
        """Its digest."""

    @property
    def format(self) -> int:
        """What the rows are for, a value of DatasetFormat."""

    @property
    def row_count(self) -> int:
        """Number of rows."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""


class Datasets(Protocol):
    """Data sets."""

    async def get(self, dataset_id: str) -> datasets_pb2.Dataset:
        """Returns a data set."""

    async def rows_file(self, dataset_id: str, revision: int | None = None) -> Files:
        """Returns the files of a revision's rows."""


class Weights(Protocol):
    """A base model on this machine."""

    @property
    def folder(self) -> Path:
        """Folder of its files."""

    @property
    def adapter(self) -> Path | None:
        """Folder of the adapter on it. None: it has none."""


class BaseModels(Protocol):
    """Models that are to be trained."""

    async def resolve(self, model: str, field: str) -> Weights:
        """Finds a model's files."""

    async def folder(self, name: str, field: str) -> Path:
        """Finds a folder, or what Hugging Face has under an identifier."""


class Estimating(Protocol):
    """Checks and estimates trainings of files."""

    async def plan(  # noqa: PLR0913, PLR0917 - what a plan rests on
        self,
        kind: Kind,
        request: TrainingMessage,
        base: Path,
        rows: RowsSource,
        validation: RowsSource | None,
        num_processes: int,
        continue_from: str = "",
    ) -> "Plan":
        """Checks a training and estimates it."""


class Plan(Protocol):
    """What a training will take."""

    @property
    def estimate(self) -> jobs_pb2.TrainingEstimate:
        """The estimate."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a training reads."""

    base: Path
    continue_from: str
    rows: RowsSource
    validation: RowsSource | None


class Preparing(ports.Preparer, ports.Planner, ports.DataSets):
    """Finds what trainings need."""

    def __init__(self, store: JobStore, datasets: Datasets, bases: BaseModels, estimating: Estimating) -> None:
        """Uses these.

        Args:
            store: The jobs.
            datasets: The data sets.
            bases: The models.
            estimating: Checks and estimates.
        """
        self._store, self._datasets, self._bases, self._estimating = store, datasets, bases, estimating

    async def newest_revision(self, dataset_id: str) -> int:
        """See DataSets."""
        return (await self._datasets.get(dataset_id)).current.revision

    async def plan(self, job: jobs_pb2.Job, num_processes: int) -> jobs_pb2.TrainingEstimate:
        """See Planner."""
        kind, request = _asked(job)
        inputs = await self._inputs(request)
        plan = await self._estimating.plan(
            kind, request, inputs.base, inputs.rows, inputs.validation, num_processes, inputs.continue_from
        )
        return plan.estimate

    async def prepare(self, assignment: Assignment, num_processes: int) -> Prepared:
        """See Preparer."""
        job = assignment.record.job
        kind, request = _asked(job)
        inputs = await self._inputs(request)
        spec = TrainingSpec(
            job_uuid=job.job_uuid,
            kind=kind,
            request=json_format.MessageToDict(request, preserving_proto_field_name=True),
            base_model=str(inputs.base),
            rows=inputs.rows,
            validation_rows=inputs.validation,
            folder=str(assignment.folder),
            num_processes=num_processes,
            continue_from=inputs.continue_from,
            attempt=job.attempts,
            told_step=assignment.record.told_step,
            date=job.scheduled_at.ToDatetime(UTC).date().isoformat(),
        )
        path = assignment.folder / SPEC_FILE

        def write() -> None:
            assignment.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_file(path, spec.to_json().encode())

        await asyncio.to_thread(write)
        return Prepared(path, num_processes)

    async def _inputs(self, request: TrainingMessage) -> _Inputs:
        base, adapter = await self._base(request)
        data = request.training_config.data_config
        rows = await self._rows(data.dataset_id, data.dataset_revision)
        validation = None
        if data.validation_dataset_id:
            validation = await self._rows(data.validation_dataset_id, data.validation_dataset_revision)
        return _Inputs(base, await self._start(request.continue_from) or adapter, rows, validation)

    async def _base(self, request: TrainingMessage) -> tuple[Path, str]:
        """The base model's folder, and that of the adapter on it, which is empty without one."""
        if isinstance(request, training_pb2.SupervisedFineTuneRequest) and request.checkpoint_dir:
            return await self._bases.folder(request.checkpoint_dir, "checkpoint_dir"), ""
        if isinstance(request, training_pb2.PreferenceOptimizeRequest):
            weights = await self._bases.resolve(request.finetuned_model, "finetuned_model")
        else:
            weights = await self._bases.resolve(request.model, "model")
        return weights.folder, str(weights.adapter) if weights.adapter else ""

    async def _start(self, source: training_pb2.ContinueFrom) -> str:
        """Folder of what a training goes on from; empty for the base model."""
        if source.HasField("checkpoint"):
            job = (await self._store.read(source.checkpoint.job_uuid)).job
            return find(job, source.checkpoint.identifier).path
        if not source.adapter:
            return ""
        return str(await self._bases.folder(source.adapter, "continue_from.adapter"))

    async def _rows(self, dataset_id: str, revision: int) -> RowsSource:
        files = await self._datasets.rows_file(dataset_id, revision)
        if not files.row_count:
            message = f"data set {dataset_id!r} has no rows in revision {revision}: append some, or name another one"
            raise NotFoundError(message, resource_type="dataset", resource_name=dataset_id, reason="NO_ROWS")
        return RowsSource(
            dataset_id,
            files.revision,
            files.sha256,
            datasets_pb2.DatasetFormat.Name(datasets_pb2.DatasetFormat.ValueType(files.format)),
            files.row_count,
            tuple(str(path) for path in files.paths),
        )


def _asked(job: jobs_pb2.Job) -> tuple[Kind, TrainingMessage]:
    request = training_of(job)
    assert request is not None
    return cast("Kind", job.WhichOneof("request")), request
