import inspect
import threading

import grpc
import pytest
from google.rpc import error_details_pb2

import caravan
from caravan import errors
from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2
from tests.caravan.loopback import Failing, Gateway, unavailable

FAST = caravan.RetryPolicy(attempts=3, initial_delay=0.01, max_delay=0.2)


def test_chat_returns_the_text_the_reason_and_the_usage(connect, driver):
    reply = driver.run(connect().chat("m", "Hi"))
    assert (reply.text, reply.stop_reason) == ("Hello, world.", "end_of_turn")
    assert reply.usage == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_chat_sends_what_it_was_given(connect, driver, gateway):
    tool = {"tool_name": "weather", "parameters": {"city": {"param_type": "string"}}}
    driver.run(
        connect().chat(
            "m", "Hi", system="Be brief.", tools=[tool], tool_choice="weather", max_tokens=5, top_k=3, stop="x"
        )
    )
    request = gateway.calls("ChatCompletion")[0].request
    assert [message.WhichOneof("role") for message in request.messages] == ["system", "user"]
    assert request.tool_config.tool_name == "weather"
    assert request.sampling_params.max_tokens == 5
    assert request.sampling_params.top_k.top_k == 3
    assert request.sampling_params.stop == ["x"]


def test_a_tool_call_keeps_integers_that_a_double_cannot(connect, driver):
    reply = driver.run(connect().chat("m", "Hi", tools=["brave_search"]))
    assert caravan.tool_arguments(reply.tool_calls[0]) == {"big": 2**53 + 1}
    assert reply.stop_reason == "end_of_message"


def test_a_reply_goes_back_into_the_conversation(connect, driver, gateway):
    client = connect()
    reply = driver.run(client.chat("m", "Hi", tools=["brave_search"]))
    answer = {"role": "tool", "call_id": "c1", "tool_name": "brave_search", "content": "nothing found"}
    driver.run(client.chat("m", ["Hi", reply.message, answer]))
    roles = [message.WhichOneof("role") for message in gateway.calls("ChatCompletion")[1].request.messages]
    assert roles == ["user", "assistant", "tool"]


def test_a_streamed_chat_yields_the_contract_s_events(connect, driver):
    events = driver.run(connect().chat("m", "Hi", stream=True))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["start", *["progress"] * 4, "complete"]


def test_a_streamed_chat_yields_texts_and_gathers_the_reply(connect, driver):
    stream = connect().chat("m", "Hi", stream=True, tools=["weather"])
    assert driver.run(stream.texts()) == ["Hello", ", ", "world", "."]
    reply = stream.so_far
    assert reply.text == "Hello, world."
    assert caravan.tool_arguments(reply.tool_calls[0]) == {"city": "Rome"}
    assert (reply.stop_reason, reply.usage["total_tokens"]) == ("end_of_message", 7)
    assert driver.run(connect().chat("m", "Hi", stream=True).reply()).text == "Hello, world."


def test_complete_and_embed_return_plain_values(connect, driver):
    client = connect()
    assert driver.run(client.complete("m", "Once")).stop_reason == "out_of_tokens"
    assert driver.run(client.complete("m", "Once", stream=True).texts()) == ["Hello", ", ", "world", "."]
    assert driver.run(client.embed("e", ["a", "bcd"])) == [[1.0, 1.0], [1.0, 3.0]]
    assert driver.run(client.embed("e", "ab")) == [[1.0, 2.0]]


def test_the_inference_group_returns_the_contract_s_messages(connect, driver, gateway):
    inference = connect().inference
    assert driver.run(inference.completion("m", "Once")).content == "Hello, world."
    assert driver.run(inference.stream_completion("m", "Once"))[0].delta == "Hello"
    assert driver.run(inference.stream_chat_completion("m", "Hi", max_coalescing_delay=0))[0].HasField("start")
    assert gateway.calls("StreamChatCompletion")[0].request.stream_options.HasField("max_coalescing_delay")
    assert [answer.content for answer in driver.run(inference.batch_completion("m", ["a", "b"])).batch] == ["a", "b"]
    batch = driver.run(inference.batch_chat_completion("m", [["a"], ["b", "c"]], system="s", max_tokens=3))
    assert len(batch.batch) == 2
    sent = gateway.calls("BatchChatCompletion")[0].request
    assert [len(conversation.messages) for conversation in sent.messages_batch] == [2, 3]
    assert sent.sampling_params.max_tokens == 3


