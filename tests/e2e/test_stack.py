"""The whole stack, through the gateway, as its users meet it."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from caravan.options.v1 import options_pb2
from caravan.registry.v1 import entry_pb2, models_pb2, models_pb2_grpc, routes_pb2, routes_pb2_grpc
from caravan.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from tests.support.lora import make_adapter
from tests.support.processes import CHAT_MODEL
from tests.support.requests import chat, completion, content, metrics, reason, sampling, streamed, text_of
from tests.support.stack import Stack

EMBEDDING_MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.target) as channel:
        yield channel


@pytest.fixture
def inference(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.fixture
def models(channel: grpc.Channel) -> models_pb2_grpc.ModelsServiceStub:
    return models_pb2_grpc.ModelsServiceStub(channel)


def test_coming_up_ends_with_a_real_chat(stack: Stack) -> None:
    assert "A first chat with caravan-chat" in stack.said
    assert "get_weather" in stack.said


def test_the_models_that_are_served_are_listed(models: models_pb2_grpc.ModelsServiceStub) -> None:
    listed = {model.model_id: model for model in models.ListModels(models_pb2.ListModelsRequest()).data}
    assert {"caravan-chat", EMBEDDING_MODEL} <= set(listed)
    assert listed["caravan-chat"].model_type == models_pb2.MODEL_TYPE_LLM
    assert listed["caravan-chat"].metadata["context_length"] > 0
    assert listed[EMBEDDING_MODEL].metadata["embedding_dimension"] == 384


def test_a_chat_through_the_gateway_is_the_chat_of_the_service(
    stack: Stack, inference: inference_pb2_grpc.InferenceServiceStub
) -> None:
    request = chat("Hello!", sampling_params=sampling(24))
    through = inference.ChatCompletion(request)
    with grpc.insecure_channel(stack.addresses["vllm"]) as channel:
        direct = inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(request)
    assert through.completion_message == direct.completion_message


def test_a_stream_through_the_gateway_has_its_events_in_order(
    inference: inference_pb2_grpc.InferenceServiceStub,
) -> None:
    events = [
        event.WhichOneof("event")
        for event in inference.StreamChatCompletion(streamed(chat(sampling_params=sampling(8))))
    ]
    assert events[0] == "start"
    assert events[-1] == "complete"
    assert set(events[1:-1]) == {"progress"}


def test_embeddings_come_from_their_own_provider(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    request = inference_pb2.EmbeddingsRequest(
        model_id=EMBEDDING_MODEL, contents=[content("a cat"), content("a kitten")]
    )
    response = inference.Embeddings(request)
    cat, kitten = (vector.values for vector in response.embeddings)
    assert len(cat) == 384
    assert sum(a * b for a, b in zip(cat, kitten, strict=True)) > 0.5
    assert metrics(response.metrics)["prompt_tokens"] > 0


def test_each_provider_is_told_with_its_health_and_configuration(channel: grpc.Channel) -> None:
    inspect = inspect_pb2_grpc.InspectServiceStub(channel)
    providers = {
        provider.provider_id: provider for provider in inspect.ListProviders(inspect_pb2.ListProvidersRequest()).data
    }
    assert {provider.provider_type for provider in providers.values()} >= {
        "inline::vllm",
        "inline::sentence-transformers",
        "inline::llama-guard",
        "inline::pii",
        "inline::embedded",
        "inline::agents",
        "inline::post-training",
    }
    assert all(provider.health == inspect_pb2.HEALTH_STATUS_OK for provider in providers.values())
    assert all(len(provider.config.fields) > 0 for provider in providers.values())
    assert inspect.Health(inspect_pb2.HealthRequest()).status == inspect_pb2.HEALTH_STATUS_OK
    assert inspect.Version(inspect_pb2.VersionRequest()).version


def test_routes_tell_who_answers(channel: grpc.Channel) -> None:
    routes = inspect_pb2_grpc.InspectServiceStub(channel).ListRoutes(inspect_pb2.ListRoutesRequest()).data
    by_path = {route.grpc_path: route for route in routes}
    chat_route = by_path["/caravan.inference.v1.InferenceService/ChatCompletion"]
    assert (chat_route.route, chat_route.method) == ("/v1/inference/chat-completion", "POST")
    assert "inline::vllm" in chat_route.provider_types
    assert by_path["/caravan.inspect.v1.InspectService/Health"].gateway


def test_an_adapter_is_registered_at_run_time_and_unregistered(
    models: models_pb2_grpc.ModelsServiceStub, inference: inference_pb2_grpc.InferenceServiceStub, tmp_path: Path
) -> None:
    adapter = {"base_model_id": "caravan-chat", "source": str(make_adapter(tmp_path / "adapter", CHAT_MODEL, seed=5))}
    registered = models.RegisterModel(
        models_pb2.RegisterModelRequest(model_id="tuned", provider_id="vllm", adapter=adapter)
    ).model
    assert registered.entry.revision >= 1
    assert registered.entry.availability == entry_pb2.AVAILABILITY_SERVED
    tuned = inference.ChatCompletion(chat("Hello!", model_id="tuned", sampling_params=sampling(8)))
    base = inference.ChatCompletion(chat("Hello!", sampling_params=sampling(8)))
    assert text_of(tuned.completion_message) != text_of(base.completion_message)
    models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="tuned"))
    with pytest.raises(grpc.RpcError) as caught:
        inference.ChatCompletion(chat("Hello!", model_id="tuned"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_registration_that_the_provider_refuses_leaves_nothing_behind(
    models: models_pb2_grpc.ModelsServiceStub,
) -> None:
    adapter = {"base_model_id": "caravan-chat", "source": "/no/such/adapter"}
    with pytest.raises(grpc.RpcError) as caught:
        models.RegisterModel(models_pb2.RegisterModelRequest(model_id="never", provider_id="vllm", adapter=adapter))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as missing:
        models.GetModel(models_pb2.GetModelRequest(model_id="never"))
    assert missing.value.code() == grpc.StatusCode.NOT_FOUND


def test_with_several_providers_one_must_be_named(models: models_pb2_grpc.ModelsServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        models.RegisterModel(models_pb2.RegisterModelRequest(model_id="whose", provider_model_id="caravan-chat"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "vllm" in caught.value.details()
    assert "embeddings" in caught.value.details()


def test_an_unknown_model_and_a_model_of_another_type_are_told_apart(
    inference: inference_pb2_grpc.InferenceServiceStub,
) -> None:
    for model_id, code in (("nope", grpc.StatusCode.NOT_FOUND), (EMBEDDING_MODEL, grpc.StatusCode.FAILED_PRECONDITION)):
        with pytest.raises(grpc.RpcError) as caught:
            inference.ChatCompletion(chat(model_id=model_id))
        assert caught.value.code() == code
        assert reason(caught.value)
        assert model_id in caught.value.details()


def test_an_api_that_nobody_serves_yet_is_unimplemented_with_a_reason(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        telemetry_pb2_grpc.TelemetryServiceStub(channel).QueryTraces(telemetry_pb2.QueryTracesRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert reason(caught.value) == "API_NOT_SERVED"


def test_a_resource_is_resolved_to_the_replica_that_serves_it(stack: Stack, channel: grpc.Channel) -> None:
    request = routes_pb2.ResolveRequest(kind=options_pb2.RESOURCE_KIND_MODEL, resource_id="caravan-chat")
    resolved = routes_pb2_grpc.RoutesServiceStub(channel).Resolve(request)
    assert [endpoint.address for endpoint in resolved.endpoints] == [stack.addresses["vllm"]]


def test_cancelling_through_the_gateway_reaches_the_engine(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    calls = [
        inference.StreamCompletion(
            streamed(
                completion(
                    "Go on",
                    sampling_params=sampling(900),
                    response_format={"grammar": {"bnf": "root ::= [a-z]{6000}"}},
                )
            )
        )
        for _ in range(8)
    ]
    for call in calls:
        next(iter(call))
        call.cancel()
    started = time.monotonic()
    inference.Completion(completion("Hi", sampling_params=sampling(1)))
    assert time.monotonic() - started < 2


def test_a_deadline_ends_the_call_on_both_sides(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        inference.Completion(
            completion(
                "Go on",
                sampling_params=sampling(900),
                response_format={"grammar": {"bnf": "root ::= [a-z]{6000}"}},
            ),
            timeout=0.5,
        )
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
