"""Making data: checked, made at once or in a job, the same when it is asked for again."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from caravan.registry.v1 import models_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from services.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.post_training.synthesis.generation import Event, Generation
from services.post_training.synthesis.journal import Journal
from services.post_training.synthesis.making import Making, Pace
from services.post_training.synthesis.plan import (
    Decisions,
    Plan,
    Request,
    check_dialogs,
    decide,
    read_decisions,
    write_decisions,
)
from services.post_training.synthesis.ports import Calls, Chat, Datasets, Models, RewardModels
from services.post_training.synthesis.settings import SynthesisSettings

_JOURNAL = "generations.jsonl"


class Synthesis:
    """Makes data."""

    def __init__(
        self,
        models: Models,
        chat: Chat,
        rewards: RewardModels,
        datasets: Datasets,
        calls: Calls,
        settings: SynthesisSettings,
    ) -> None:
        """Uses these.

        Args:
            models: The models that can be requested.
            chat: Makes answers.
            rewards: Makes scores.
            datasets: Where rows are read and stored.
            calls: Folders for calls.
            settings: How data are made.
        """
        self._models = models
        self._chat = chat
        self._rewards = rewards
        self._datasets = datasets
        self._calls = calls
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.concurrency)

    async def generate(self, request: synthetic_data_pb2.GenerateRequest) -> synthetic_data_pb2.GenerateResponse:
        """Makes data and returns it; one answer that cannot be made fails the call, and loses nothing when that has a `request_id`.

        Raises:
            CaravanError: See `check`, Making.run and `outcome.store`.
        """
        response = synthetic_data_pb2.GenerateResponse()
        wanted = Request.FromString(request.SerializeToString())
        async with aclosing(self._call("Generate", wanted)) as events:
            async for event in events:
                if event.HasField("example"):
                    response.synthetic_data.append(event.example)
                elif event.HasField("complete"):
                    response.statistics.CopyFrom(event.complete.statistics)
                    response.output_dataset_id = event.complete.output_dataset_id
        # Those that could be decided on early came as they were made; a stable sort keeps the order of each dialog's own.
        response.synthetic_data.sort(key=lambda example: example.dialog_index)
        return response

    async def stream(self, request: synthetic_data_pb2.StreamGenerateRequest) -> AsyncGenerator[Event, None]:
        """Makes data and yields it as it is made.

        Raises:
            CaravanError: As `generate`'s.
        """
        wanted = Request.FromString(request.SerializeToString())
        async with aclosing(self._call("StreamGenerate", wanted)) as events:
            async for event in events:
                yield event

    async def check_job(self, request: Request) -> None:
        """Makes sure that a job can do what is asked for.

        Raises:
            NotFoundError: There is no such model or data set.
            InvalidArgumentError: Something does not fit.
            AlreadyExistsError: The output data set is there.
        """
        await self._checked(request, self._settings.max_job_answers, "max_job_answers")

    async def run_job(self, request: Request, folder: Path, told: Callable[[Event], Awaitable[None]]) -> None:
        """Makes data in a job. Called again with the same folder it goes on, and makes nothing twice.

        Args:
            request: What is asked for; it has a `job_uuid`.
            folder: The job's folder.
            told: Is told of progress, and of the end.

        Raises:
            CaravanError: As `generate`'s.
        """
        decisions = await asyncio.to_thread(read_decisions, folder)
        if decisions is None:
            decisions = await self._checked(request, self._settings.max_job_answers, "max_job_answers")
            await asyncio.to_thread(write_decisions, folder, decisions)
        generation = self._generation(Plan(request, decisions), folder)
        async with generation.opened():
            events = generation.events(
                with_examples=False,
                request_id=f"job:{request.job_uuid}",
                patience_seconds=self._settings.patience_seconds,
            )
            async with aclosing(events):
                async for event in events:
                    await told(event)

    async def _call(self, rpc: str, request: Request) -> AsyncGenerator[Event, None]:
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        async with self._calls.folder(rpc, request.request_id, digest) as folder:
            decisions = await asyncio.to_thread(read_decisions, folder)
            if decisions is None:
                decisions = await self._checked(request, self._settings.max_answers, "max_answers")
                await asyncio.to_thread(write_decisions, folder, decisions)
            generation = self._generation(Plan(request, decisions), folder)
            async with generation.opened():
                events = generation.events(
                    with_examples=True,
                    request_id=f"{rpc}:{digest}" if request.request_id else "",
                    patience_seconds=self._settings.patience_seconds,
                )
                async with aclosing(events):
                    async for event in events:
                        yield event

    def _generation(self, plan: Plan, folder: Path) -> Generation:
        settings = self._settings
        journal = Journal(folder / _JOURNAL, plan.dialogs, plan.answers, is_scored=plan.is_scored)
        pace = Pace(self._slots, settings.concurrency, settings.answer_seconds, settings.patience_seconds)
        making = Making(plan, journal, self._chat, self._rewards, pace)
        return Generation(plan, journal, making, self._datasets, folder)

    async def _checked(self, request: Request, most: int, setting: str) -> Decisions:
        model = request.model or self._settings.model
        if not model:
            raise InvalidArgumentError.of("model", "name the model that answers: this service has no default one")
        check_dialogs(request)
        await self._require("model", model, models_pb2.MODEL_TYPE_LLM)
        if request.reward_model:
            await self._require("reward_model", request.reward_model, models_pb2.MODEL_TYPE_REWARD)
        decisions = await decide(request, model, self._datasets)
        count = Plan(request, decisions).dialogs * Plan(request, decisions).answers
        if count > most:
            what = "StartGeneration makes more" if setting == "max_answers" else f"the setting is {setting}"
            raise InvalidArgumentError.of(
                "k_generations", f"{count} answers are asked for, and at most {most} are made: {what}"
            )
        if request.output_dataset_id:
            await self._require_free(request.output_dataset_id)
        return decisions

    async def _require(self, field: str, model_id: str, model_type: models_pb2.ModelType.ValueType) -> None:
        model = await self._models.find(model_id)
        if model is None:
            message = f"{field}: there is no model {model_id!r}; ListModels shows those that there are"
            raise NotFoundError(message, resource_type="model", resource_name=model_id)
        if model.model_type != model_type:
            what = (
                "scores answers (a reward model)" if model_type == models_pb2.MODEL_TYPE_REWARD else "answers dialogs"
            )
            message = f"{field}: {model_id!r} is no model that {what}; choose one of the right type from ListModels"
            raise FailedPreconditionError(message, reason="WRONG_MODEL_TYPE")

    async def _require_free(self, dataset_id: str) -> None:
        try:
            await self._datasets.get(dataset_id)
        except NotFoundError:
            return
        message = f"there is a data set {dataset_id!r} already: take another output_dataset_id, or delete it"
        raise AlreadyExistsError(message, resource_type="dataset", resource_name=dataset_id)
