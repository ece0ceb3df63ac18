"""Making answers and scores: some at a time, asked for again while a model does not answer, noted as they come."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
)
from services.post_training.synthesis.dialogs import Messages
from services.post_training.synthesis.journal import Journal
from services.post_training.synthesis.patience import patiently
from services.post_training.synthesis.plan import Plan
from services.post_training.synthesis.ports import Chat, RewardModels


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is asked for at a time, and for how long."""

    slots: asyncio.Semaphore
    """Answers that the process may wait for."""
    concurrency: int
    """Number of them."""
    answer_seconds: float
    """Longest time for one."""
    patience_seconds: float
    """Seconds that one is asked for again."""


class Making:
    """Makes the answers to dialogs, and their scores."""

    def __init__(self, plan: Plan, journal: Journal, chat: Chat, rewards: RewardModels, pace: Pace) -> None:
        """Uses these.

        Args:
            plan: What is to be made.
            journal: What has been made.
            chat: Makes answers.
            rewards: Makes scores.
            pace: How much at a time.
        """
        self._plan = plan
        self._journal = journal
        self._chat = chat
        self._rewards = rewards
        self._pace = pace
        # Enough to keep all slots busy, and no more dialogs in memory.
        self._open_dialogs = asyncio.Semaphore(max(2, math.ceil(2 * pace.concurrency / plan.answers)))

    async def run(
        self, dialogs: AsyncIterator[tuple[int, Messages]], completed: Callable[[int, Messages], Awaitable[None]]
    ) -> None:
        """Makes what is not made yet.

        Args:
            dialogs: The dialogs with their places.
            completed: Told of each dialog that has all its answers and scores, those that had them before too.

        Raises:
            InvalidArgumentError: A dialog cannot be answered by the model.
            FailedPreconditionError: An answer cannot be scored.
            CaravanError: A model does not answer.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for index, messages in dialogs:
                    if self._journal.is_complete(index):
                        await completed(index, messages)
                        continue
                    await self._open_dialogs.acquire()
                    group.create_task(self._complete(index, messages, completed))
        except* CaravanError as errors:
            raise _first(errors) from errors

    async def _complete(
        self, index: int, messages: Messages, completed: Callable[[int, Messages], Awaitable[None]]
    ) -> None:
        try:
            missing = self._journal.missing(index)
            async with asyncio.TaskGroup() as group:
                made = {answer: group.create_task(self._answer(index, answer, messages)) for answer in missing}
            if self._plan.is_scored:
                await self._score(index, messages, {answer: task.result() for answer, task in made.items()})
            await self._journal.room()
            await completed(index, messages)
        finally:
            self._open_dialogs.release()

    async def _answer(self, index: int, answer: int, messages: Messages) -> types_pb2.CompletionMessage:
        request = inference_pb2.ChatCompletionRequest(
            model_id=self._plan.decisions.model, messages=messages, sampling_params=self._plan.sampling(index, answer)
        )
        pace = self._pace
        async with pace.slots:
            try:
                call = self._chat.answer
                response = await patiently(lambda: call(request, pace.answer_seconds), pace.patience_seconds)
            except InvalidArgumentError as error:
                raise self._about(index, error) from error
        self._journal.add_answer(index, answer, response.completion_message, response.metrics)
        return response.completion_message

    async def _score(self, index: int, messages: Messages, made: Mapping[int, types_pb2.CompletionMessage]) -> None:
        earlier = [answer for answer in range(self._plan.answers) if answer not in made]
        first = index * self._plan.answers
        read = await self._journal.messages([first + answer for answer in earlier]) if earlier else []
        answers = {**made, **dict(zip(earlier, read, strict=True))}
        request = inference_pb2.ScoreAnswersRequest(
            model_id=self._plan.request.reward_model,
            messages=messages,
            answers=[answers[place] for place in range(self._plan.answers)],
        )
        async with self._pace.slots:
            try:
                response = await patiently(lambda: self._rewards.score(request), self._pace.patience_seconds)
            except InvalidArgumentError as error:
                message = (
                    f"{self._name(index)} and its answers cannot be scored by {request.model_id!r}: {error.message}; lower "
                    "sampling_params.max_tokens, or take another reward model"
                )
                raise FailedPreconditionError(message, reason="NOT_SCORABLE") from error
        self._journal.add_scores(index, _finite(response.scores, request))

    def _name(self, index: int) -> str:
        own = len(self._plan.request.dialogs)
        if index < own:
            return f"dialogs[{index}]"
        return f"row {index - own} of data set {self._plan.request.dataset_id!r}"

    def _about(self, index: int, error: InvalidArgumentError) -> CaravanError:
        """The error of an answer as one of this API's request."""
        own = index < len(self._plan.request.dialogs)
        violations = [
            FieldViolation(
                f"dialogs[{index}].{violation.field}"
                if own and violation.field.startswith("messages")
                else violation.field,
                violation.description,
            )
            for violation in error.violations
        ]
        message = f"{self._name(index)} cannot be answered by {self._plan.decisions.model!r}: {error.message}"
        if not own:
            return FailedPreconditionError(message, reason=error.reason, metadata=error.metadata)
        return InvalidArgumentError(message, violations=violations, reason=error.reason, metadata=error.metadata)


def _finite(scores: Sequence[float], request: inference_pb2.ScoreAnswersRequest) -> Sequence[float]:
    if len(scores) != len(request.answers) or not all(math.isfinite(score) for score in scores):
        message = f"reward model {request.model_id!r} did not give each answer a finite score: it cannot be used"
        raise FailedPreconditionError(message, reason="NO_SCORE")
    return scores


def _first(errors: BaseExceptionGroup[CaravanError]) -> CaravanError:
    """The first error of a tree of groups."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, CaravanError)
    return error
