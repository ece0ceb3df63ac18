"""The data path: a real gRPC client, the gateway, real gRPC replicas."""

import asyncio
import gzip
import os
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from tests.gateway.conftest import eventually
from tests.gateway.replica import INFERENCE

CHAT = f"/{INFERENCE}/ChatCompletion"
STREAM = f"/{INFERENCE}/StreamChatCompletion"


def chat(text="hello", model_id="echo-1"):
    request = inference_pb2.ChatCompletionRequest(model_id=model_id)
    request.messages.add().user.content.items.add().text = text
    return request


def stream(text="3 1", model_id="echo-1"):
    return inference_pb2.StreamChatCompletionRequest.FromString(chat(text, model_id).SerializeToString())


def details_of(error):
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    found = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])()
        packed.Unpack(detail)
        found[type(detail).__name__] = detail
    return found


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.fixture
async def gateway(make_gateway, replica):
    return await make_gateway({"echo": [replica]})


@pytest.fixture
async def stub(gateway):
    return inference_pb2_grpc.InferenceServiceStub(gateway.channel())


async def test_a_unary_call_reaches_the_replica_that_serves_the_model(stub, replica):
    response = await stub.ChatCompletion(chat())
    assert response.completion_message.content.items[0].text == f"{replica.address} echo-1: hello"


async def test_a_streamed_answer_comes_whole_and_in_order(stub):
    texts = [message.progress.delta.text async for message in stub.StreamChatCompletion(stream("500 3"))]
    assert texts == [f"{number}xxx" for number in range(500)]


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
async def test_bytes_pass_unchanged_in_all_four_kinds_of_call(gateway, kind):
    # An unknown field (1000), and fields out of order, survive only if nobody parses and serializes.
    body = b"\xc2\x3e\x05hello" + os.urandom(0) + chat("x" * 70_000).SerializeToString() + b"\xc2\x3e\x01!"
    call = getattr(gateway.channel(), kind)(CHAT)
    metadata = (("raw", kind),)

    async def requests():
        for _ in range(3):
            yield body

    if kind == "unary_unary":
        assert await call(body, metadata=metadata) == body
    elif kind == "unary_stream":
        assert [one async for one in call(body, metadata=metadata)] == [body] * 3
    elif kind == "stream_unary":
        assert await call(requests(), metadata=metadata) == body * 3
    else:
        assert [one async for one in call(requests(), metadata=metadata)] == [body] * 3


async def test_both_sides_of_a_bidirectional_stream_alternate(gateway):
    call = gateway.channel().stream_stream(CHAT)(metadata=(("raw", "stream_stream"),))
    body = chat().SerializeToString()
    for _ in range(5):
        await call.write(body)
        assert await call.read() == body
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_metadata_pass_both_ways(stub, replica):
    sent = (
        ("x-word", "one"),
        ("x-blob-bin", b"\x00\xff\xfe"),
        ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"),
    )
    call = stub.ChatCompletion(chat("metadata"), metadata=sent)
    await call
    assert {key: replica.last_metadata[key] for key, _ in sent} == dict(sent)
    initial, trailing = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
    assert (initial["initial"], initial["initial-bin"]) == ("one", b"\x00\xff")
    assert (trailing["trailing"], trailing["trailing-bin"]) == ("two", b"\x01\xfe")


async def test_an_error_passes_with_code_message_and_details(stub):
    error = await refusal(stub.ChatCompletion(chat("details")))
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full – voll")
    assert details_of(error)["ErrorInfo"].reason == "QUEUE_FULL"


async def test_the_deadline_reaches_the_replica(stub, replica):
    await stub.ChatCompletion(chat(), timeout=7)
    assert 5 < replica.last_time_remaining <= 7


async def test_an_expired_deadline_ends_the_call_at_the_replica(stub, replica):
    error = await refusal(stub.ChatCompletion(chat("sleep"), timeout=0.2))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(replica.cancelled.wait(), 2)


@pytest.mark.parametrize("method", ["ChatCompletion", "StreamChatCompletion"])
async def test_a_cancelled_call_is_cancelled_at_the_replica_at_once(stub, replica, method):
    call = getattr(stub, method)(chat("sleep") if method == "ChatCompletion" else stream("sleep"))
    await eventually(lambda: replica.calls)
    call.cancel()
    started = time.monotonic()
    await asyncio.wait_for(replica.cancelled.wait(), 2)
    # The promise is 100 ms; a busy machine gets some more before this fails.
    assert time.monotonic() - started < 1


async def test_a_client_that_goes_away_frees_the_replica(gateway, replica):
    channel = gateway.channel()
    call = inference_pb2_grpc.InferenceServiceStub(channel).StreamChatCompletion(stream("hang"))
    await call.read()
    await channel.close()
    await asyncio.wait_for(replica.cancelled.wait(), 2)
    await eventually(lambda: not gateway.worker._relay.calls)


