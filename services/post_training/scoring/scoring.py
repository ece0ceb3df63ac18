"""Scoring the answers to several dialogs."""

import asyncio
from collections.abc import Iterable, Sequence

from caravan.inference.v1 import inference_pb2
from caravan.reward_scoring.v1 import reward_scoring_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FieldViolation, InternalError, InvalidArgumentError
from services.post_training.scoring.ports import RewardModels
from services.post_training.scoring.settings import ScoringSettings


class Scoring:
    """Scores answers by reward models."""

    def __init__(self, models: RewardModels, settings: ScoringSettings) -> None:
        """Uses these.

        Args:
            models: The reward models.
            settings: How answers are scored.
        """
        self._models = models
        self._settings = settings

    async def score(self, request: reward_scoring_pb2.ScoreRequest) -> reward_scoring_pb2.ScoreResponse:
        """Scores every answer, some dialogs at a time, the answers to one dialog together; one that fails fails the call.

        Raises:
            InvalidArgumentError: An answer is no assistant's message, or does not fit the model.
            NotFoundError: There is no such model.
            FailedPreconditionError: It is no reward model.
            UnavailableError: It does not answer.
        """
        calls = [_call(request.model, index, one) for index, one in enumerate(request.dialog_generations)]
        slots = asyncio.Semaphore(self._settings.concurrency)

        async def one(index: int, call: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
            async with slots:
                try:
                    return await self._models.score(call)
                except InvalidArgumentError as error:
                    raise _at(index, error) from error

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(index, call)) for index, call in enumerate(calls)]
        except* CaravanError as errors:
            raise errors.exceptions[0] from errors
        return _response(request.dialog_generations, [task.result() for task in tasks])


def summed(metrics: Iterable[types_pb2.MetricInResponse]) -> list[types_pb2.MetricInResponse]:
    """Returns the sums of measurements by name."""
    sums: dict[str, types_pb2.MetricInResponse] = {}
    for metric in metrics:
        known = sums.setdefault(metric.metric, types_pb2.MetricInResponse(metric=metric.metric, unit=metric.unit))
        known.value += metric.value
    return list(sums.values())


def _call(model: str, index: int, wanted: reward_scoring_pb2.DialogGenerations) -> inference_pb2.ScoreAnswersRequest:
    call = inference_pb2.ScoreAnswersRequest(model_id=model, messages=wanted.dialog, tools=wanted.tools)
    for place, message in enumerate(wanted.sampled_generations):
        if not message.HasField("assistant"):
            field = f"dialog_generations[{index}].sampled_generations[{place}]"
            raise InvalidArgumentError.of(field, "must be an assistant's message: what a model answered")
        call.answers.add().CopyFrom(message.assistant)
    return call


def _at(index: int, error: InvalidArgumentError) -> InvalidArgumentError:
    """The same error with the paths of this API's request."""
    violations = [
        FieldViolation(_path(index, violation.field), violation.description) for violation in error.violations
    ]
    message = "; ".join(f"{violation.field}: {violation.description}" for violation in violations) or error.message
    return InvalidArgumentError(message, violations=violations, reason=error.reason, metadata=error.metadata)


def _path(index: int, field: str) -> str:
    for theirs, ours in (("messages", "dialog"), ("answers", "sampled_generations"), ("tools", "tools")):
        if field.startswith(theirs):
            return f"dialog_generations[{index}].{ours}{field.removeprefix(theirs)}"
    return "model" if field == "model_id" else field


def _response(
    wanted: Sequence[reward_scoring_pb2.DialogGenerations], answered: Sequence[inference_pb2.ScoreAnswersResponse]
) -> reward_scoring_pb2.ScoreResponse:
    response = reward_scoring_pb2.ScoreResponse(metrics=summed(metric for one in answered for metric in one.metrics))
    for generations, scores in zip(wanted, answered, strict=True):
        if len(scores.scores) != len(generations.sampled_generations):
            raise InternalError("the reward model returned another number of scores than there are answers")
        scored = response.scored_generations.add(dialog=generations.dialog)
        for message, score in zip(generations.sampled_generations, scores.scores, strict=True):
            scored.scored_generations.add(message=message, score=score)
    return response