def test_a_list_pages_by_itself(connect, driver, gateway):
    models = driver.run(connect().models.list())
    assert [model.model_id for model in models] == [f"model-{n}" for n in range(5)]
    assert len(gateway.calls("ListModels")) == 3


def test_a_list_that_is_left_early_asks_for_no_further_page(connect, driver, gateway):
    assert len(driver.leave_after(1, connect().models.list)) == 1
    assert len(gateway.calls("ListModels")) == 1


def test_models_register_and_unregister(connect, driver, gateway):
    models = connect().models
    adapter = {"base_model_id": "model-1", "source": "/adapters/x"}
    made = driver.run(models.register("mine", provider_id="vllm", adapter=adapter, metadata={"team": "a"}))
    assert made.adapter.source == "/adapters/x"
    assert driver.run(models.get("mine")).metadata["team"] == "a"
    driver.run(models.unregister("mine", revision=1))
    assert gateway.calls("UnregisterModel")[0].request.revision == 1
    assert gateway.calls("RegisterModel")[0].request.request_id


def test_tool_groups_take_an_address_for_an_mcp_server(connect, driver):
    made = driver.run(connect().tool_groups.register("mcp::files", mcp_endpoint="https://example.com/mcp"))
    assert made.mcp_endpoint.uri == "https://example.com/mcp"


def test_what_runs_can_be_inspected(connect, driver):
    client = connect()
    assert [provider.provider_id for provider in driver.run(client.providers.list())] == ["vllm"]
    assert driver.run(client.routes.list())[0].route == "/v1/x"
    assert driver.run(client.routes.watch(known_version=4))[0].snapshot.version == 5
    assert driver.run(client.health()).snapshot_version == 3
    assert driver.run(client.version()) == "9.9.9"


def test_leaving_the_loop_cancels_the_call(connect, driver, gateway):
    gateway.endless = True
    stream = connect().chat("m", "Hi", stream=True)  # held by name: the loop alone decides
    assert len(driver.leave_after(3, lambda: stream)) == 3
    assert gateway.calls("StreamChatCompletion")[0].ended.wait(2)


def test_leaving_the_loop_over_texts_cancels_the_call(connect, driver, gateway):
    gateway.endless = True
    assert len(driver.leave_after(3, lambda: connect().chat("m", "Hi", stream=True).texts())) == 3
    assert gateway.calls("StreamChatCompletion")[0].ended.wait(2)


def test_an_error_tells_code_reason_resource_and_request(connect, driver, gateway):
    with pytest.raises(errors.NotFoundError, match="unknown model nope") as caught:
        driver.run(connect().models.get("nope"))
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert (error.resource_type, error.resource_name) == ("model", "nope")
    assert error.failure.metadata == {"model_id": "nope"}
    assert error.request_id == gateway.calls("GetModel")[0].metadata["x-request-id"]


def test_an_invalid_argument_names_the_fields(connect, driver, gateway):
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="sampling_params.top_p.top_p", description="must be at most 1")
    gateway.fail("ChatCompletion", Failing(grpc.StatusCode.INVALID_ARGUMENT, "the request is invalid", (bad,)))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        driver.run(connect().chat("m", "Hi"))
    assert caught.value.violations == (errors.Violation("sampling_params.top_p.top_p", "must be at most 1"),)
    assert str(caught.value) == "the request is invalid (sampling_params.top_p.top_p: must be at most 1)"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_an_exception_of_the_tree(connect, driver, gateway, code):
    gateway.fail("ChatCompletion", Failing(code))
    with pytest.raises(errors.RpcError) as caught:
        driver.run(connect(retry=caravan.RetryPolicy(attempts=1)).chat("m", "Hi"))
    assert type(caught.value) is not errors.RpcError
    assert caught.value.code is code


