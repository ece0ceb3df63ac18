"""What a training process is given: `TrainingSpec`, the file `spec.json` in a job's folder, and the command that starts the process.

The process needs nothing else: no store, no service. What it says is told in `services.post_training.trainer`.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf import json_format

from caravan.post_training.v1 import jobs_pb2, training_pb2

SPEC_FILE = "spec.json"
CHECKPOINTS_FOLDER = "checkpoints"
PARENT_VARIABLE = "CARAVAN_TRAINER_PARENT"
"""Environment variable with the process id of the service, whose death stops the training as SIGTERM does. Unset: it does not."""

TrainingRequest = (
    training_pb2.SupervisedFineTuneRequest
    | training_pb2.PreferenceOptimizeRequest
    | training_pb2.TrainRewardModelRequest
)
Kind = Literal["supervised_fine_tune", "preference_optimize", "train_reward_model"]
"""Member of `Job.request` that a training's request is."""

_REQUESTS: dict[Kind, type[TrainingRequest]] = {
    "supervised_fine_tune": training_pb2.SupervisedFineTuneRequest,
    "preference_optimize": training_pb2.PreferenceOptimizeRequest,
    "train_reward_model": training_pb2.TrainRewardModelRequest,
}
_JOB_KINDS: dict[Kind, "jobs_pb2.JobKind.ValueType"] = {
    "supervised_fine_tune": jobs_pb2.JOB_KIND_SUPERVISED_FINE_TUNE,
    "preference_optimize": jobs_pb2.JOB_KIND_PREFERENCE_OPTIMIZE,
    "train_reward_model": jobs_pb2.JOB_KIND_TRAIN_REWARD_MODEL,
}
# A trainer is given nothing of the service's environment but this: it needs no secret.
_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"}
)
_PASSED_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_")
_TRAINER_ENVIRONMENT = {
    # Everything is on disk by now, and nobody is told what is trained here.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    # The working folder may be the job's: nothing is imported from it.
    "PYTHONSAFEPATH": "1",
    # cuBLAS: without it a resumed training on a GPU takes other sums than the interrupted one.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


@dataclass(frozen=True)
class RowsSource:
    """Rows of one revision of a data set, as files."""

    dataset_id: str
    """Identifier of the data set."""
    revision: int
    """Its revision."""
    sha256: str
    """Digest of that revision's rows."""
    format: str
    """What the rows are for, a name of `caravan.datasets.v1.DatasetFormat`, for instance `DATASET_FORMAT_DIALOG`."""
    row_count: int
    """Number of rows."""
    paths: tuple[str, ...]
    """Files with one JSON object a line, in the rows' order. Rows beyond `row_count` belong to later revisions."""


@dataclass(frozen=True)
class TrainingSpec:
    """A training, whole: what a trainer process needs to know."""

    job_uuid: str
    """Identifier of the job."""
    kind: Kind
    """What is trained for."""
    request: dict[str, Any]
    """The request, as protojson with the protos' field names."""
    base_model: str
    """Folder of the base model's files."""
    rows: RowsSource
    """What is trained on."""
    folder: str
    """The job's folder. Checkpoints go to `checkpoints/<identifier>` in it; a name with a leading dot is not a checkpoint yet."""
    validation_rows: RowsSource | None = None
    """What is evaluated on."""
    num_processes: int = 1
    """Number of processes that train together."""
    continue_from: str = ""
    """Folder of the adapter or whole model (a checkpoint is either) that the training goes on from. Empty: the base model."""
    resume_from: str = ""
    """Folder of the checkpoint to resume. Empty: the newest in the job's folder, if there is one."""
    attempt: int = 1
    """How often the job has been begun, this time included."""
    told_step: int | None = None
    """Last step whose metrics the service has: a resumed training says again what came after it. None: nothing is said again."""
    date: str = ""
    """Day that chat templates are told, as 2026-11-20: the one when the job was made, so that a retry sees the same text. Empty: today."""

    @property
    def checkpoints(self) -> Path:
        """The folder of the job's checkpoints."""
        return Path(self.folder) / CHECKPOINTS_FOLDER

    def parsed_request(self) -> TrainingRequest:
        """Returns the request as a message."""
        return json_format.ParseDict(self.request, _REQUESTS[self.kind](), ignore_unknown_fields=True)

    def to_json(self) -> str:
        """Returns the text of the spec's file."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "TrainingSpec":
        """Reads the text of a spec's file.

        Args:
            text: What `to_json` returned.

        Raises:
            ValueError: It is no such text.
        """
        try:
            values = json.loads(text)
            validation = values["validation_rows"]
            values["rows"] = _rows(values["rows"])
            values["validation_rows"] = _rows(validation) if validation is not None else None
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the spec of a training: {error}") from error


def _rows(values: dict[str, Any]) -> RowsSource:
    return RowsSource(**{**values, "paths": tuple(values["paths"])})


def trainer_command(spec_file: Path, num_processes: int) -> list[str]:
    """Returns the command that runs a training; start it in a process group of its own, with `trainer_environment`.

    Args:
        spec_file: File with the spec.
        num_processes: Number of processes; the spec says the same. Several run under torchrun.
    """
    if num_processes == 1:
        return [sys.executable, "-m", "services.post_training.trainer", str(spec_file)]
    return [sys.executable, "-m", "services.post_training.trainer.launch", str(num_processes), str(spec_file)]


def trainer_environment(
    environment: Mapping[str, str] = os.environ, *, num_processes: int = 1, parent: int | None = None
) -> dict[str, str]:
    """Returns the environment of a trainer.

    Args:
        environment: The service's own; only what a training needs is taken over.
        num_processes: Number of processes, which share the machine's processors.
        parent: Process whose death stops the training. None: none's.
    """
    passed = {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_PREFIXES)
    }
    threads = max(1, len(os.sched_getaffinity(0)) // num_processes)
    watched = {PARENT_VARIABLE: str(parent)} if parent is not None else {}
    return {"OMP_NUM_THREADS": str(threads), **passed, **_TRAINER_ENVIRONMENT, **watched}
