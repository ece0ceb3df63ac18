"""Trainings in plain Python values, and the request messages that they become."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, get_type_hints

from google.protobuf.message import Message

from caravan import llama_stack
from caravan.errors import InvalidInputError
from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2
from caravan.types.v1 import types_pb2

M = TypeVar("M", bound=Message)

ENDED = frozenset(
    {jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED, jobs_pb2.JOB_STATUS_CANCELLED},
)
"""Where a job stands that has ended."""


class TrainingParameters(TypedDict, total=False):
    """What a training shall be. What is not given has the contract's default."""

    job_uuid: str | None
    """Identifier of the job. Default: the service makes one."""
    validation_dataset: str | None
    """Data set to evaluate on."""
    epochs: int | None
    """Times that the rows are gone through."""
    max_steps: int | None
    """Most steps in all."""
    batch_size: int | None
    """Rows of one step."""
    lr: float | None
    """Highest learning rate."""
    max_length: int | None
    """Longest row in tokens."""
    packed: bool | None
    """Put several rows into one sequence."""
    seed: int | None
    """Seed of everything that is left to chance."""
    algorithm: str | None
    """`full`, `lora`, `qlora` or `dora`."""
    rank: int | None
    """Rank of the adapter."""
    alpha: int | None
    """Scale of the adapter."""
    modules: Sequence[str] | None
    """Attention projections that get an adapter."""
    mlp: bool | None
    """Adapt the feed-forward layers too."""
    training_config: Mapping[str, Any] | None
    """The whole configuration in the contract's shape; what is given beside it wins."""
    hyperparam_search_config: Mapping[str, Any] | None
    """A search for good values."""
    logger_config: Mapping[str, Any] | None
    """What is recorded."""
    auto_register: str | Mapping[str, Any] | None
    """Name of the model as which the result is served, or the contract's shape."""
    executor: Mapping[str, Any] | None
    """Where and within what limits it runs."""
    continue_from: Mapping[str, Any] | None
    """What it goes on from."""
    labels: Mapping[str, str] | None
    """Labels of the job."""
    validate_only: bool | None
    """Check and estimate; no job is made."""
    request_id: str | None
    """Makes a repeated call return the first one's result. Default: a new one."""


_ADAPTERS = {"lora": {}, "qlora": {"quantize_base": True}, "dora": {"use_dora": True}}
_AS_THEY_ARE = (
    "job_uuid",
    "hyperparam_search_config",
    "logger_config",
    "executor",
    "continue_from",
    "labels",
    "validate_only",
)


def training_request(
    request_type: type[M],
    names: Mapping[str, object],
    dataset: str,
    parameters: TrainingParameters,
    *,
    algorithm_field: str = "algorithm_config",
) -> M:
    """Builds the request that makes a job of a training.

    Args:
        request_type: Class of the request.
        names: Fields of this request alone, for instance `{"model": "caravan-chat"}`.
        dataset: Data set to train on.
        parameters: What the training shall be.
        algorithm_field: Field that says what of the model is trained.

    Raises:
        InvalidInputError: A value does not fit.
    """
    known = get_type_hints(TrainingParameters)
    if unknown := set(parameters) - set(known):
        raise InvalidInputError(f"unknown parameter {min(unknown)!r}; known are {', '.join(sorted(known))}")
    shape: dict[str, Any] = {
        **{name: value for name in _AS_THEY_ARE if (value := parameters.get(name)) is not None},
        **names,
        "training_config": _configuration(dataset, parameters),
        "request_id": parameters.get("request_id") or uuid.uuid4().hex,
    }
    if (algorithm := _algorithm(parameters)) is not None:
        shape[algorithm_field] = algorithm
    if (wish := parameters.get("auto_register")) is not None:
        shape["auto_register"] = {"model_id": wish} if isinstance(wish, str) else wish
    return llama_stack.build(request_type, shape, "training")


def status_name(status: int) -> str:
    """Returns the word for where a job stands, for instance `in progress`."""
    name = jobs_pb2.JobStatus.Name(status)  # type: ignore[arg-type]  # it takes any known number
    return name.removeprefix("JOB_STATUS_").lower().replace("_", " ")


