"""An engine that is cancelled, starved or killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from queue import Queue

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from caravan.inference.v1 import inference_pb2_grpc
from tests.support.processes import ServiceProcess, serving, vllm_arguments
from tests.support.requests import completion, reason, sampling, streamed

SERVICE = "caravan.inference.v1.InferenceService"
LONG = 900
FREED_WITHIN = 0.1

pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module")
def narrow() -> Iterator[tuple[ServiceProcess, str]]:
    """An engine that decodes one sequence at a time: a second call runs only when the first one's slot is free."""
    arguments = vllm_arguments(max_model_len=1024, max_running=1, max_queued=3)
    with serving("services.inference", *arguments) as (process, address):
        yield process, address


@pytest.fixture
def channel(narrow: tuple[ServiceProcess, str]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(narrow[1]) as channel:
        yield channel


@pytest.fixture
def inference(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)


def time_to_first_token(inference: inference_pb2_grpc.InferenceServiceStub) -> float:
    started = time.monotonic()
    call = inference.StreamCompletion(streamed(completion("Short", sampling_params=sampling(1))), timeout=30)
    next(iter(call))
    return time.monotonic() - started


def endless() -> object:
    """A request that cannot end by itself before the model's context does."""
    return streamed(
        completion(
            "Go on",
            sampling_params=sampling(LONG, top_p={"temperature": 2.0, "top_p": 1.0}, seed=3),
            response_format={"grammar": {"bnf": "root ::= [a-z]{6000}"}},
        )
    )


def test_cancelling_a_call_frees_its_slot_at_once(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    alone = min(time_to_first_token(inference) for _ in range(5))
    waits = []
    for _ in range(5):
        call = inference.StreamCompletion(endless())
        next(iter(call))
        call.cancel()
        waits.append(time_to_first_token(inference))
    assert sorted(waits)[2] - alone < FREED_WITHIN, f"{waits} after a cancel, {alone} alone"


def test_a_deadline_frees_the_slot_at_once(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    alone = min(time_to_first_token(inference) for _ in range(5))
    waits = []
    for _ in range(5):
        with pytest.raises(grpc.RpcError) as caught:
            list(inference.StreamCompletion(endless(), timeout=0.3))
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        waits.append(time_to_first_token(inference))
    assert sorted(waits)[2] - alone < FREED_WITHIN, f"{waits} after a deadline, {alone} alone"


def test_a_client_that_vanishes_frees_the_slot(
    narrow: tuple[ServiceProcess, str], inference: inference_pb2_grpc.InferenceServiceStub
) -> None:
    channel = grpc.insecure_channel(narrow[1], options=[("grpc.use_local_subchannel_pool", 1)])
    call = inference_pb2_grpc.InferenceServiceStub(channel).StreamCompletion(endless())
    next(iter(call))
    channel.close()
    assert time_to_first_token(inference) < 5


def test_a_full_queue_refuses_with_resource_exhausted(inference: inference_pb2_grpc.InferenceServiceStub) -> None:
    calls = [inference.StreamCompletion(endless()) for _ in range(6)]
    ended: Queue[grpc.RpcError] = Queue()
    for call in calls:
        call.add_done_callback(ended.put)
    refused = [ended.get(timeout=10) for _ in range(3)]
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(reason(error) for error in refused)
    for call in calls:
        call.cancel()
    assert time_to_first_token(inference) < 10


def engine_core(process: ServiceProcess) -> psutil.Process:
    """The process of vLLM's engine core."""
    children = psutil.Process(process.pid).children(recursive=True)
    return next(
        child for child in children if "EngineCore" in child.name() or "EngineCore" in " ".join(child.cmdline())
    )


def health(channel: grpc.Channel) -> int:
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status


def test_a_killed_engine_fails_its_calls_and_is_replaced(
    narrow: tuple[ServiceProcess, str], channel: grpc.Channel, inference: inference_pb2_grpc.InferenceServiceStub
) -> None:
    call = inference.StreamCompletion(endless())
    next(iter(call))
    os.kill(engine_core(narrow[0]).pid, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "ENGINE_RESTARTING"
    wait_until(lambda: health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING, 5)
    with pytest.raises(grpc.RpcError) as refused:
        inference.Completion(completion(), timeout=5)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: health(channel) == health_pb2.HealthCheckResponse.SERVING, 120)
    assert inference.Completion(completion(sampling_params=sampling(1)), timeout=30)


def test_sigterm_finishes_what_runs_and_leaves_no_process_behind(narrow: tuple[ServiceProcess, str]) -> None:
    process, address = narrow
    core = engine_core(process)
    with grpc.insecure_channel(address) as channel:
        inference = inference_pb2_grpc.InferenceServiceStub(channel)
        call = inference.StreamCompletion(streamed(completion("A", sampling_params=sampling(64))))
        next(iter(call))
        threading.Timer(0.05, process.send, [signal.SIGTERM]).start()
        *_, last = call
        assert last.metrics
    assert process.wait(60) == 0
    wait_until(lambda: not core.is_running() or core.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_service_that_is_killed_takes_its_engine_along() -> None:
    with serving("services.inference", *vllm_arguments(max_model_len=256)) as (process, _):
        core = engine_core(process)
        process.send(signal.SIGKILL)
        wait_until(lambda: not core.is_running() or core.status() == psutil.STATUS_ZOMBIE, 15)


def wait_until(condition, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(0.05)
