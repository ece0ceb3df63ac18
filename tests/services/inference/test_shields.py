"""Shields that always guard a model: a real inference service, gateway and safety services."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2
from tests.support.eventually import eventually
from tests.support.requests import content, metrics, reason, text_of, user
from tests.support.requests import detail as detail_of
from tests.support.safety_stack import TOKEN, SafetyStack, safety_stack

FAILED, UNAVAILABLE = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE
SEND = types_pb2.ToolDefinition(
    tool_name="send", parameters={"note": types_pb2.ToolParamDefinition(param_type="string")}
)


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[SafetyStack]:
    async with safety_stack(shield_poll_seconds=0.05) as stack:
        yield stack


@pytest.fixture
def safety(running: SafetyStack) -> SafetyStack:
    running.guard.works()
    return running


def say(text: str, **fields: Any) -> inference_pb2.ChatCompletionRequest:
    return inference_pb2.ChatCompletionRequest(model_id="parrot", messages=[user(text)], **fields)


def streamed(request: inference_pb2.ChatCompletionRequest) -> inference_pb2.StreamChatCompletionRequest:
    return inference_pb2.StreamChatCompletionRequest.FromString(request.SerializeToString())


async def code_of(call: Any) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def outcome(call: Any) -> tuple[str, Mapping[str, str]]:
    """Reason and metadata of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == FAILED
    return reason(caught.value), dict(detail_of(caught.value, error_details_pb2.ErrorInfo).metadata)


async def read(stream: Any) -> list[inference_pb2.StreamChatCompletionResponse]:
    return [event async for event in stream]


def written(events: list[inference_pb2.StreamChatCompletionResponse]) -> str:
    return "".join(event.progress.delta.text for event in events)


@asynccontextmanager
async def guarded(
    safety: SafetyStack, shield_id: str, provider_id: str, *models: str, model: str = "", **params: Any
) -> AsyncIterator[None]:
    """A shield that guards models, in force."""

    async def is_followed() -> bool:
        # The process tells what is guarded when that changes.
        told = [line for line in safety.processes["remote"].log if "shields_changed" in line]
        return bool(told) and f'"{shield_id}"' in told[-1]

    async with safety.registered(shield_id, provider_id, *models, model=model, **params):
        await eventually(is_followed, bool)
        yield
    await eventually(is_followed, lambda followed: not followed)


@pytest.fixture
async def keyless(safety: SafetyStack) -> AsyncIterator[SafetyStack]:
    """The parrot is always guarded by rules."""
    deny = [
        {"name": "weapon", "pattern": r"\bgrenades?\b"},
        {"name": "key", "pattern": r"\bkey-[0-9]{1,6}\b", "level": "info", "replacement": "[key]"},
        {"name": "grumble", "pattern": r"\bhmm\b", "level": "warn"},
    ]
    async with guarded(safety, "always", "rules", "parrot", deny=deny, user_message="No {category} here."):
        yield safety


async def test_input_that_violates_a_shield_never_reaches_the_model(keyless: SafetyStack):
    for call in (
        keyless.inference.ChatCompletion(say("a grenade")),
        read(keyless.inference.StreamChatCompletion(streamed(say("a grenade")))),
        keyless.inference.Completion(inference_pb2.CompletionRequest(model_id="parrot", content=content("grenade"))),
        read(
            keyless.inference.StreamCompletion(
                inference_pb2.StreamCompletionRequest(model_id="parrot", content=content("grenade"))
            )
        ),
        keyless.inference.BatchChatCompletion(
            inference_pb2.BatchChatCompletionRequest(
                model_id="parrot", messages_batch=[{"messages": [user("fine")]}, {"messages": [user("grenade")]}]
            )
        ),
    ):
        keyless.guard.told.clear()
        why, facts = await outcome(call)
        assert why == "SHIELD_VIOLATION"
        assert facts == {"shield_id": "always", "category": "weapon", "direction": "input"}
        assert not any("grenade" in str(told) for told in keyless.guard.told)


async def test_the_error_tells_what_the_shield_tells_the_user(keyless: SafetyStack):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keyless.inference.ChatCompletion(say("a grenade"))
    assert caught.value.details() == "No weapon here."


