import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import struct_pb2

from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import shields_pb2
from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnavailableError
from services.safety.judging import Judge
from services.safety.parameters import ShieldParams
from services.safety.ports import ConversationShield, Verdict
from services.safety.provider import ServedShield, ShieldProvider, ShieldProviderConfig
from services.safety.results import MOST_FINDINGS, failure_result
from services.safety.running import OtherShields, Params, Runner
from tests.services.safety.word_shield import ERROR, WARN, WordProvider
from tests.support.eventually import until
from tests.support.requests import user

IGNORE, WARN_ONLY, RAISE = (
    safety_pb2.ON_VIOLATION_ACTION_IGNORE,
    safety_pb2.ON_VIOLATION_ACTION_WARN,
    safety_pb2.ON_VIOLATION_ACTION_RAISE,
)


class Nobody(OtherShields):
    """No other provider."""

    async def run(
        self, shield_id: str, messages: Sequence[types_pb2.Message], params: Params
    ) -> results_pb2.ShieldResult:
        raise NotFoundError("no such shield", resource_type="shield", resource_name=shield_id)


class Away(OtherShields):
    """Another provider that does not answer."""

    async def run(
        self, shield_id: str, messages: Sequence[types_pb2.Message], params: Params
    ) -> results_pb2.ShieldResult:
        return failure_result(shield_id, UnavailableError("nobody there"), fail_open=False)


class Sleeper(ConversationShield):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.judges = False
        self.cancelled = False

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        self.judges = True
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Verdict()


class SleepyParams(ShieldParams):
    """How long it takes."""

    seconds: float = 0.1


class SleepyProvider(ShieldProvider[SleepyParams]):
    """Shields that take their time."""

    params_type = SleepyParams

    def __init__(self) -> None:
        super().__init__("sleepy", "inline::sleepy", ShieldProviderConfig())
        self.made: list[Sleeper] = []

    async def prepare(self, provider_shield_id: str, params: SleepyParams) -> Sleeper:
        self.made.append(Sleeper(params.seconds))
        return self.made[-1]


def struct(**values: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(values)
    return made


async def register(provider: ShieldProvider[Any], shield_id: str, **params: Any) -> None:
    shield = shields_pb2.Shield(shield_id=shield_id, provider_shield_id=shield_id, params=struct(**params))
    await provider.load(providers_pb2.Resource(shield=shield))


@pytest.fixture
async def words() -> WordProvider:
    provider = WordProvider()
    await register(provider, "first", bad="bomb")
    await register(provider, "second", bad="gun")
    await register(provider, "careful", bad="bomb", level="warn")
    return provider


def runner(provider: ShieldProvider[Any], others: OtherShields | None = None) -> Runner:
    return Runner(provider, Judge(), others or Nobody())


def run_shields(*shield_ids: str, text: str = "a bomb and a gun", **fields: Any) -> safety_pb2.RunShieldsRequest:
    return safety_pb2.RunShieldsRequest(shield_ids=shield_ids, messages=[user(text)], **fields)


async def test_the_first_error_in_the_order_of_the_list_decides(words: WordProvider):
    response = await runner(words).run_shields(run_shields("careful", "second", "first"))
    assert response.deciding_shield_id == "second"
    assert [result.shield_id for result in response.results] == ["careful", "second", "first"]
    assert all(result.HasField("violation") for result in response.results)


async def test_a_warning_decides_when_there_is_no_error(words: WordProvider):
    response = await runner(words).run_shields(run_shields("careful", "first", text="hm, a bomb shell", options={}))
    assert response.deciding_shield_id == "first"
    response = await runner(words).run_shields(run_shields("second", "careful", text="a bomb"))
    assert (response.deciding_shield_id, response.violation.violation_level) == ("careful", WARN)


async def test_an_ignored_violation_is_in_its_result_only(words: WordProvider):
    request = run_shields("first", text="a bomb, key-12", on_violation_action=IGNORE)
    response = await runner(words).run_shields(request)
    assert not response.HasField("violation")
    assert not response.masked_messages
    assert response.results[0].violation.violation_level == ERROR


async def test_a_violation_can_be_lowered_to_a_warning_for_one_shield(words: WordProvider):
    options = {"first": safety_pb2.ShieldRunOptions(on_violation_action=WARN_ONLY)}
    response = await runner(words).run_shields(run_shields("first", "second", text="bomb", options=options))
    assert response.violation.violation_level == WARN
    own = {"first": safety_pb2.ShieldRunOptions(on_violation_action=RAISE)}
    request = run_shields("first", text="bomb", options=own, on_violation_action=IGNORE)
    assert (await runner(words).run_shields(request)).violation.violation_level == ERROR


async def test_what_several_shields_mask_is_masked_together(words: WordProvider):
    await register(words, "names", bad="nothing", secret="Ada")
    response = await runner(words).run_shields(run_shields("second", "names", text="Ada has key-12"))
    assert response.masked_messages[0].user.content.items[0].text == "[key] has [key]"


async def test_an_unknown_shield_is_not_found(words: WordProvider):
    with pytest.raises(NotFoundError):
        await runner(words).run_shields(run_shields("first", "nobody"))
    with pytest.raises(NotFoundError, match="served: careful, first, second"):
        await runner(words).run_shield(safety_pb2.RunShieldRequest(shield_id="nobody", messages=[user("hi")]))


async def test_a_shield_of_a_provider_that_is_away_fails_closed(words: WordProvider):
    response = await runner(words, Away()).run_shields(run_shields("elsewhere", "first", text="fine"))
    assert response.deciding_shield_id == "elsewhere"
    assert response.results[0].error.message == "nobody there"
    assert not response.results[1].HasField("violation")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"no_such": 1}, "params.no_such"),
        ({"level": "fatal"}, "params.level"),
        ({"overlap": "far"}, "params.overlap"),
        ({"roles": ["user", "nobody"]}, "params.roles"),
    ],
)
async def test_params_of_a_call_are_checked_against_the_shields_schema(words: WordProvider, params: Any, path: str):
    request = safety_pb2.RunShieldRequest(shield_id="first", messages=[user("hi")], params=struct(**params))
    with pytest.raises(InvalidArgumentError) as caught:
        await runner(words).run_shield(request)
    assert caught.value.violations[0].field.startswith(path)
    options = {"first": safety_pb2.ShieldRunOptions(params=struct(**params))}
    with pytest.raises(InvalidArgumentError) as caught:
        await runner(words).run_shields(run_shields("first", options=options))
    assert caught.value.violations[0].field.startswith(f'options["first"].{path}')


