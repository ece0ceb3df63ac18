"""What is compared: each peer is started once and waits, idle, for its turns."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from benchmarks.processes import LineProcess, environment, line_process, tail
from benchmarks.processor_time import descendants, family
from benchmarks.workload import Job, Run
from caravan.local import toml
from tests.support.processes import ServiceProcess, serving
from tests.support.valkey import valkey_server
from tests.support.vllm_server import ENVIRONMENT, serve

MODEL_ID = "bench"
PROVIDER_ID = "vllm"
VLLM_GRPC_PACKAGE = "smg_grpc_servicer"

FRONT, GATEWAY, ENGINE, CLIENT = "front", "gateway", "engine", "client"

# What all engines have in common; whatever is not named here is vLLM's default.
ENGINE_ARGUMENTS: Mapping[str, object] = {
    "max_model_len": 4096,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 4096,
    "enforce_eager": True,
    "kv_cache_memory_bytes": 256 << 20,
}
_START_SECONDS = 240.0


@dataclass(frozen=True)
class Stage:
    """What the peers have in common."""

    model: Path
    """Folder of the model."""
    prompts: Path
    """File of prompts."""
    folder: Path
    """Folder for logs and settings."""

    def log(self, name: str) -> Path:
        """File for a process's output."""
        return self.folder / f"{name}.log"


