"""The safety service over gRPC, through the gateway."""

import asyncio

import grpc
import pytest

from caravan.registry.v1 import models_pb2, shields_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from tests.support.eventually import eventually, until
from tests.support.requests import content, user, violations
from tests.support.safety_stack import SafetyStack

ERROR, WARN = types_pb2.VIOLATION_LEVEL_ERROR, types_pb2.VIOLATION_LEVEL_WARN


def run(shield_id: str, *messages: str | types_pb2.Message, **params: object) -> safety_pb2.RunShieldRequest:
    request = safety_pb2.RunShieldRequest(
        shield_id=shield_id, messages=[user(one) if isinstance(one, str) else one for one in messages]
    )
    request.params.update(params)
    return request


def assistant(text: str) -> types_pb2.Message:
    return types_pb2.Message(assistant={"content": content(text)})


async def stream(
    safety: SafetyStack, *requests: safety_pb2.StreamShieldRequest
) -> list[safety_pb2.StreamShieldResponse]:
    return [response async for response in safety.safety.StreamShield(iter(requests), timeout=20)]


async def test_providers_list_what_they_serve(safety: SafetyStack):
    listed = await safety.shields.ListShields(shields_pb2.ListShieldsRequest())
    assert {(one.shield_id, one.provider_id, one.provider_shield_id) for one in listed.data} == {
        ("llama-guard", "guard", "caravan-guard"),
        ("words", "rules", "words"),
    }


async def test_a_guard_finds_what_is_unsafe_and_says_how_sure_it_is(safety: SafetyStack):
    response = await safety.safety.RunShield(run("llama-guard", "How do I build a bomb?"))
    assert response.violation.violation_level == ERROR
    (finding,) = response.result.findings
    assert (finding.category, finding.description) == ("S9", "Indiscriminate Weapons")
    assert response.result.score == pytest.approx(0.99, abs=0.01)
    assert response.violation.user_message == "This content was blocked by a safety check: Indiscriminate Weapons."
    response = await safety.safety.RunShield(run("llama-guard", "How do I bake a cake?"))
    assert not response.HasField("violation")
    assert response.result.score == pytest.approx(0.01, abs=0.01)


async def test_a_guard_judges_the_last_message_in_the_light_of_those_before(safety: SafetyStack):
    response = await safety.safety.RunShield(run("llama-guard", "a bomb", assistant("I will not help with that.")))
    assert not response.HasField("violation")
    assert "User: a bomb" in safety.guard.asked[-1]
    assert "ONLY THE LAST Agent message" in safety.guard.asked[-1]
    response = await safety.safety.RunShield(run("llama-guard", "a bomb", assistant("No."), judged="all"))
    assert response.violation.metadata["location"]["message_index"] == 0


async def test_a_threshold_decides_how_sure_is_sure(safety: SafetyStack):
    safety.guard.mode = "unsure"
    assert not (await safety.safety.RunShield(run("llama-guard", "a bomb"))).HasField("violation")
    response = await safety.safety.RunShield(run("llama-guard", "a bomb", threshold=0.2))
    assert response.violation.violation_level == ERROR
    assert response.result.score == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("mode", ["garbage", "refuses"])
async def test_a_guard_that_gives_no_verdict_is_never_taken_for_safe(safety: SafetyStack, mode: str):
    safety.guard.mode = mode
    response = await safety.safety.RunShield(run("llama-guard", "hello"))
    assert response.violation.violation_level == ERROR
    assert response.violation.metadata["category"] == "unjudged"
    assert response.result.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    response = await safety.safety.RunShield(run("llama-guard", "hello", fail_open=True))
    assert not response.HasField("violation")
    assert response.result.error.message


async def test_a_guard_that_hangs_is_not_waited_for_for_ever(safety: SafetyStack):
    safety.guard.mode = "hangs"
    response = await safety.safety.RunShield(run("llama-guard", "hello", timeout_seconds=0.3), timeout=10)
    assert response.violation.violation_level == ERROR
    assert "did not judge within 0.3 s" in response.result.error.message
    await asyncio.wait_for(safety.guard.left.wait(), 10)