def test_an_error_in_the_middle_of_a_stream_is_raised_after_what_came_before(connect, driver, gateway):
    gateway.fail("StreamChatCompletion", Failing(grpc.StatusCode.UNAVAILABLE, after=2))
    stream = connect(retry=FAST).chat("m", "Hi", stream=True)
    with pytest.raises(errors.UnavailableError):
        driver.run(stream.texts())
    assert stream.so_far.text == "Hello, "
    assert stream.so_far.stop_reason == ""
    assert len(gateway.calls("StreamChatCompletion")) == 1  # it had produced something: no second attempt


def test_a_call_that_found_nobody_is_made_again(connect, driver, gateway):
    gateway.fail("ChatCompletion", unavailable(), times=2)
    assert driver.run(connect(retry=FAST).chat("m", "Hi")).text == "Hello, world."
    identifiers = {seen.metadata["x-request-id"] for seen in gateway.calls("ChatCompletion")}
    assert (len(gateway.calls("ChatCompletion")), len(identifiers)) == (3, 1)


def test_a_stream_that_found_nobody_is_made_again(connect, driver, gateway):
    gateway.fail("StreamChatCompletion", unavailable(0.01), times=2)
    assert driver.run(connect(retry=FAST).chat("m", "Hi", stream=True).reply()).text == "Hello, world."


def test_a_gateway_that_is_away_for_a_moment_goes_unnoticed(connect, driver, gateway):
    client = connect()
    driver.run(client.version())
    gateway.stop()
    again = threading.Timer(0.5, lambda: comeback.append(Gateway(port=gateway.port)))
    comeback: list[Gateway] = []
    again.start()
    try:
        assert driver.run(client.chat("m", "Hi")).text == "Hello, world."
        assert driver.run(client.chat("m", "Hi", stream=True).reply()).text == "Hello, world."
    finally:
        again.join()
        comeback[0].stop()


def test_attempts_are_bounded(connect, driver, gateway):
    gateway.fail("ChatCompletion", unavailable(), times=9)
    with pytest.raises(errors.UnavailableError, match="no replica serves it"):
        driver.run(connect(retry=FAST).chat("m", "Hi"))
    assert len(gateway.calls("ChatCompletion")) == 3


def test_a_wait_that_is_longer_than_allowed_is_left_to_the_caller(connect, driver, gateway):
    gateway.fail("ChatCompletion", unavailable(30.0))
    with pytest.raises(errors.UnavailableError) as caught:
        driver.run(connect(retry=FAST).chat("m", "Hi"))
    assert caught.value.retry_after == 30.0
    assert len(gateway.calls("ChatCompletion")) == 1


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED]
)
def test_other_failures_are_final(connect, driver, gateway, code):
    gateway.fail("ChatCompletion", Failing(code))
    with pytest.raises(errors.RpcError):
        driver.run(connect(retry=FAST).chat("m", "Hi"))
    assert len(gateway.calls("ChatCompletion")) == 1


def test_a_timeout_covers_all_attempts_and_is_a_timeout_error(connect, driver, gateway):
    gateway.endless = True
    client = connect(timeout=0.3)
    with pytest.raises(TimeoutError) as caught:
        driver.run(client.chat("m", "Hi", stream=True).reply())
    assert isinstance(caught.value, errors.DeadlineExceededError)
    seen = gateway.calls("StreamChatCompletion")[0]
    assert seen.time_remaining is not None
    assert seen.time_remaining < 0.31