@dataclass(frozen=True)
class Peer:
    """One way to be served by a vLLM engine, up and running."""

    name: str
    """Short name."""
    title: str
    """Name in tables."""
    client: str
    """How it is asked; see `Job.client`."""
    target: str
    """Where it is."""
    stage: Stage
    """What it has in common with the others."""
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Its processes by what they do."""
    inside: LineProcess | None = None
    """The process that answers jobs itself, where there is no server."""

    def run(self, streams: int, waves: int, max_tokens: int) -> Run:
        """Measures one level once."""
        job = self.job(streams, waves, max_tokens)
        if self.inside is not None:
            return Run.from_json(self.inside.ask(job.to_json()))
        return Run.from_json(load(job, self.stage))

    def job(self, streams: int, waves: int, max_tokens: int) -> Job:
        """The job that measures one level."""
        prompts = str(self.stage.prompts)
        return Job(self.client, [self.target], MODEL_ID, prompts, streams, waves, max_tokens, self.processes)


def load(job: Job, stage: Stage) -> str:
    """Has a fresh load generator run a job and returns its answer."""
    with line_process("benchmarks.load", log=stage.log("load")) as generator:
        return generator.ask(job.to_json())


@contextmanager
def started(names: Sequence[str], stage: Stage, say: Callable[[str], None]) -> Iterator[list[Peer]]:
    """Starts peers, and ends them with the block.

    Args:
        names: Which, of `STARTERS`.
        stage: What they have in common.
        say: Told what is going on.
    """
    with ExitStack() as stack:
        peers: list[Peer] = []
        for name in names:
            if name.startswith("vllm-grpc") and not vllm_grpc_is_installed():
                say(f"`vllm serve --grpc` is left out: {VLLM_GRPC_PACKAGE} is not installed (the extra `bench` has it)")
                continue
            say(f"starting {name}")
            peers += stack.enter_context(STARTERS[name](stage))
        yield peers


def vllm_grpc_is_installed() -> bool:
    """Whether what `vllm serve --grpc` needs is there."""
    return importlib.util.find_spec(VLLM_GRPC_PACKAGE) is not None


@contextmanager
def _in_process(stage: Stage) -> Iterator[list[Peer]]:
    # Without statistics: the fastest that AsyncLLM can be had.
    arguments = {"model": str(stage.model), "disable_log_stats": True, **ENGINE_ARGUMENTS}
    with line_process("benchmarks.in_process", json.dumps(arguments), log=stage.log("in-process")) as process:
        process.read()
        processes = {FRONT: [process.pid], ENGINE: descendants(process.pid)}
        yield [Peer("in-process", "AsyncLLM in process", "engine", "", stage, processes, process)]


@contextmanager
def _http(stage: Stage, name: str = "http", title: str = "vllm serve, HTTP", *arguments: str) -> Iterator[list[Peer]]:
    options = [*_options(ENGINE_ARGUMENTS), *arguments]
    with serve(stage.model, stage.log(name), *options, served_model_name=MODEL_ID) as server:
        processes = {FRONT: [server.pid], ENGINE: descendants(server.pid)}
        yield [Peer(name, title, "http", server.url, stage, processes)]


@contextmanager
def _http_bare(stage: Stage) -> Iterator[list[Peer]]:
    """Without statistics and access log, which nobody runs in production, to see what these cost."""
    bare = ("--disable-log-stats", "--disable-uvicorn-access-log")
    with _http(stage, "http-bare", "vllm serve, HTTP, no statistics", *bare) as peers:
        yield peers


@contextmanager
def _vllm_grpc(stage: Stage) -> Iterator[list[Peer]]:
    log = stage.log("vllm-grpc")
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.launchers.grpc_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--model", str(stage.model), *_options(ENGINE_ARGUMENTS)],
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for_channel(process, port, log)
        processes = {FRONT: [process.pid], ENGINE: descendants(process.pid)}
        yield [Peer("vllm-grpc", "vllm serve --grpc", "vllm_grpc", f"127.0.0.1:{port}", stage, processes)]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@contextmanager
def _caravan(stage: Stage) -> Iterator[list[Peer]]:
    """Two peers on one engine: the service asked directly, and through a gateway."""
    settings = stage.folder / "inference.toml"
    engine = {"max_num_batched_tokens": ENGINE_ARGUMENTS["max_num_batched_tokens"]}
    provider = {
        "type": "inline::vllm",
        "model": str(stage.model),
        "model_id": MODEL_ID,
        "enable_lora": False,
        "max_model_len": ENGINE_ARGUMENTS["max_model_len"],
        "max_running": ENGINE_ARGUMENTS["max_num_seqs"],
        "enforce_eager": ENGINE_ARGUMENTS["enforce_eager"],
        "kv_cache_memory_bytes": ENGINE_ARGUMENTS["kv_cache_memory_bytes"],
        "engine_args": engine,
    }
    settings.write_text(toml.dumps({"provider_id": PROVIDER_ID, "provider": provider}))
    with serving("services.inference", "--config", str(settings), environment=ENVIRONMENT) as (service, address):
        processes = {FRONT: [service.pid], ENGINE: descendants(service.pid)}
        direct = Peer("caravan", "Caravan, direct", "caravan", address, stage, processes)
        with gateway({PROVIDER_ID: address}, stage.folder) as (process, entrance):
            relayed = {**processes, GATEWAY: family(process.pid)}
            yield [direct, Peer("gateway", "Caravan, through the gateway", "caravan", entrance, stage, relayed)]


@contextmanager
def gateway(providers: Mapping[str, str], folder: Path) -> Iterator[tuple[ServiceProcess, str]]:
    """A gateway with a registry of its own.

    Args:
        providers: Addresses by provider id.
        folder: Folder for its settings.

    Yields:
        The gateway's process and its address.
    """
    with valkey_server() as store:
        entries = [{"provider_id": name, "addresses": [address]} for name, address in providers.items()]
        settings = folder / "gateway.toml"
        settings.write_text(toml.dumps({"redis_url": store.url, "providers": entries}))
        with serving("gateway", "--config", str(settings)) as (process, address):
            yield process, address


STARTERS: Mapping[str, Callable[[Stage], AbstractContextManager[list[Peer]]]] = {
    "in-process": _in_process,
    "http": _http,
    "http-bare": _http_bare,
    "vllm-grpc": _vllm_grpc,
    "caravan": _caravan,
}


def _options(arguments: Mapping[str, object]) -> list[str]:
    """Engine arguments as options of a command."""
    options: list[str] = []
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        options += [option] if value is True else [option, str(value)]
    return options


def _wait_for_channel(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ready = grpc.channel_ready_future(channel)
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(grpc.FutureTimeoutError):
                ready.result(timeout=1)
                return
    raise RuntimeError(f"vllm serve --grpc did not come up (exit code {process.poll()}):\n{tail(log)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
