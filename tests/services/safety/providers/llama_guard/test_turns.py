import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.safety.guard_prompts import Role, Turn
from services.safety.providers.llama_guard.turns import parts, recent, turns_of
from tests.support.requests import content, user

LOOK = types_pb2.Message(user={"content": {"items": [{"text": "look"}, {"image": {"data": b"\x89PNG"}}]}})


def test_a_conversation_in_the_guards_words():
    call = types_pb2.ToolCall(tool_name="search", arguments_json='{"query": "cats"}')
    messages = [
        types_pb2.Message(system={"content": content("Be brief.")}),
        user("Find cats."),
        types_pb2.Message(assistant={"content": content("Sure."), "tool_calls": [call]}),
        types_pb2.Message(tool={"call_id": "1", "tool_name": "search", "content": content("Cats are ...")}),
    ]
    assert turns_of(messages, "judge") == [
        Turn(Role.USER, "Find cats."),
        Turn(Role.AGENT, 'Sure.\nsearch({"query": "cats"})'),
        Turn(Role.USER, "Cats are ..."),
    ]


def test_images_are_shown_passed_over_or_refused():
    assert turns_of([LOOK], "judge")[0].images[0].data == b"\x89PNG"
    assert turns_of([LOOK], "ignore")[0].images == ()
    with pytest.raises(FailedPreconditionError, match="images"):
        turns_of([LOOK], "refuse")
    # Only what is judged must be seen.
    assert turns_of([LOOK, user("hi")], "refuse")[-1].text == "hi"


def test_the_oldest_turns_go_first():
    turns = [Turn(Role.USER, str(number) * 10) for number in range(5)]
    assert [turn.text[0] for turn in recent(turns, 50)] == ["2", "3", "4"]
    assert recent(turns, 1) == [turns[-1]]


@given(st.text(min_size=1, max_size=3000), st.integers(100, 1000))
def test_parts_cover_a_turn_and_overlap(text: str, most: int):
    found = [part.text for part in parts(Turn(Role.USER, text), most)]
    assert all(0 < len(part) <= most for part in found)
    overlap = min(200, most // 4)
    rebuilt = found[0] + "".join(part[overlap:] for part in found[1:])
    assert rebuilt == text
