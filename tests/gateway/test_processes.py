"""The gateway and its replicas as processes, the way an operator runs them: started, killed and drained."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import grpc
import psutil
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from tests.gateway.conftest import eventually
from tests.gateway.test_proxy import chat, stream
from tests.support.processes import ROOT, ServiceProcess

pytestmark = pytest.mark.faults
START_SECONDS = 60.0


@pytest.fixture
def processes():
    started = []

    def start(module, *arguments, event="serving", **environment):
        process = ServiceProcess(module, *arguments, environment=environment)
        started.append(process)
        return process, process.wait_for(event, START_SECONDS).get("address")

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def start_replica(processes):
    return lambda listen="127.0.0.1:0": processes("tests.gateway.replica", "--listen", listen)


@pytest.fixture
def start_gateway(processes, redis_url):
    def start(addresses, *arguments, event="serving"):
        providers = json.dumps([{"provider_id": "echo", "addresses": addresses}])
        return processes(
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--redis-url",
            redis_url,
            "--lease-seconds",
            "1",
            *arguments,
            event=event,
            CARAVAN_PROVIDERS=providers,
        )

    return start


def workers_of(process):
    # Beside the workers there is multiprocessing's resource tracker.
    return [child for child in psutil.Process(process.pid).children() if _is_worker(child)]


def _is_worker(child):
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.ZombieProcess:
        return False


async def test_killing_a_replica_under_load_fails_no_call_that_had_not_begun_to_answer(start_replica, start_gateway):
    doomed, address = await asyncio.to_thread(start_replica)
    _, other = await asyncio.to_thread(start_replica)
    _, gateway = await asyncio.to_thread(start_gateway, [address, other])
    failed, answered, begun = [], 0, 0
    ending = asyncio.Event()

    async def unary(stub, number):
        nonlocal answered
        while not ending.is_set():
            try:
                await stub.ChatCompletion(chat(f"{number} {os.urandom(4).hex()}"), timeout=20)
                answered += 1
            except grpc.aio.AioRpcError as error:
                failed.append(error)

    async def streamed(stub, number):
        nonlocal answered, begun
        while not ending.is_set():
            received = 0
            try:
                async for _ in stub.StreamChatCompletion(stream(f"20 {number + 1}"), timeout=20):
                    received += 1
                answered += 1
            except grpc.aio.AioRpcError as error:
                if received and error.code() == grpc.StatusCode.UNAVAILABLE:
                    begun += 1
                else:
                    failed.append(error)

    async with grpc.aio.insecure_channel(gateway) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        load = [asyncio.create_task(call(stub, number)) for number in range(10) for call in (unary, streamed)]
        await asyncio.sleep(1)
        doomed.send(signal.SIGKILL)
        await asyncio.to_thread(doomed.wait)
        await asyncio.sleep(1)
        await asyncio.to_thread(start_replica, address)
        await asyncio.sleep(2)
        ending.set()
        await asyncio.gather(*load)
    assert [str(error) for error in failed] == []
    assert answered > 100


async def test_a_worker_that_dies_is_started_again_and_the_others_go_on(start_replica, start_gateway):
    _, address = await asyncio.to_thread(start_replica)
    process, gateway = await asyncio.to_thread(start_gateway, [address], "--workers", "2")
    workers = workers_of(process)
    assert len(workers) == 2
    workers[0].kill()

    async def answers():
        async with grpc.aio.insecure_channel(gateway) as channel:
            return await inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(
                chat(), timeout=5, wait_for_ready=True
            )

    await answers()
    await eventually(
        lambda: len(workers_of(process)) == 2 and workers[0].pid not in [one.pid for one in workers_of(process)], 30
    )
    for _ in range(10):
        await answers()


async def test_when_the_worker_with_the_control_loop_is_killed_another_takes_over_within_seconds(
    start_replica, start_gateway, redis_url
):
    first, address = await asyncio.to_thread(start_replica)
    one, _ = await asyncio.to_thread(start_gateway, [address])
    _, second = await asyncio.to_thread(start_gateway, [address])
    os.killpg(one.pid, signal.SIGKILL)
    await asyncio.to_thread(one.wait)
    first.send(signal.SIGKILL)
    started = time.monotonic()
    async with grpc.aio.insecure_channel(second) as channel:
        inspect = inspect_pb2_grpc.InspectServiceStub(channel)

        async def noticed():
            provider = (await inspect.GetProvider(inspect_pb2.GetProviderRequest(provider_id="echo"))).provider
            return provider.health == inspect_pb2.HEALTH_STATUS_ERROR

        await eventually(noticed, 20)
    assert time.monotonic() - started < 15


async def test_a_terminated_gateway_lets_running_calls_end(start_replica, start_gateway):
    _, address = await asyncio.to_thread(start_replica)
    process, gateway = await asyncio.to_thread(start_gateway, [address])
    async with grpc.aio.insecure_channel(gateway) as channel:
        call = inference_pb2_grpc.InferenceServiceStub(channel).StreamChatCompletion(stream("slow"))
        await call.read()
        process.send(signal.SIGTERM)
        await asyncio.to_thread(process.wait_for, "draining", 10)
        assert len([message async for message in _rest(call)]) == 2
    assert await asyncio.to_thread(process.wait) == 0
    assert not psutil.pid_exists(process.pid) or psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE


async def _rest(call):
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message


async def test_calls_that_do_not_end_are_ended_when_the_time_is_over(start_replica, start_gateway):
    _, address = await asyncio.to_thread(start_replica)
    process, gateway = await asyncio.to_thread(start_gateway, [address], "--drain-seconds", "0.5")
    async with grpc.aio.insecure_channel(gateway) as channel:
        call = inference_pb2_grpc.InferenceServiceStub(channel).StreamChatCompletion(stream("hang"))
        await call.read()
        process.send(signal.SIGTERM)
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [message async for message in _rest(call)]
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert await asyncio.to_thread(process.wait) == 0
    assert time.monotonic() - started < 10


async def test_workers_end_when_the_supervisor_is_killed(start_replica, start_gateway):
    _, address = await asyncio.to_thread(start_replica)
    process, _ = await asyncio.to_thread(start_gateway, [address])
    workers = workers_of(process)
    process.send(signal.SIGKILL)
    await eventually(
        lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers), 20
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "redis_url"),
        (["--redis-url", "http://x"], {}, "must start with redis://"),
        (
            ["--redis-url", "redis://127.0.0.1:1/0", "--listen", "203.0.113.1:0", "--allow-insecure"],
            {},
            "cannot listen",
        ),
        (
            ["--redis-url", "redis://127.0.0.1:1/0"],
            {
                "CARAVAN_PROVIDERS": json.dumps(
                    [{"provider_id": "twice", "addresses": "a:1"}, {"provider_id": "twice", "addresses": ["b:1"]}]
                )
            },
            "'twice'",
        ),
        (
            ["--redis-url", "redis://127.0.0.1:1/0"],
            {"CARAVAN_PROVIDERS": json.dumps([{"provider_id": "p", "addresses": ["no-port"]}])},
            "must be host:port",
        ),
        (
            ["--redis-url", "redis://127.0.0.1:1/0"],
            {
                "CARAVAN_PROVIDERS": json.dumps(
                    [{"provider_id": "one", "addresses": ["a:1"]}, {"provider_id": "two", "addresses": ["a:1"]}]
                )
            },
            "'one' and 'two'",
        ),
    ],
)
def test_wrong_settings_are_told_in_one_line_and_end_the_process(arguments, environment, said):
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_toml_file_configures_it(tmp_path, redis_url, processes):
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'listen = "127.0.0.1:0"\nredis_url = "{redis_url}"\n[[providers]]\nprovider_id = "p"\naddresses = "127.0.0.1:1"\n'
    )
    _, address = processes("gateway", "--config", str(path))
    with grpc.insecure_channel(address) as channel:
        listed = inspect_pb2_grpc.InspectServiceStub(channel).ListProviders(inspect_pb2.ListProvidersRequest())
    assert [provider.provider_id for provider in listed.data] == ["p"]