async def test_whoever_calls_the_service_itself_is_guarded_too(keyless: SafetyStack):
    async with grpc.aio.insecure_channel(keyless.inference_address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        why, _ = await outcome(stub.ChatCompletion(say("a grenade")))
    assert why == "SHIELD_VIOLATION"


async def test_masking_shields_mask_what_goes_in_and_what_comes_out(keyless: SafetyStack):
    response = await keyless.inference.ChatCompletion(say("say: the key-123 is here"))
    assert text_of(response.completion_message) == "the [key] is here"
    assert "key-123" not in str(keyless.guard.told[-1])


async def test_a_warning_goes_on_and_is_shown(keyless: SafetyStack):
    response = await keyless.inference.ChatCompletion(say("say: well"))
    assert "shield_warnings" not in metrics(response.metrics)
    response = await keyless.inference.ChatCompletion(say("hmm, say: well"))
    assert metrics(response.metrics)["shield_warnings"] == 1
    events = await read(keyless.inference.StreamChatCompletion(streamed(say("hmm, say: hmm"))))
    assert metrics(events[-1].complete.metrics)["shield_warnings"] == 2


async def test_a_streamed_answer_keeps_its_form(keyless: SafetyStack):
    text = "It is a long and harmless story about nothing much, and it goes on for quite a while."
    events = await read(keyless.inference.StreamChatCompletion(streamed(say(f"say: {text}"))))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["start", *["progress"] * (len(kinds) - 2), "complete"]
    assert len(kinds) > 3
    assert written(events) == text
    assert events[-1].complete.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert metrics(events[-1].complete.metrics)["total_tokens"] == 5


async def test_unknown_models_and_embeddings_are_as_without_shields(keyless: SafetyStack):
    request = say("hi")
    request.model_id = "nobody"
    assert await code_of(keyless.inference.ChatCompletion(request)) == grpc.StatusCode.NOT_FOUND
    async with grpc.aio.insecure_channel(keyless.inference_address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        assert await code_of(stub.ChatCompletion(request)) == grpc.StatusCode.NOT_FOUND


@pytest.fixture
async def output_only(safety: SafetyStack) -> AsyncIterator[SafetyStack]:
    """The model `careful` is the parrot, guarded in what it says."""
    deny = [
        {"name": "weapon", "pattern": r"\bgrenades?\b"},
        {"name": "key", "pattern": r"\bkey-[0-9]{1,6}\b", "level": "info", "replacement": "[key]"},
    ]
    async with guarded(safety, "spoken", "rules", "parrot", deny=deny, roles=["assistant"]):
        yield safety


async def test_an_unsafe_answer_is_withheld(output_only: SafetyStack):
    why, facts = await outcome(output_only.inference.ChatCompletion(say("say: take the grenade now")))
    assert (why, facts["direction"], facts["shield_id"]) == ("SHIELD_VIOLATION", "output", "spoken")


async def test_an_unsafe_streamed_answer_is_never_released_and_ends_at_once(output_only: SafetyStack):
    text = "Here is some harmless text to begin with, and then a grenade, " + "and more and more of it " * 200
    call = output_only.inference.StreamChatCompletion(streamed(say(f"say: {text}")))
    events: list[inference_pb2.StreamChatCompletionResponse] = []

    async def receive() -> None:
        async for event in call:
            events.append(event)  # noqa: PERF401 - what came before the error counts

    why, _ = await outcome(receive())
    assert why == "SHIELD_VIOLATION"
    seen = written(events)
    assert text.startswith(seen)
    assert "gren" not in seen
    assert output_only.guard.said < len(text) / 2


async def test_a_streamed_answer_is_masked(output_only: SafetyStack):
    text = "Here is some harmless text with key-123 in it, and then some more of it with key-7"
    events = await read(output_only.inference.StreamChatCompletion(streamed(say(f"say: {text}"))))
    assert written(events) == text.replace("key-123", "[key]").replace("key-7", "[key]")


async def test_tool_calls_are_judged_and_masked(output_only: SafetyStack):
    request = say("call: use key-55 please", tools=[SEND])
    response = await output_only.inference.ChatCompletion(request)
    (call,) = response.completion_message.tool_calls
    assert call.arguments_json == '{"note": "use [key] please"}'
    events = await read(output_only.inference.StreamChatCompletion(streamed(request)))
    assert "key-55" not in str(events)
    calls = [event.progress.delta.tool_call.tool_call for event in events if event.HasField("progress")]
    assert [call.arguments_json for call in calls if call.tool_name] == ['{"note": "use [key] please"}']
    unsafe = say("call: a grenade", tools=[SEND])
    why, facts = await outcome(output_only.inference.ChatCompletion(unsafe))
    assert (why, facts["direction"]) == ("SHIELD_VIOLATION", "output")
    why, facts = await outcome(read(output_only.inference.StreamChatCompletion(streamed(unsafe))))
    assert (why, facts["direction"]) == ("SHIELD_VIOLATION", "output")


async def test_a_caller_that_goes_away_ends_generation(output_only: SafetyStack):
    call = output_only.inference.StreamChatCompletion(streamed(say("say: " + "on and on " * 2000)))
    async for event in call:
        if event.progress.delta.text:
            break
    call.cancel()
    await asyncio.sleep(0.3)
    said = output_only.guard.said
    await asyncio.sleep(0.3)
    assert output_only.guard.said == said < 8000


async def test_every_name_of_a_guarded_model_is_guarded(safety: SafetyStack):
    deny = [{"name": "weapon", "pattern": "grenade"}]
    request = models_pb2.RegisterModelRequest(model_id="nickname", provider_id="remote", provider_model_id="parrot")
    await safety.models.RegisterModel(request, timeout=20)
    try:
        async with guarded(safety, "nick", "rules", "nickname", deny=deny):
            for model_id in ("nickname", "parrot"):
                asked = say("a grenade")
                asked.model_id = model_id
                why, _ = await outcome(safety.inference.ChatCompletion(asked))
                assert why == "SHIELD_VIOLATION"
            assert await code_of(safety.inference.ChatCompletion(say("fine"))) == grpc.StatusCode.OK
    finally:
        await safety.models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="nickname"), timeout=20)


