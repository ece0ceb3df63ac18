# Made from caravan/_async/safety.py by tools/sync_client.py. Do not edit.
"""Judging content by shields. Shields are registered through `shields`."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from caravan import llama_stack
from caravan._sync.calls import Calls
from caravan.messages import MessageLike, conversation
from caravan.safety.v1 import safety_pb2


class Safety:
    """`caravan.safety.v1.SafetyService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def run_shield(
        self,
        shield_id: str,
        messages: MessageLike | Iterable[MessageLike],
        *,
        params: Mapping[str, Any] | None = None,
    ) -> safety_pb2.RunShieldResponse:
        """Judges messages by one shield. A violation is an answer, not an error.

            if client.safety.run_shield("pii", "Call me at 555-0100.").HasField("violation"): ...

        Args:
            shield_id: The shield.
            messages: One message or several, oldest first.
            params: Parameters of this call; they win over the registered ones.
        """
        shape = {"shield_id": shield_id, "params": params}
        request = llama_stack.build(safety_pb2.RunShieldRequest, shape, "shield")
        request.messages.extend(conversation(messages))
        return self._calls.unary(request, safety_pb2.RunShieldResponse)

    def run_shields(
        self,
        shield_ids: Sequence[str],
        messages: MessageLike | Iterable[MessageLike],
        *,
        on_violation: str | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> safety_pb2.RunShieldsResponse:
        """Judges messages by several shields at the same time; the first error in their order decides.

        Args:
            shield_ids: The shields.
            messages: One message or several, oldest first.
            on_violation: What becomes of errors: `raise` (they stay errors, the default), `warn` or `ignore`.
            options: By shield, `{"params": {...}, "on_violation_action": "warn"}`.
        """
        shape = {"shield_ids": list(shield_ids), "on_violation_action": on_violation, "options": options}
        request = llama_stack.build(safety_pb2.RunShieldsRequest, shape, "shields")
        request.messages.extend(conversation(messages))
        return self._calls.unary(request, safety_pb2.RunShieldsResponse)

    def stream_shield(
        self,
        shield_id: str,
        texts: Iterable[str],
        *,
        messages: MessageLike | Iterable[MessageLike] = (),
        params: Mapping[str, Any] | None = None,
        user_text: bool = False,
    ) -> Generator[safety_pb2.StreamShieldResponse, None, None]:
        """Judges a text while it grows and yields what may be released, what was found, and in the end the verdict.

        Args:
            shield_id: The shield.
            texts: The text, piece by piece.
            messages: The conversation that it answers.
            params: Parameters of this call; they win over the registered ones.
            user_text: The text is the user's, not the assistant's.
        """
        shape = {"shield_id": shield_id, "params": params, "user_text": user_text}
        first = llama_stack.build(safety_pb2.StreamShieldRequest, shape, "shield")
        first.messages.extend(conversation(messages))
        return self._calls.exchange(first, _pieces(texts), safety_pb2.StreamShieldResponse)


def _pieces(texts: Iterable[str]) -> Iterator[safety_pb2.StreamShieldRequest]:
    for text in texts:
        yield safety_pb2.StreamShieldRequest(text=text)
    yield safety_pb2.StreamShieldRequest(end_of_text=True)
