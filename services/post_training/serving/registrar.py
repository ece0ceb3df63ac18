"""Results of jobs as models: checked before the job, registered and proven after it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, training_pb2
from caravan.registry.v1 import models_pb2
from services.core.errors import (
    AbortedError,
    AlreadyExistsError,
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.post_training.jobs.ports import Registrar
from services.post_training.serving.adapter_files import AdapterFiles, ServedAdapter
from services.post_training.serving.base_models import BaseModels, checkpoint_of, max_lora_rank, text_of
from services.post_training.serving.canary import prove
from services.post_training.serving.ports import Chat, Models
from services.post_training.serving.settings import ServingSettings
from services.post_training.spec import Kind
from services.post_training.trainer.recipe import Recipe, recipe_of

T = TypeVar("T")

TRAINING_JOB = "training_job"
"""Metadata of a registered model: the job that made it. `training_checkpoint` and `training_sha256` say which result of it."""

_PASSING = (UnavailableError, AbortedError, ResourceExhaustedError)
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0
# Other processes of the gateway follow the one that registered.
_FOLLOWING_SECONDS = 5.0
_ROLLBACK_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class ModelRegistrar(Registrar):
    """Puts results into service through the gateway."""

    def __init__(self, models: Models, chat: Chat, files: AdapterFiles, settings: ServingSettings) -> None:
        """Uses these.

        Args:
            models: The models that can be requested.
            chat: Where they answer.
            files: The adapters in service.
            settings: How results are put into service.
        """
        self._models = models
        self._chat = chat
        self._files = files
        self._settings = settings
        self._bases = BaseModels(models)

    async def check(self, job: jobs_pb2.Job) -> None:
        """Makes sure, before there is a job, that its result can be put into service as it asks.

        Raises:
            FailedPreconditionError: Its result cannot be loaded into a running engine; the message says what to do.
            AlreadyExistsError: The name is another model's.
            UnavailableError: The gateway does not answer.
        """
        recipe, wish = _recipe(job), _wish(job)
        _require_adapter(recipe)
        base = await self._bases.served(recipe.model, wish.provider_id)
        _require_room(recipe, base)
        if recipe.lora is not None and recipe.lora.output and await asyncio.to_thread(_ties_output, base):
            message = (
                "the model's output layer is one with its embeddings, and engines leave an adapter on it out: train without "
                "algorithm_config.lora.apply_lora_to_output, or without auto_register and serve the merged model"
            )
            raise FailedPreconditionError(message, reason="ADAPTER_ON_TIED_OUTPUT")
        model_id = _model_id(job)
        taken = await self._models.find(model_id)
        if taken is not None and _maker(taken) != job.job_uuid:
            message = (
                f"there is a model {model_id!r} already, on provider {taken.provider_id}: "
                "unregister it, or set auto_register.model_id"
            )
            raise AlreadyExistsError(message, resource_type="model", resource_name=model_id)

    async def register(self, job: jobs_pb2.Job, checkpoint: checkpoints_pb2.Checkpoint) -> str:
        """Puts a job's result into service and returns its identifier as a model.

        May be repeated after a crash at any point: the same result is the same registration. When the model does not prove itself, it is
        taken out again; when this is cancelled it is not, since somebody else may have taken over and be about to prove it.

        Raises:
            FailedPreconditionError: It does not answer as it should (CANARY_FAILED), or cannot be served.
            CaravanError: The gateway or the provider refuses it, or does not answer.
        """
        started = time.monotonic()
        recipe, wish, model_id = _recipe(job), _wish(job), _model_id(job)
        base = await self._patiently(lambda: self._bases.served(recipe.model, wish.provider_id))
        name = f"{job.job_uuid}-{checkpoint.sha256[:16]}"
        adapter = await self._files.publish(name, Path(checkpoint.path), checkpoint_of(base), max_lora_rank(base))
        request = _registration(model_id, job, checkpoint, base, adapter)
        model = await self._patiently(lambda: self._models.register(request))
        try:
            await self._prove(model_id, wish)
        except CaravanError:
            await asyncio.shield(self._roll_back(model, adapter))
            raise
        _log.info(
            "result_in_service",
            job_uuid=job.job_uuid,
            model_id=model_id,
            provider_id=model.provider_id,
            relative_error=adapter.relative_error,
            seconds=round(time.monotonic() - started, 2),
        )
        return model_id

    async def is_served(self, checkpoint: checkpoints_pb2.Checkpoint) -> bool:
        """Tells whether the model that a checkpoint was registered as is still registered.

        Raises:
            UnavailableError: The gateway does not answer.
        """
        if not checkpoint.registered_model_id:
            return False
        model = await self._models.find(checkpoint.registered_model_id)
        return model is not None and _maker(model) == checkpoint.post_training_job_id

    async def sweep(self) -> int:
        """Removes the files of adapters whose models were unregistered; returns how many.

        Raises:
            UnavailableError: The gateway does not answer; nothing is removed then.
        """
        return await self._files.sweep({model.adapter.source for model in await self._models.every()})

    async def _prove(self, model_id: str, wish: training_pb2.AutoRegister) -> None:
        follows = time.monotonic() + _FOLLOWING_SECONDS

        async def attempt() -> None:
            while True:
                try:
                    return await prove(self._chat, model_id, wish, self._settings)
                except NotFoundError:
                    if time.monotonic() > follows:
                        raise
                    await asyncio.sleep(_FIRST_DELAY)

        await self._patiently(attempt)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Tries again while somebody does not answer, for as long as the settings say."""
        ends = time.monotonic() + self._settings.patience_seconds
        delay = _FIRST_DELAY
        while True:
            try:
                return await call()
            except _PASSING as error:
                wanted = getattr(error, "retry_after", None) or 0.0
                pause = min(max(delay, wanted), _LONGEST_DELAY)
                if time.monotonic() + pause > ends:
                    raise
                _log.warning("serving_tried_again", reason=error.reason, why=error.message)
            await asyncio.sleep(pause)
            delay *= 2

    async def _roll_back(self, model: models_pb2.Model, adapter: ServedAdapter) -> None:
        try:
            async with asyncio.timeout(_ROLLBACK_SECONDS):
                await self._models.unregister(model.model_id, model.entry.revision)
        except (CaravanError, TimeoutError) as error:
            # Its files stay with it; it answers until somebody unregisters it.
            _log.warning("registration_not_rolled_back", model_id=model.model_id, why=str(error))
            return
        await self._files.withdraw(adapter.folder)