def test_options_apply_to_some_calls_and_share_the_connection(connect, driver, gateway):
    client = connect(metadata={"Authorization": "Bearer t"})
    other = client.with_options(request_id="mine", provider_id="vllm", timeout=float("inf"))
    driver.run(other.version())
    driver.run(client.version())
    first, second = gateway.calls("Version")
    assert first.metadata["x-request-id"] == "mine"
    assert first.metadata["caravan-provider-id"] == "vllm"
    assert first.metadata["authorization"] == second.metadata["authorization"] == "Bearer t"
    assert (first.time_remaining or 0) > 10**6  # no deadline: gRPC says a very long time
    assert "caravan-provider-id" not in second.metadata


def test_the_trace_goes_along(connect, driver, gateway):
    from opentelemetry import context, trace

    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))
    token = context.attach(trace.set_span_in_context(span))
    try:
        driver.run(connect().version())
    finally:
        context.detach(token)
    assert gateway.calls("Version")[0].metadata["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_nobody_there_says_whom_it_tried_to_reach(driver):
    client = driver.client("127.0.0.1:1", retry=caravan.RetryPolicy(attempts=1))
    with pytest.raises(errors.UnavailableError, match=r"cannot reach 127\.0\.0\.1:1: Connection refused"):
        driver.run(client.version())


def test_an_address_with_a_scheme_is_refused_before_anything_is_dialled(driver):
    with pytest.raises(errors.InvalidInputError, match="write host:port"):
        driver.client("http://localhost:8321")


def test_the_target_comes_from_the_environment(monkeypatch, driver, gateway):
    monkeypatch.setenv("CARAVAN_TARGET", gateway.target)
    assert driver.run(driver.client(None).version()) == "9.9.9"


def test_a_request_that_cannot_be_built_is_not_sent(connect, driver, gateway):
    with pytest.raises(errors.InvalidInputError, match=r"messages\[1\]: role is missing"):
        driver.run(connect().chat("m", ["Hi", {"content": "x"}]))
    with pytest.raises(errors.InvalidInputError, match="max_tokns: there is no such parameter"):
        driver.run(connect().chat("m", "Hi", max_tokns=3))
    assert gateway.seen == []


def test_any_request_of_the_contract_can_be_called(connect, driver):
    client = connect()
    page = driver.run(client.call(models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse))
    assert len(page.data) == 2
    request = inference_pb2.StreamCompletionRequest(model_id="m")
    assert driver.run(client.call_stream(request, inference_pb2.StreamCompletionResponse))[0].delta == "Hello"
    with pytest.raises(errors.InvalidInputError, match="no request of an RPC"):
        driver.run(client.call(models_pb2.Model(), models_pb2.Model))


def test_generated_stubs_are_reachable(connect, driver):
    client = connect()

    async def ask():
        stub = client.stub(inference_pb2_grpc.InferenceServiceStub)
        return await stub.Completion(inference_pb2.CompletionRequest(model_id="m"))

    if driver.is_async:
        assert driver.run(ask()).content == "Hello, world."
    else:
        stub = client.stub(inference_pb2_grpc.InferenceServiceStub)
        assert stub.Completion(inference_pb2.CompletionRequest(model_id="m")).content == "Hello, world."


def test_the_sync_client_may_be_used_by_many_threads(gateway):
    answers = []
    with caravan.Client(gateway.target) as client:
        threads = [threading.Thread(target=lambda: answers.append(client.chat("m", "Hi").text)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == ["Hello, world."] * 16


def test_both_clients_offer_the_same():
    def surface(client: type) -> dict[str, list[str]]:
        offered = {}
        for name, member in inspect.getmembers(client):
            if not name.startswith("_") and inspect.isfunction(member):
                offered[name] = list(inspect.signature(member).parameters)
        return offered

    assert surface(caravan.Client) == surface(caravan.AsyncClient)
    with caravan.Client("localhost:1") as sync:
        other = caravan.AsyncClient("localhost:1")
        for group in ("inference", "models", "shields", "memory_banks", "tool_groups", "providers", "routes"):
            assert surface(type(getattr(sync, group))) == surface(type(getattr(other, group)))


def test_the_sync_client_is_made_from_the_async_one():
    from tools import sync_client

    assert sync_client.stale() == [], "run tools/sync_client.py"