async def test_a_message_of_many_frames_passes(stub):
    response = await stub.ChatCompletion(chat("y" * (20 << 20)))
    assert response.completion_message.content.items[0].text.endswith("y" * 64)


async def test_a_large_answer_passes(stub):
    texts = [message.progress.delta.text async for message in stub.StreamChatCompletion(stream(f"3 {5 << 20}"))]
    assert [len(text) for text in texts] == [(5 << 20) + 1] * 3


async def test_a_message_above_the_limit_is_refused(make_gateway, replica):
    gateway = await make_gateway({"echo": [replica]}, max_receive_bytes=100_000)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    error = await refusal(stub.ChatCompletion(chat("z" * 200_000)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error)["ErrorInfo"].reason == "MESSAGE_TOO_LARGE"
    assert error.details().endswith(
        "the limit is 100000: send less at once, or in parts by a client-streamed RPC where there is one"
    )
    call = stub.StreamChatCompletion(stream("2 200000"))
    error = await refusal(call.read())
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details().endswith("the limit is 100000: ask for less at once")
    await stub.ChatCompletion(chat())


async def test_a_message_above_the_replicas_own_limit_is_refused_with_details(make_gateway, make_replica):
    small = await make_replica(options=[("grpc.max_receive_message_length", 100_000)])
    stub = inference_pb2_grpc.InferenceServiceStub((await make_gateway({"echo": [small]})).channel())
    error = await refusal(stub.ChatCompletion(chat("z" * 200_000)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error)["ErrorInfo"].reason == "MESSAGE_TOO_LARGE"
    assert "the limit is 100000: send less at once" in error.details()
    call = stub.StreamChatCompletion(stream("z" * 200_000))
    assert (await refusal(call.read())).details() == error.details()


async def test_calls_beyond_the_limit_are_refused_but_the_gateways_own_are_not(make_gateway, replica):
    gateway = await make_gateway({"echo": [replica]}, max_concurrent_rpcs=2)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    # Answered by the gateway itself, for as long as somebody listens: it counts neither.
    watch = health_pb2_grpc.HealthStub(gateway.channel()).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    calls = [stub.StreamChatCompletion(stream("hang")) for _ in range(2)]
    await asyncio.gather(*(call.read() for call in calls))
    error = await refusal(stub.ChatCompletion(chat()))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error)["RetryInfo"].retry_delay.seconds == 1
    await health_pb2_grpc.HealthStub(gateway.channel()).Check(health_pb2.HealthCheckRequest())
    for call in (*calls, watch):
        call.cancel()
    await eventually(lambda: not gateway.worker._relay.calls)
    await stub.ChatCompletion(chat())


async def test_a_slow_reader_slows_only_itself_and_holds_back_the_replica(gateway, replica):
    slow = inference_pb2_grpc.InferenceServiceStub(gateway.channel()).StreamChatCompletion(stream("3000 10000"))
    await slow.read()
    fast_stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    sent = -1
    while sent != replica.sent:
        sent = replica.sent
        await asyncio.sleep(0.3)
    assert replica.sent < 2500, "nothing holds the replica back"
    texts = [message async for message in fast_stub.StreamChatCompletion(stream("200 100"))]
    assert len(texts) == 200
    assert await slow.read() is not grpc.aio.EOF
    slow.cancel()


async def test_slow_and_fast_streams_share_a_connection(gateway):
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    slow = [stub.StreamChatCompletion(stream("3000 10000")) for _ in range(3)]
    for call in slow:
        await call.read()
    texts = [message async for message in stub.StreamChatCompletion(stream("500 100"))]
    assert len(texts) == 500
    for call in slow:
        call.cancel()


async def test_compressed_requests_are_routed(gateway, replica):
    channel = grpc.aio.insecure_channel(gateway.address, compression=grpc.Compression.Gzip)
    async with channel:
        response = await inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat("a" * 5000))
    assert response.completion_message.content.items[0].text.startswith(replica.address)


async def test_a_request_that_inflates_beyond_the_limit_is_refused(make_gateway, replica):
    gateway = await make_gateway({"echo": [replica]}, max_receive_bytes=1 << 20)
    channel = grpc.aio.insecure_channel(gateway.address, compression=grpc.Compression.Gzip)
    async with channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        error = await refusal(stub.ChatCompletion(chat("a" * (20 << 20))))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(gzip.compress(b"a" * (20 << 20))) < 1 << 20


async def test_300_streams_stay_open_at_once(gateway, replica):
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    calls = [stub.StreamChatCompletion(stream("hang")) for _ in range(300)]
    await asyncio.gather(*(call.read() for call in calls))
    assert replica.running == 300
    for call in calls:
        call.cancel()
    await eventually(lambda: not replica.running)
    await eventually(lambda: len(gateway.worker._relay.calls) == 0)
    (connected,) = (one for address, one in gateway.worker._fleet.replicas.items() if not address.startswith("unix:"))
    assert connected.outstanding == 0


