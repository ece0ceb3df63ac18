import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import ResourceExhaustedError, UnavailableError
from services.safety import growing_text
from services.safety.judging import Judge
from services.safety.parameters import ShieldParams
from services.safety.ports import ConversationShield, Steps, Text, TextFinding, TextShield, Verdict
from services.safety.provider import ReadyShield
from services.safety.results import result_of
from services.safety.streaming import ShieldedText
from services.safety.texts import Role
from tests.services.safety.word_shield import ERROR, WordParams, ready
from tests.support.requests import content, user

JUDGE = Judge()
WORDS = st.sampled_from(["bomb", "b", "omb", "hmm", "key-123", "key-", "4", " ", ".", "a", "é", "b\u200bomb", "кey-1"])
CHUNKS = st.lists(st.lists(WORDS, max_size=6).map("".join), max_size=12)


async def stream(
    shield: ReadyShield[ShieldParams],
    chunks: Sequence[str],
    *,
    context: Sequence[types_pb2.Message] = (),
    role: Role = Role.ASSISTANT,
    pause: bool = True,
) -> list[safety_pb2.StreamShieldResponse]:
    """Everything that is said about a text that comes in chunks."""
    shielded = ShieldedText(JUDGE, shield, context, role)

    async def feed() -> None:
        for chunk in chunks:
            await shielded.growing.append(chunk)
            if pause:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        await shielded.growing.finish()

    feeding = asyncio.create_task(feed())
    try:
        return [event async for event in shielded.events()]
    finally:
        feeding.cancel()


async def whole(shield: ReadyShield[ShieldParams], text: str) -> results_pb2.ShieldResult:
    """What RunShield says about it."""
    messages = [types_pb2.Message(assistant={"content": content(text)})]
    return result_of(shield.shield_id, await JUDGE.verdict(shield, messages), shield.params, messages)


def released(events: Sequence[safety_pb2.StreamShieldResponse]) -> str:
    return "".join(event.released.text for event in events)


def verdict(events: Sequence[safety_pb2.StreamShieldResponse]) -> results_pb2.ShieldResult:
    assert [event.WhichOneof("event") == "complete" for event in events] == [False] * (len(events) - 1) + [True]
    return events[-1].complete.result


def masked_text(result: results_pb2.ShieldResult, text: str) -> str:
    if not result.masked_messages:
        return text
    return "".join(item.text for item in result.masked_messages[0].assistant.content.items)


@given(CHUNKS, st.sampled_from([16, 24, None]))
@settings(deadline=None, max_examples=150)
def test_the_decision_is_the_one_on_the_whole_text(chunks: list[str], overlap: int | None):
    async def check() -> None:
        text, shield = "".join(chunks), ready(overlap=overlap)
        events, expected = await stream(shield, chunks), await whole(shield, text)
        result = verdict(events)
        assert result.violation.violation_level == expected.violation.violation_level
        if expected.violation.violation_level == ERROR:
            found = [finding.location for finding in result.findings if finding.violation_level == ERROR]
            assert found[0] in [finding.location for finding in expected.findings]
        else:
            assert released(events) == masked_text(expected, text)
            assert result.findings == expected.findings
            assert result.masked_messages == expected.masked_messages

    asyncio.run(check())


@given(st.lists(WORDS, min_size=1, max_size=40).map("".join), st.integers(1, 7))
@settings(deadline=None, max_examples=100)
def test_nothing_of_a_finding_is_released_before_it_is_found(text: str, size: int):
    async def check() -> None:
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        shield = ready()
        events, expected = await stream(shield, chunks), await whole(shield, text)
        first = min((f.location.start for f in expected.findings if f.violation_level == ERROR), default=len(text))
        assert all(event.released.end <= first for event in events if event.HasField("released"))

    asyncio.run(check())


async def test_safe_text_is_released_while_the_rest_is_still_being_written():
    shielded = ShieldedText(JUDGE, ready(), (), Role.ASSISTANT)
    await shielded.growing.append("This is a rather long and perfectly harmless sentence. ")
    events = shielded.events()
    first = await asyncio.wait_for(anext(events), 1)
    assert first.released.text.startswith("This is a rather long")
    assert first.released.end == len(first.released.text)
    await events.aclose()


async def test_a_violation_completes_the_stream_at_once():
    shielded = ShieldedText(JUDGE, ready(), (), Role.ASSISTANT)
    await shielded.growing.append("Take the bomb and walk. And then some more text follows it, without any end. ")
    async with asyncio.timeout(1):
        events = [event async for event in shielded.events()]
    assert verdict(events).violation.violation_level == ERROR
    assert "bomb" not in released(events)


async def test_a_warning_is_told_once_and_the_text_goes_on():
    events = await stream(ready(), ["hmm ", "that is ", "fine and ", "goes on ", "for a while ", "longer"])
    findings = [event.finding.category for event in events if event.HasField("finding")]
    assert findings == ["odd_word"]
    assert released(events) == "hmm that is fine and goes on for a while longer"