def kind_name(kind: int) -> str:
    """Returns the word for a job's kind, for instance `supervised fine tune`."""
    name = jobs_pb2.JobKind.Name(kind)  # type: ignore[arg-type]  # it takes any known number
    return name.removeprefix("JOB_KIND_").lower().replace("_", " ")


def jobs_request(
    statuses: Iterable[str], kinds: Iterable[str], labels: Mapping[str, str], parent: str, token: str
) -> post_training_pb2.ListJobsRequest:
    """Builds the request of a page of jobs.

    Args:
        statuses: Only those that stand there, for instance `in_progress`.
        kinds: Only those of these kinds, for instance `supervised_fine_tune`.
        labels: Only those with these labels.
        parent: Only trials of this search.
        token: Token of the page.
    """
    shape = {
        "statuses": [name.replace(" ", "_") for name in statuses],
        "kinds": [name.replace(" ", "_") for name in kinds],
        "labels": labels,
        "parent_job_uuid": parent,
        "page_token": token,
    }
    return llama_stack.build(post_training_pb2.ListJobsRequest, shape, "jobs")


def export_request(job_uuid: str, identifier: str, form: str) -> post_training_pb2.ExportCheckpointRequest:
    """Builds the request that writes a checkpoint in another form.

    Args:
        job_uuid: Its job.
        identifier: The checkpoint.
        form: `peft_adapter` or `merged`.
    """
    shape = {"job_uuid": job_uuid, "identifier": identifier, "format": form, "request_id": uuid.uuid4().hex}
    return llama_stack.build(post_training_pb2.ExportCheckpointRequest, shape, "export")


def result_of(artifacts: post_training_pb2.GetJobArtifactsResponse, identifier: str) -> checkpoints_pb2.Checkpoint:
    """Finds a checkpoint among what a job has made.

    Args:
        artifacts: What it has made.
        identifier: The checkpoint. Empty: the job's result, or its last checkpoint.

    Raises:
        InvalidInputError: There is no such checkpoint.
    """
    wanted = identifier or artifacts.final_identifier
    for checkpoint in reversed(artifacts.checkpoints):
        if wanted in ("", checkpoint.identifier):
            return checkpoint
    there = ", ".join(checkpoint.identifier for checkpoint in artifacts.checkpoints) or "none"
    raise InvalidInputError(f"job {artifacts.job_uuid} has no checkpoint {wanted!r}; it has {there}")


def usage(metrics: Iterable[types_pb2.MetricInResponse]) -> dict[str, float]:
    """Returns measurements by name."""
    return {metric.metric: metric.value for metric in metrics}


def _configuration(dataset: str, parameters: TrainingParameters) -> dict[str, Any]:
    config = dict(parameters.get("training_config") or {})
    data, optimizer = dict(config.get("data_config") or {}), dict(config.get("optimizer_config") or {})
    _put(data, dataset_id=dataset or None, validation_dataset_id=parameters.get("validation_dataset"))
    _put(data, batch_size=parameters.get("batch_size"), max_sequence_length=parameters.get("max_length"))
    _put(data, packed=parameters.get("packed"))
    _put(optimizer, lr=parameters.get("lr"))
    _put(config, n_epochs=parameters.get("epochs"), n_iters=parameters.get("max_steps"), seed=parameters.get("seed"))
    config["data_config"] = data
    return {**config, "optimizer_config": optimizer} if optimizer else config


def _algorithm(parameters: TrainingParameters) -> dict[str, Any] | None:
    named = {
        "rank": parameters.get("rank"),
        "alpha": parameters.get("alpha"),
        "lora_attn_modules": parameters.get("modules"),
        "apply_lora_to_mlp": parameters.get("mlp"),
    }
    given = {name: value for name, value in named.items() if value is not None}
    algorithm = parameters.get("algorithm") or ("lora" if given else None)
    if algorithm is None:
        return None
    if algorithm == "full":
        if given:
            raise InvalidInputError(f"{min(given)} is of an adapter, and algorithm is full")
        return {"full": {}}
    if algorithm not in _ADAPTERS:
        raise InvalidInputError(f"{algorithm!r} is none of full, {', '.join(_ADAPTERS)}", "algorithm")
    return {"lora": {**_ADAPTERS[algorithm], **given}}


def _put(target: dict[str, Any], **values: object) -> None:
    target.update({name: value for name, value in values.items() if value is not None})