# What is refused, and how.


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x7fx", b"\x00"])
async def test_malformed_bytes_are_an_invalid_argument(gateway, body):
    error = await refusal(gateway.channel().unary_unary(CHAT)(body))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)["ErrorInfo"].reason == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("model_id", ["", None])
async def test_a_missing_key_is_an_invalid_argument_that_names_the_field(stub, model_id):
    error = await refusal(stub.ChatCompletion(chat(model_id=model_id)))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details_of(error)["BadRequest"].field_violations
    assert violation.field == "model_id"


async def test_a_key_that_is_no_text_is_an_invalid_argument(gateway):
    error = await refusal(gateway.channel().unary_unary(CHAT)(b"\x0a\x01\xff"))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_model_is_not_found_and_named(stub):
    error = await refusal(stub.ChatCompletion(chat(model_id="nobody")))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "ListModels" in error.details()
    resource = details_of(error)["ResourceInfo"]
    assert (resource.resource_type, resource.resource_name) == ("model", "nobody")


async def test_an_unknown_method_is_unimplemented(gateway):
    error = await refusal(gateway.channel().unary_unary("/caravan.inference.v1.InferenceService/Nope")(b""))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(error)["ErrorInfo"].reason == "METHOD_UNKNOWN"


async def test_the_providers_own_service_is_not_reachable(gateway):
    error = await refusal(gateway.channel().unary_unary("/caravan.providers.v1.ProviderService/DescribeProvider")(b""))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(error)["ErrorInfo"].reason == "METHOD_NOT_ROUTED"


async def test_an_api_that_nobody_serves_is_unimplemented_and_says_what_to_configure(make_gateway, make_replica):
    other = await make_replica("other", models=(), services=("caravan.memory.v1.MemoryService",))
    gateway = await make_gateway({"other": [other]})
    error = await refusal(inference_pb2_grpc.InferenceServiceStub(gateway.channel()).ChatCompletion(chat()))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(error)["ErrorInfo"].reason == "API_NOT_SERVED"
    assert "providers" in error.details()


async def test_while_a_provider_has_not_answered_its_api_is_unavailable_not_unimplemented(make_gateway):
    gateway = await make_gateway({"echo": ["127.0.0.1:1"]})
    error = await refusal(inference_pb2_grpc.InferenceServiceStub(gateway.channel()).ChatCompletion(chat()))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert details_of(error)["RetryInfo"].retry_delay.seconds == 1


async def test_a_known_model_that_nobody_serves_now_is_unavailable_with_retry_info(stub, replica):
    await replica.stop()
    error = await refusal(stub.ChatCompletion(chat()))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert details_of(error)["RetryInfo"].retry_delay.seconds == 1


async def test_metadata_that_are_too_large_are_refused_and_the_connection_lives(stub):
    await stub.ChatCompletion(chat())
    error = await refusal(stub.ChatCompletion(chat(), metadata=tuple((f"x-{n}", "v" * 4000) for n in range(20))))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await stub.ChatCompletion(chat())


# Several replicas.


@pytest.fixture
async def two(make_gateway, make_replica):
    replicas = [await make_replica(), await make_replica()]
    gateway = await make_gateway({"echo": replicas})
    return gateway, replicas


async def answered_by(stub, text="hello"):
    return (await stub.ChatCompletion(chat(text))).completion_message.content.items[0].text.split()[0]


async def test_calls_with_the_same_prompt_go_to_the_same_replica(two):
    gateway, _ = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    assert len({await answered_by(stub, "the same prompt") for _ in range(20)}) == 1
    assert len({await answered_by(stub, f"prompt {number}") for number in range(30)}) == 2


async def test_a_replica_that_reports_not_serving_gets_no_calls_until_it_reports_serving(two):
    gateway, replicas = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    fleet = gateway.worker._fleet.replicas
    await replicas[0].set_serving(False)
    await eventually(lambda: not fleet[replicas[0].address].usable)
    assert {await answered_by(stub, f"{number}") for number in range(20)} == {replicas[1].address}
    await replicas[0].set_serving(True)
    await eventually(lambda: fleet[replicas[0].address].usable)
    assert len({await answered_by(stub, f"{number}") for number in range(30)}) == 2