async def test_a_guard_on_every_model_judges_itself_not(safety: SafetyStack):
    async with guarded(safety, "everywhere", "guard", "*", model="caravan-guard"):
        why, facts = await outcome(safety.inference.ChatCompletion(say("a bomb")))
        assert (why, facts["category"]) == ("SHIELD_VIOLATION", "S9")
        response = await safety.inference.ChatCompletion(say("say: hello"))
        assert text_of(response.completion_message) == "hello"
        why, facts = await outcome(safety.inference.ChatCompletion(say("be nice, say: the b" + "omb")))
        assert facts["direction"] == "input"


async def test_only_the_right_token_exempts(safety: SafetyStack):
    deny = [{"name": "weapon", "pattern": "grenade"}]
    async with guarded(safety, "tokens", "rules", "*", deny=deny):
        for token, exempt in ((TOKEN, True), (TOKEN + "x", False), ("", False), ("é", False)):
            metadata = [("caravan-shield-token", token)] if token.isascii() else [("caravan-shield-token", "%C3%A9")]
            code = await code_of(safety.inference.ChatCompletion(say("a grenade"), metadata=metadata))
            assert code == (grpc.StatusCode.OK if exempt else FAILED)


async def test_a_guard_that_is_guarded_is_told_so(safety: SafetyStack):
    deny = [{"name": "weapon", "pattern": "grenade"}]
    async with guarded(safety, "loop", "rules", "parrot", deny=deny):
        metadata = [("caravan-shield-hops", "1")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await safety.inference.ChatCompletion(say("hello"), metadata=metadata)
        assert caught.value.code() == FAILED
        assert reason(caught.value) == "SHIELD_RECURSION"
        assert "shield_token" in (caught.value.details() or "")


@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_shield_that_cannot_judge_fails_as_it_was_registered(safety: SafetyStack, fail_open: bool):
    async with guarded(safety, "broken", "guard", "parrot", model="caravan-guard", fail_open=fail_open):
        safety.guard.mode = "garbage"
        code = await code_of(safety.inference.ChatCompletion(say("say: hello")))
        assert code == (grpc.StatusCode.OK if fail_open else UNAVAILABLE)
        code = await code_of(read(safety.inference.StreamChatCompletion(streamed(say("say: hello")))))
        assert code == (grpc.StatusCode.OK if fail_open else UNAVAILABLE)


@pytest.mark.slow
async def test_guards_with_another_token_are_stopped_instead_of_asking_each_other_for_ever():
    async with safety_stack(guards_token="another", shield_poll_seconds=0.05) as safety:
        deny = [{"name": "weapon", "pattern": "grenade"}]
        # Through another provider's shield, which runs first.
        async with (
            guarded(safety, "a-rule", "rules", "*", deny=deny),
            guarded(safety, "everywhere", "guard", "*", model="caravan-guard"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await safety.inference.ChatCompletion(say("hello"), timeout=20)
            assert caught.value.code() == FAILED
            assert reason(caught.value) == "SHIELD_RECURSION"
            assert "shield_token" in (caught.value.details() or "")
            assert safety.guard.asked == safety.guard.asked[:1]


@pytest.mark.faults
async def test_the_shields_hold_while_the_gateway_or_the_safety_service_is_away():
    async with safety_stack(shield_poll_seconds=0.05) as safety:
        deny = [{"name": "weapon", "pattern": "grenade"}]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(guarded(safety, "always", "rules", "parrot", deny=deny))
            # What is left of the stack cannot unregister it.
            stack.pop_all()
        async with grpc.aio.insecure_channel(safety.inference_address) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            for name in ("rules", "gateway"):
                safety.processes[name].send(signal.SIGKILL)
                safety.processes[name].wait()
                for text in ("a grenade", "fine"):
                    assert await code_of(stub.ChatCompletion(say(text), timeout=20)) == UNAVAILABLE
        assert safety.guard.told == []