async def test_params_of_a_call_win_over_the_registered_ones_and_are_prepared_once(words: WordProvider):
    prepared = words.prepared
    request = safety_pb2.RunShieldRequest(shield_id="first", messages=[user("a gun")], params=struct(bad="gun"))
    for _ in range(3):
        assert (await runner(words).run_shield(request)).violation.violation_level == ERROR
    assert words.prepared == prepared + 1
    request.ClearField("params")
    assert not (await runner(words).run_shield(request)).HasField("violation")


async def test_params_of_calls_that_never_come_again_are_forgotten(words: WordProvider):
    for number in range(200):
        request = safety_pb2.RunShieldRequest(shield_id="first", messages=[user("x")], params=struct(bad=f"a{number}"))
        await runner(words).run_shield(request)
    assert len(words._entries["first"].prepared) <= 64


async def test_a_violation_tells_category_score_location_and_latency(words: WordProvider):
    request = safety_pb2.RunShieldRequest(shield_id="first", messages=[user("hi"), user("a bomb")])
    response = await runner(words).run_shield(request)
    details = response.violation.metadata
    assert details["category"] == "bad_word"
    assert dict(details["location"]) == {"message_index": 1, "item_index": 0, "start": 2, "end": 6}
    assert response.violation.user_message == "This content was blocked by a safety check: a bad_word."
    assert response.result.latency.ToNanoseconds() > 0


async def test_the_user_is_told_what_the_template_says(words: WordProvider):
    await register(words, "polite", user_message="Not here ({category}, {shield_id}).")
    request = safety_pb2.RunShieldRequest(shield_id="polite", messages=[user("bomb")])
    assert (await runner(words).run_shield(request)).violation.user_message == "Not here (bad_word, polite)."


async def test_only_the_roles_and_messages_that_are_asked_for_are_judged(words: WordProvider):
    messages = [user("a bomb"), types_pb2.Message(assistant={"content": {"items": [{"text": "oh"}]}})]

    async def level(**params: Any) -> int:
        request = safety_pb2.RunShieldRequest(shield_id="first", messages=messages, params=struct(**params))
        return (await runner(words).run_shield(request)).violation.violation_level

    assert await level() == ERROR
    assert await level(judged="last") == 0
    assert await level(roles=["assistant"]) == 0


async def test_several_shields_run_at_the_same_time():
    provider = SleepyProvider()
    for number in range(8):
        await register(provider, f"s{number}", seconds=60)
    running = asyncio.create_task(runner(provider).run_shields(run_shields(*(f"s{number}" for number in range(8)))))
    await until(lambda: sum(made.judges for made in provider.made) == 8)
    running.cancel()


async def test_a_shield_that_is_too_slow_fails_closed_or_open():
    provider = SleepyProvider()
    await register(provider, "closed", seconds=5, timeout_seconds=0.05)
    await register(provider, "open", seconds=5, timeout_seconds=0.05, fail_open=True)
    response = await runner(provider).run_shields(run_shields("open", "closed"))
    assert response.deciding_shield_id == "closed"
    assert [result.HasField("violation") for result in response.results] == [False, True]
    assert all("did not judge within 0.05 s" in result.error.message for result in response.results)


async def test_cancelling_cancels_every_shield():
    provider = SleepyProvider()
    await register(provider, "a", seconds=60)
    await register(provider, "b", seconds=60)
    running = asyncio.create_task(runner(provider).run_shields(run_shields("a", "b")))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(made.cancelled for made in provider.made)


async def test_thousands_of_findings_are_listed_in_bounds_and_all_masked(words: WordProvider):
    request = safety_pb2.RunShieldRequest(shield_id="second", messages=[user("key-1 " * 5000)])
    result = (await runner(words).run_shield(request)).result
    assert len(result.findings) == MOST_FINDINGS + 1
    assert "key-1" not in result.masked_messages[0].user.content.items[0].text
    response = await runner(words).run_shields(run_shields("second", text="key-1 " * 5000))
    assert "key-1" not in response.masked_messages[0].user.content.items[0].text


async def test_a_provider_serves_the_shields_of_its_configuration():
    served = ServedShield(shield_id="own", params={"bad": "bomb"}, always_on_model_ids=["*"])
    provider = WordProvider(ShieldProviderConfig(shields=[served], max_shields=2))
    await provider.start()
    (resource,) = provider.resources()
    assert (resource.shield.shield_id, list(resource.shield.always_on_model_ids)) == ("own", ["*"])
    await register(provider, "more")
    with pytest.raises(ResourceExhaustedError, match="2 shields are served"):
        await register(provider, "too many")
    await provider.unload(2, "more")
    assert not provider.serves("more")