async def test_a_call_that_one_replica_cannot_take_is_tried_on_another(two):
    gateway, replicas = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    error = await refusal(stub.ChatCompletion(chat("unavailable")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "not now")
    assert sorted(len(replica.calls) for replica in replicas) == [1, 1]


async def test_other_errors_are_not_retried(two):
    gateway, replicas = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await refusal(stub.ChatCompletion(chat("details")))
    assert sum(len(replica.calls) for replica in replicas) == 1


async def test_a_call_in_flight_that_has_produced_nothing_survives_the_death_of_its_replica(two):
    gateway, replicas = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    call = stub.ChatCompletion(chat("sleep"), timeout=20)
    first = await eventually(lambda: next((one for one in replicas if one.calls), None))
    (other,) = (one for one in replicas if one is not first)
    other._sleep = lambda: asyncio.sleep(0)
    await first.stop(None)
    assert (await call).completion_message.content.items[0].text.startswith(other.address)


async def test_a_stream_that_has_begun_ends_with_unavailable_when_its_replica_dies(two):
    gateway, replicas = two
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    call = stub.StreamChatCompletion(stream("hang"))
    await call.read()
    first = next(one for one in replicas if one.calls)
    await call.read()
    await call.read()
    await first.stop(None)
    error = await refusal(call.read())
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert sum(len(replica.calls) for replica in replicas) == 1


async def test_a_replica_that_restarts_is_back_within_two_seconds(two, make_replica):
    gateway, replicas = two
    fleet = gateway.worker._fleet.replicas
    address = replicas[0].address
    await replicas[0].stop()
    await eventually(lambda: not fleet[address].usable)
    await asyncio.sleep(1.5)
    await make_replica(listen=address)
    started = time.monotonic()
    await eventually(lambda: fleet[address].usable)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await eventually(lambda: _answers(stub, address))
    assert time.monotonic() - started < 4


async def _answers(stub, address):
    return address in {await answered_by(stub, os.urandom(4).hex()) for _ in range(8)}


# Health, reflection.


async def test_health_follows_the_replicas(gateway, replica):
    stub = health_pb2_grpc.HealthStub(gateway.channel())
    request = health_pb2.HealthCheckRequest
    serving = health_pb2.HealthCheckResponse.SERVING
    assert (await stub.Check(request())).status == serving
    assert (await stub.Check(request(service=INFERENCE))).status == serving
    assert (await stub.Check(request(service="caravan.registry.v1.ModelsService"))).status == serving
    watch = stub.Watch(request(service=INFERENCE))
    assert (await watch.read()).status == serving
    await replica.set_serving(False)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert (await stub.Check(request())).status == serving
    watch.cancel()
    error = await refusal(stub.Check(request(service="nobody")))
    assert error.code() == grpc.StatusCode.NOT_FOUND


async def test_reflection_describes_every_service_of_the_contract(gateway):
    from google.protobuf import descriptor_pb2
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    from gateway import contract

    stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel())
    services = contract.services_of(contract.load())
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    requests += [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in services]
    call = stub.ServerReflectionInfo(iter(requests))
    listed = (await call.read()).list_services_response.service
    assert set(services) <= {service.name for service in listed}
    for name in services:
        (file,) = (await call.read()).file_descriptor_response.file_descriptor_proto[:1]
        described = descriptor_pb2.FileDescriptorProto.FromString(file)
        assert name.rpartition(".")[2] in [service.name for service in described.service]


# Requests that are streams.


async def test_a_client_stream_larger_than_all_windows_passes(gateway):
    body = chat("x" * 100_000).SerializeToString()

    async def requests():
        for _ in range(30):
            yield body

    assert len(await gateway.channel().stream_unary(CHAT)(requests(), metadata=(("raw", "stream_unary"),))) == 30 * len(
        body
    )


async def test_a_request_stream_without_a_message_is_an_invalid_argument(gateway):
    async def requests():
        return
        yield

    error = await refusal(gateway.channel().stream_unary(CHAT)(requests(), metadata=(("raw", "stream_unary"),)))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_large_request_survives_the_death_of_the_replica_that_had_half_of_it(two):
    gateway, replicas = two
    started, bodies = asyncio.Event(), []
    more = asyncio.Event()

    async def count(requests, context):
        size = 0
        async for request in requests:
            size += len(request)
            started.set()
        bodies.append(size)
        return b"%d" % size

    for replica in replicas:
        replica._raw_stream_unary = count
    body = chat("x" * 100_000).SerializeToString()

    async def requests():
        for _ in range(5):
            yield body
        await more.wait()
        for _ in range(20):
            yield body

    call = gateway.channel().stream_unary(CHAT)(requests(), metadata=(("raw", "stream_unary"),))
    await asyncio.wait_for(started.wait(), 5)
    fleet = gateway.worker._fleet.replicas
    first = next(replica for replica in replicas if fleet[replica.address].outstanding)
    await first.stop(None)
    more.set()
    assert await asyncio.wait_for(_as_task(call), 20) == b"%d" % (25 * len(body))


async def _as_task(call):
    return await call