def _registration(
    model_id: str,
    job: jobs_pb2.Job,
    checkpoint: checkpoints_pb2.Checkpoint,
    base: models_pb2.Model,
    adapter: ServedAdapter,
) -> models_pb2.RegisterModelRequest:
    request = models_pb2.RegisterModelRequest(
        model_id=model_id, provider_id=base.provider_id, model_type=models_pb2.MODEL_TYPE_LLM
    )
    request.adapter.base_model_id = base.provider_model_id
    request.adapter.source = str(adapter.folder)
    request.metadata.update(
        {
            TRAINING_JOB: job.job_uuid,
            "training_checkpoint": checkpoint.identifier,
            "training_sha256": checkpoint.sha256,
        }
    )
    if adapter.relative_error is not None:
        request.metadata["adapter_relative_error"] = adapter.relative_error
    return request


def _require_adapter(recipe: Recipe) -> None:
    if recipe.kind == "train_reward_model":
        message = (
            "a reward model is a model of its own and cannot be loaded into a running engine: train without auto_register, export the "
            'checkpoint merged, and start an inference provider inline::vllm with model = its folder and model_type = "reward"'
        )
        raise FailedPreconditionError(message, reason="NOT_LOADABLE")
    if recipe.lora is None:
        message = (
            "weights trained as a whole cannot be loaded into a running engine: train an adapter (algorithm_config.lora), or train "
            "without auto_register and start an inference provider inline::vllm with model = the checkpoint's folder"
        )
        raise FailedPreconditionError(message, reason="NOT_LOADABLE")


def _require_room(recipe: Recipe, base: models_pb2.Model) -> None:
    highest = max_lora_rank(base)
    if base.model_type != models_pb2.MODEL_TYPE_LLM or not highest:
        message = (
            f"provider {base.provider_id}, which serves {base.model_id!r}, takes no adapters: start it with enable_lora = true, "
            "name another one by auto_register.provider_id, or train without auto_register"
        )
        raise FailedPreconditionError(message, reason="LORA_DISABLED", metadata={"provider_id": base.provider_id})
    if recipe.lora is not None and recipe.lora.rank > highest:
        message = (
            f"the adapter's rank is {recipe.lora.rank} and provider {base.provider_id} takes adapters up to rank {highest}: "
            "lower algorithm_config.lora.rank, or raise the provider's max_lora_rank"
        )
        raise FailedPreconditionError(message, reason="ADAPTER_RANK_TOO_HIGH")


def _ties_output(base: models_pb2.Model) -> bool:
    """Whether the output layer shares its weights with the embeddings, as far as the checkpoint can be read here."""
    try:
        config = json.loads((Path(checkpoint_of(base)) / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(config.get("tie_word_embeddings"))


def _recipe(job: jobs_pb2.Job) -> Recipe:
    kind: Kind
    match job.WhichOneof("request"):
        case "supervised_fine_tune" | "preference_optimize" | "train_reward_model" as kind:
            return recipe_of(kind, getattr(job, kind))
    raise InvalidArgumentError.of("auto_register", "only a training has a result that can be registered")


def _wish(job: jobs_pb2.Job) -> training_pb2.AutoRegister:
    wish: training_pb2.AutoRegister = getattr(job, job.WhichOneof("request") or "").auto_register
    return wish


def _model_id(job: jobs_pb2.Job) -> str:
    return _wish(job).model_id or job.job_uuid


def _maker(model: models_pb2.Model) -> str:
    return text_of(model, TRAINING_JOB)