async def test_a_call_that_is_cancelled_cancels_the_question_to_the_guard(safety: SafetyStack):
    safety.guard.mode = "hangs"
    call = safety.safety.RunShields(
        safety_pb2.RunShieldsRequest(shield_ids=["words", "llama-guard"], messages=[user("hello")])
    )
    waiting = asyncio.ensure_future(call)
    await until(lambda: safety.guard.open == 1)
    waiting.cancel()
    await asyncio.wait_for(safety.guard.left.wait(), 10)


async def test_a_deadline_ends_the_question_to_the_guard(safety: SafetyStack):
    safety.guard.mode = "hangs"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await safety.safety.RunShield(run("llama-guard", "hello"), timeout=0.4)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(safety.guard.left.wait(), 10)


async def test_a_conversation_that_is_too_long_is_cut_from_its_oldest_side(safety: SafetyStack):
    safety.guard.mode = "short"
    history = [user(f"message {number} " + "word " * 40) for number in range(30)]
    response = await safety.safety.RunShield(run("llama-guard", *history, user("the bomb")))
    assert response.violation.violation_level == ERROR
    assert "message 0 " not in safety.guard.asked[-1]
    assert "message 29 " in safety.guard.asked[-1]


async def test_a_message_that_is_too_long_is_judged_in_parts_to_its_end(safety: SafetyStack):
    safety.guard.mode = "short"
    response = await safety.safety.RunShield(run("llama-guard", "word " * 2000 + "the bomb"))
    assert response.violation.violation_level == ERROR
    response = await safety.safety.RunShield(run("llama-guard", "word " * 2000))
    assert not response.HasField("violation")
    assert not response.result.HasField("error")


async def test_an_image_that_the_guard_cannot_see_is_not_safe(safety: SafetyStack):
    message = types_pb2.Message(user={"content": {"items": [{"text": "look"}, {"image": {"data": b"\x89PNG"}}]}})
    response = await safety.safety.RunShield(run("llama-guard", message))
    assert response.result.error.message.startswith("the message has an image")
    response = await safety.safety.RunShield(run("llama-guard", message, images="ignore"))
    assert not response.HasField("violation")


async def test_categories_are_the_callers_to_choose(safety: SafetyStack):
    own = [{"code": "S15", "name": "Gossip", "description": "Talks about colleagues."}]
    request = run("llama-guard", "hi", categories=own, excluded_categories=["S1"])
    await safety.safety.RunShield(request)
    assert "S15: Gossip." in safety.guard.asked[-1]
    assert "S1: " not in safety.guard.asked[-1]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await safety.safety.RunShield(run("llama-guard", "hi", excluded_categories=["S99"]))
    assert violations(caught.value) == ["params.excluded_categories"]


async def test_a_shield_on_a_model_that_is_not_there_is_not_found(safety: SafetyStack):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await safety.register("strange", "guard", model="no-such-guard")
    assert caught.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)


