"""Conversations as guard models read them, cut to what they can read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.safety import guard_prompts
from services.safety.guard_prompts import Turn
from services.safety.passages import arguments_text, items_of, role_of
from services.safety.texts import Role

_OVERLAP = 200


def turns_of(messages: Sequence[types_pb2.Message], images: str) -> list[Turn]:
    """The conversation in the guard's words. Instructions are no part of it, and what tools say is the user's.

    Args:
        messages: The conversation; the last one is judged.
        images: `judge`: the guard sees them; `ignore`: they are passed over; `refuse`: the judged message must have none.

    Raises:
        FailedPreconditionError: The judged message has an image, and the guard takes none.
    """
    turns = [_turn(message, images) for message in messages[:-1] if role_of(message) is not Role.SYSTEM]
    last = messages[-1]
    if images == "refuse" and any(item.HasField("image") for item in items_of(last)):
        message = (
            "the message has an image, which this guard cannot judge: use a guard that takes images (params.images = judge), "
            "or pass over them (params.images = ignore)"
        )
        raise FailedPreconditionError(message, reason="IMAGE_NOT_JUDGED")
    return [*turns, _turn(last, images)]


def recent(turns: Sequence[Turn], most_chars: int) -> list[Turn]:
    """The last turns that fit, the judged one always.

    Args:
        turns: The conversation.
        most_chars: Code points that they may have.
    """
    kept = [turns[-1]]
    left = most_chars - len(turns[-1].text)
    for turn in reversed(turns[:-1]):
        left -= len(turn.text) + len("Agent: ")
        if left < 0:
            break
        kept.append(turn)
    return kept[::-1]


def parts(turn: Turn, most_chars: int) -> Iterator[Turn]:
    """Parts of a turn that is too long, which overlap so that no sentence is lost between them.

    Args:
        turn: The turn.
        most_chars: Code points that a part may have.
    """
    overlap = min(_OVERLAP, most_chars // 4)
    step = most_chars - overlap
    for start in range(0, max(1, len(turn.text) - overlap), step):
        yield replace(turn, text=turn.text[start : start + most_chars], images=turn.images if start == 0 else ())


def _turn(message: types_pb2.Message, images: str) -> Turn:
    role = guard_prompts.Role.AGENT if role_of(message) is Role.ASSISTANT else guard_prompts.Role.USER
    items = items_of(message)
    text = "".join(item.text for item in items)
    calls = [f"{call.tool_name}({arguments_text(call)})" for call in message.assistant.tool_calls]
    shown = tuple(item.image for item in items if item.HasField("image")) if images == "judge" else ()
    return Turn(role, "\n".join((text, *calls)) if calls else text, shown)
