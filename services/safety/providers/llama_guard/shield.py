"""A shield that asks a guard model."""

from collections.abc import Sequence

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.safety.concurrency import all_of
from services.safety.guard_prompts import GuardFormat, Turn
from services.safety.hazards import Hazard
from services.safety.passages import items_of
from services.safety.ports import ConversationShield, Steps, Verdict
from services.safety.providers.llama_guard.config import LlamaGuardParams
from services.safety.providers.llama_guard.guard import Answer, Guards, PromptTooLongError
from services.safety.providers.llama_guard.turns import parts, recent, turns_of

# Tokens that a guard's context is assumed to have when the registry does not tell, and code points that a token may stand for. The guess
# is halved until the guard takes the prompt.
_CONTEXT_TOKENS = 4096
_TOKEN_CHARS = 4
_LEAST_CHARS = 100
_MOST_PARTS = 64
_UNSAFE = Hazard("unsafe", "unsafe content", "The guard model finds it unsafe without naming a category.")


class GuardShield(ConversationShield):
    """Judges each message in the light of those before it."""

    def __init__(
        self, guards: Guards, model_id: str, params: LlamaGuardParams, listed: Sequence[Hazard], context: int | None
    ) -> None:
        """Makes the shield.

        Args:
            guards: The guard models.
            model_id: The one to ask.
            params: The shield's parameters.
            listed: The categories to look for.
            context: Tokens that the model can read. None: not known.
        """
        self.steps = Steps(stride=params.stream_stride)
        self._guards = guards
        self._model_id = model_id
        self._params = params
        self._listed = listed
        takes_images = params.format is GuardFormat.LLAMA_GUARD_4
        self._images = params.images or ("judge" if takes_images else "refuse")
        self._most_chars = (context or _CONTEXT_TOKENS) * _TOKEN_CHARS

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        """Judges messages, several at the same time."""
        answers = await all_of(self._judge_one(messages, index) for index in judged)
        findings = [
            self._finding(hazard, answer, _location(messages[index], index))
            for index, found in zip(judged, answers, strict=True)
            for answer in found
            for hazard in self._violated(answer)
        ]
        scores = [answer.probability for found in answers for answer in found if answer.probability is not None]
        return Verdict(_distinct(findings), max(scores, default=None))

    async def _judge_one(self, messages: Sequence[types_pb2.Message], index: int) -> list[Answer]:
        turns = turns_of(messages[: index + 1], self._images)
        most_chars, refusal = self._most_chars, ""
        while most_chars >= _LEAST_CHARS:
            try:
                return await self._ask(turns, most_chars)
            except PromptTooLongError as error:
                refusal = str(error)
                longest = sum(len(turn.text) for turn in turns)
                most_chars = min(most_chars, longest) // 2
        raise FailedPreconditionError(
            f"guard model {self._model_id} cannot even read {_LEAST_CHARS} characters beside its categories ({refusal}): "
            "exclude some, or use a guard with a longer context",
            reason="GUARD_CONTEXT_TOO_SHORT",
        )

    async def _ask(self, turns: Sequence[Turn], most_chars: int) -> list[Answer]:
        """The answer; for a judged turn that is too long, one for each part of it."""
        if len(turns[-1].text) <= most_chars:
            asked = [recent(turns, most_chars)]
        else:
            asked = [[part] for part in parts(turns[-1], most_chars)]
            if len(asked) > _MOST_PARTS:
                message = (
                    f"the message has {len(turns[-1].text)} characters, too many for guard model {self._model_id}: "
                    f"it would take {len(asked)} questions and at most {_MOST_PARTS} are asked"
                )
                raise FailedPreconditionError(message, reason="MESSAGE_TOO_LONG")
        return await all_of(
            self._guards.ask(self._model_id, shown, self._listed, self._params.format) for shown in asked
        )

    def _violated(self, answer: Answer) -> Sequence[Hazard]:
        if answer.probability is None:
            return answer.hazards
        if answer.probability < self._params.threshold:
            return ()
        return answer.hazards or (_UNSAFE,)

    @staticmethod
    def _finding(hazard: Hazard, answer: Answer, location: results_pb2.ContentLocation) -> results_pb2.ShieldFinding:
        return results_pb2.ShieldFinding(
            category=hazard.code,
            description=hazard.name,
            violation_level=types_pb2.VIOLATION_LEVEL_ERROR,
            score=answer.probability,
            location=location,
        )


def _location(message: types_pb2.Message, index: int) -> results_pb2.ContentLocation:
    items = items_of(message)
    return results_pb2.ContentLocation(message_index=index, end=len(items[0].text) if items else 0)


def _distinct(findings: Sequence[results_pb2.ShieldFinding]) -> list[results_pb2.ShieldFinding]:
    """One finding for each category of a message, the surest."""
    kept: dict[tuple[int, str], results_pb2.ShieldFinding] = {}
    for finding in findings:
        key = (finding.location.message_index, finding.category)
        if key not in kept or kept[key].score < finding.score:
            kept[key] = finding
    return list(kept.values())