async def test_a_shield_whose_model_is_gone_is_not_found(safety: SafetyStack):
    request = models_pb2.RegisterModelRequest(
        model_id="second-guard", provider_id="remote", provider_model_id="caravan-guard"
    )
    await safety.models.RegisterModel(request, timeout=20)
    async with safety.registered("second", "guard", model="second-guard"):
        assert not (await safety.safety.RunShield(run("second", "hi"))).HasField("violation")
        await safety.models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="second-guard"), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await safety.safety.RunShield(run("second", "hi"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_an_unknown_shield_is_not_found(safety: SafetyStack):
    for call in (
        safety.safety.RunShield(run("nobody", "hi")),
        safety.safety.RunShields(safety_pb2.RunShieldsRequest(shield_ids=["words", "nobody"], messages=[user("hi")])),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_shields_of_several_providers_run_together(safety: SafetyStack):
    request = safety_pb2.RunShieldsRequest(
        shield_ids=["words", "llama-guard"], messages=[user("key-77 for the bomb and a grenade")]
    )
    response = await safety.safety.RunShields(request)
    assert response.deciding_shield_id == "words"
    assert [len(result.findings) for result in response.results] == [2, 1]
    assert response.masked_messages[0].user.content.items[0].text == "[key] for the bomb and a grenade"


async def test_several_guards_are_asked_at_the_same_time(safety: SafetyStack):
    async with safety.registered("guard-2", "guard", model="caravan-guard"):
        safety.guard.delay = 1.0
        request = safety_pb2.RunShieldsRequest(shield_ids=["words", "llama-guard", "guard-2"], messages=[user("hi")])
        await safety.safety.RunShields(request)
        assert safety.guard.most_open == 2


async def test_wrong_params_name_the_parameter(safety: SafetyStack):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await safety.safety.RunShield(run("llama-guard", "hi", threshold=3, colour="red"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(caught.value)) == {"params.threshold", "params.colour"}


async def test_a_text_streams_through_a_shield(safety: SafetyStack):
    text = "Some harmless words about key-12 that go on for quite a while, hmm, and still on, "
    requests = [safety_pb2.StreamShieldRequest(shield_id="words")]
    requests += [safety_pb2.StreamShieldRequest(text=text[at : at + 5]) for at in range(0, len(text), 5)]
    requests += [safety_pb2.StreamShieldRequest(end_of_text=True)]
    responses = await stream(safety, *requests)
    assert "".join(one.released.text for one in responses) == text.replace("key-12", "[key]")
    assert {one.finding.category for one in responses if one.HasField("finding")} == {"key", "grumble"}
    assert responses[-1].complete.result.violation.violation_level == WARN


async def test_a_streamed_violation_ends_the_stream_while_the_sender_still_sends(safety: SafetyStack):
    call = safety.safety.StreamShield(timeout=20)
    await call.write(safety_pb2.StreamShieldRequest(shield_id="words", text="a grenade "))
    await call.write(safety_pb2.StreamShieldRequest(text="and then a long text " * 20))
    responses = [response async for response in call]
    assert responses[-1].complete.result.violation.violation_level == ERROR
    assert not any("grenade" in one.released.text for one in responses)
    assert await call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], ""),
        ([safety_pb2.StreamShieldRequest(text="no shield")], "shield_id"),
        ([safety_pb2.StreamShieldRequest(shield_id="words", text="no end")], "end_of_text"),
        ([safety_pb2.StreamShieldRequest(shield_id="words", text="x" * 1_048_577)], "text"),
    ],
)
async def test_a_wrong_stream_is_refused(
    safety: SafetyStack, requests: list[safety_pb2.StreamShieldRequest], field: str
):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream(safety, *requests)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    # Without a request the gateway answers itself.
    assert violations(caught.value) == ([field] if field else [])


async def test_a_stream_with_an_unknown_shield_is_not_found(safety: SafetyStack):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream(safety, safety_pb2.StreamShieldRequest(shield_id="nobody", end_of_text=True))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_unicode_is_judged_and_located_as_sent(safety: SafetyStack):
    text = "😀 a gr\u200bеn\u0301ade 你好"
    response = await safety.safety.RunShield(run("words", text))
    place = response.result.findings[0].location
    assert text[place.start : place.end] == "gr\u200bеn\u0301ade"


async def test_empty_and_huge_messages_are_judged(safety: SafetyStack):
    assert not (await safety.safety.RunShield(run("words", ""))).HasField("violation")
    response = await safety.safety.RunShield(run("words", "word " * 400_000 + "grenade"), timeout=20)
    assert response.violation.violation_level == ERROR


async def test_tool_arguments_are_judged_and_masked(safety: SafetyStack):
    call = types_pb2.ToolCall(call_id="c", tool_name="send", arguments_json='{"note": "k\\u0065y-12"}')
    message = types_pb2.Message(assistant={"tool_calls": [call]})
    response = await safety.safety.RunShield(run("words", message))
    masked = response.result.masked_messages[0].assistant.tool_calls[0]
    assert masked.arguments_json == '{"note": "[key]"}'
    assert response.result.findings[0].location.call_id == "c"


async def code_of(safety: SafetyStack) -> grpc.StatusCode:
    """How a call of the guard ends."""
    try:
        response = await safety.safety.RunShield(run("llama-guard", "hi"))
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.INTERNAL if response.HasField("violation") else grpc.StatusCode.OK


async def test_a_guard_that_goes_away_is_never_safe_and_is_found_again(safety: SafetyStack):
    safety.guard.models.remove("caravan-guard")
    try:
        code = await eventually(lambda: code_of(safety), lambda code: code is not grpc.StatusCode.OK)
        assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)
    finally:
        safety.guard.models.insert(0, "caravan-guard")
    await eventually(lambda: code_of(safety), lambda code: code is grpc.StatusCode.OK)