async def test_masked_text_is_released_masked_and_the_finding_comes_before_it():
    events = await stream(ready(), ["my key-", "123 is ", "somewhere here ", "and not ", "anywhere else"])
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds.index("finding") < kinds.index("released") or "key" not in events[0].released.text
    assert released(events) == "my [key] is somewhere here and not anywhere else"
    assert events[-2].released.end == len("my key-123 is somewhere here and not anywhere else")


async def test_a_role_that_is_not_judged_streams_freely():
    events = await stream(ready(roles=["user"]), ["bo", "mb"])
    assert released(events) == "bomb"
    assert not verdict(events).HasField("violation")


async def test_a_users_text_is_judged_as_the_users():
    events = await stream(ready(roles=["user"]), ["bo", "mb"], role=Role.USER)
    assert verdict(events).violation.violation_level == ERROR


async def test_a_location_counts_the_messages_before_the_text():
    events = await stream(ready(), ["hmm"], context=[user("a bomb"), user("more")])
    assert [finding.location.message_index for finding in verdict(events).findings] == [2]


class Guard(ConversationShield):
    """Finds `bomb` in the last message, as slowly as it is told to."""

    steps = Steps(stride=20)

    def __init__(self, seconds: float = 0.0, failing: bool = False) -> None:
        self.seconds = seconds
        self.failing = failing
        self.asked: list[str] = []

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        text = "".join(item.text for item in messages[-1].assistant.content.items)
        self.asked.append(text)
        await asyncio.sleep(self.seconds)
        if self.failing:
            raise UnavailableError("the guard is away", reason="AWAY")
        found = results_pb2.ShieldFinding(category="S1", description="violence", violation_level=ERROR)
        return Verdict([found] if "bomb" in text else [])


async def test_a_guard_judges_the_growing_text_in_steps_and_then_the_whole():
    guard = Guard()
    chunks = ["a harmless sentence ", "and another one that ", "goes on"]
    events = await stream(ReadyShield("guard", ShieldParams(), guard), chunks)
    assert released(events) == "".join(chunks)
    assert len(guard.asked) >= 2
    assert guard.asked[-1] == "".join(chunks)


class Narrow(Guard):
    """Sees the end of the text only, and says where."""

    steps = Steps(stride=20, window=30)

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        verdict = await super().judge(messages, judged)
        for finding in verdict.findings:
            start = self.asked[-1].index("bomb")
            finding.location.CopyFrom(results_pb2.ContentLocation(message_index=judged[-1], start=start, end=start + 4))
        return verdict


async def test_what_is_found_in_the_end_of_a_text_is_located_in_all_of_it():
    guard = Narrow()
    text = "a harmless sentence " * 5 + "and a bomb somewhere in what comes later, which goes on"
    chunks = [text[at : at + 10] for at in range(0, len(text), 10)]
    result = verdict(await stream(ReadyShield("guard", ShieldParams(), guard), chunks))
    place = result.findings[0].location
    assert text[place.start : place.end] == "bomb"
    assert max(map(len, guard.asked)) < len(text)


async def test_text_that_comes_while_a_guard_thinks_is_judged_together():
    guard = Guard(seconds=0.05)
    chunks = ["a harmless sentence "] * 40
    await stream(ReadyShield("guard", ShieldParams(), guard), chunks)
    assert len(guard.asked) <= 4


@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_guard_that_is_away_fails_as_its_parameters_say(fail_open: bool):
    shield = ReadyShield("guard", ShieldParams(fail_open=fail_open), Guard(failing=True))
    events = await stream(shield, ["some text that is long enough ", "to be judged"])
    result = verdict(events)
    assert "the guard is away" in result.error.message
    assert released(events) == ("some text that is long enough to be judged" if fail_open else "")
    assert (result.violation.violation_level == ERROR) is not fail_open


async def test_a_sender_that_is_faster_than_the_shield_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(growing_text, "_MOST_WAITING", 100)
    shielded = ShieldedText(JUDGE, ReadyShield("guard", ShieldParams(), Guard(seconds=60)), (), Role.ASSISTANT)
    judging = asyncio.create_task(anext(shielded.events()))
    await asyncio.sleep(0)
    await shielded.growing.append("x" * 90)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await shielded.growing.append("x" * 110)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(shielded.growing.append("y"), 0.05)
    judging.cancel()


async def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(growing_text, "MOST_CHARS", 1000)
    shielded = ShieldedText(JUDGE, ready(overlap=None), (), Role.ASSISTANT)
    await shielded.growing.append("x" * 1000)
    with pytest.raises(ResourceExhaustedError, match="longer than 1000"):
        await shielded.growing.append("x")


class Counting(TextShield):
    """Remembers how much it has read."""

    overlap = 64

    def __init__(self) -> None:
        self.read = 0

    def scan(self, text: Text) -> Sequence[TextFinding]:
        self.read += len(text)
        return ()


async def test_a_long_stream_is_read_a_bounded_number_of_times():
    shield = Counting()
    await stream(ReadyShield("words", WordParams(), shield), ["word "] * 4000)
    assert shield.read < 20 * 5 * 4000
