"""Shields around a turn: verdicts, what they stop, and text that is released only as far as every shield has passed it."""

from collections.abc import AsyncIterator, Iterable, Sequence

from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.agents.peers import Shields
from services.agents.transcript import text_of
from services.core.errors import UnavailableError

_SEVERITY = (
    types_pb2.VIOLATION_LEVEL_ERROR,
    types_pb2.VIOLATION_LEVEL_WARN,
    types_pb2.VIOLATION_LEVEL_INFO,
)


def stops(verdict: safety_pb2.RunShieldsResponse | None) -> bool:
    """Whether what was judged must not be used.

    Args:
        verdict: The verdict; None: nothing was judged.
    """
    return verdict is not None and verdict.violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR


def decided(results: Iterable[results_pb2.ShieldResult]) -> safety_pb2.RunShieldsResponse:
    """Puts verdicts of single shields together: the first error decides, else the first warning, else the first info.

    Args:
        results: The verdicts, in the shields' order.
    """
    response = safety_pb2.RunShieldsResponse(results=results)
    for level in _SEVERITY:
        for result in response.results:
            if result.HasField("violation") and result.violation.violation_level == level:
                response.violation.CopyFrom(result.violation)
                response.deciding_shield_id = result.shield_id
                return response
    return response


class GrowingText:
    """An assistant's text on its way through shields, one after the other; each reads what the one before it has released."""

    def __init__(self, shields: Shields, shield_ids: Sequence[str], conversation: Sequence[types_pb2.Message]) -> None:
        """Judges nothing yet.

        Args:
            shields: The shields.
            shield_ids: Which, in order.
            conversation: What the text answers.
        """
        self._shields, self._shield_ids, self._conversation = shields, shield_ids, conversation
        self._results: dict[str, results_pb2.ShieldResult] = {}

    @property
    def verdict(self) -> safety_pb2.RunShieldsResponse:
        """What the shields found; complete once `released` has ended."""
        return decided(self._results[name] for name in self._shield_ids if name in self._results)

    def released(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        """Yields the text as far as it is released, and ends early when a shield stops it.

        Args:
            texts: The pieces of the text.
        """
        for shield_id in self._shield_ids:
            texts = self._through(shield_id, texts)
        return texts

    async def _through(self, shield_id: str, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for event in self._shields.judge_growing(shield_id, self._conversation, texts):
            match event.WhichOneof("event"):
                case "released":
                    yield event.released.text
                case "complete":
                    self._results[shield_id] = event.complete.result
                    return
                case _:
                    continue
        # A shield that goes silent has passed nothing.
        message = f"shield {shield_id} ended without a verdict; try again"
        raise UnavailableError(message, reason="SHIELD_WITHOUT_VERDICT")


def masked_text(verdict: safety_pb2.RunShieldsResponse) -> str | None:
    """Returns the last message's text as the shields masked it; None: they masked nothing.

    Args:
        verdict: The verdict.
    """
    if not verdict.masked_messages:
        return None
    message = verdict.masked_messages[-1]
    role = message.WhichOneof("role")
    return text_of(getattr(message, role).content) if role else None
