"""A real `vllm serve` on loopback: for tests as a session-wide fixture, for benchmarks as a context manager.

Tests that use the fixture carry `pytest.mark.xdist_group(GROUP)`, so that parallel workers start one server, not one each.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAT_MODEL = ROOT / "models" / "caravan-chat"
GROUP = "vllm-server"
MODEL_ID = "caravan-chat"
API_KEY = "sk-loopback-0123456789"

# Measured: without these a small CPU machine is up to a hundred times slower.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    # The first request for log probabilities would compile for ten seconds, and needs a C++ compiler.
    "TORCH_COMPILE_DISABLE": "1",
}
SMALL = ("--enforce-eager", "--kv-cache-memory-bytes", str(256 << 20))
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "llama3_json")
# A small model may fill JSON with white space until it runs out of tokens.
GUIDED = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
START_SECONDS = 240.0


@dataclass(frozen=True)
class VllmServer:
    """A running server."""

    url: str
    """Address of its API, `http://127.0.0.1:<port>/v1`."""
    pid: int
    """Process id of the front end."""
    log: Path
    """Its output."""

    @property
    def root(self) -> str:
        """Address without the API's path, for `/health` and `/metrics`."""
        return self.url.removesuffix("/v1")

    def running(self) -> int:
        """Number of requests that the engine works on, those that wait for it included."""
        with urllib.request.urlopen(f"{self.root}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting{")
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(names)))


@contextmanager
def serve(
    model: Path | str,
    log: Path,
    *arguments: str,
    served_model_name: str = MODEL_ID,
    environment: Mapping[str, str] | None = None,
) -> Iterator[VllmServer]:
    """Runs `vllm serve` for one model and waits until it answers.

    Args:
        model: Folder or id of the model.
        log: File for its output.
        arguments: Further arguments of `vllm serve`, for instance `*SMALL`.
        served_model_name: Name of the model in its API.
        environment: Variables beside `ENVIRONMENT`.
    """
    port = _free_port()
    command = [
        # The `vllm` command needs a distribution of that name, which the CPU build lacks.
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(model), "--served-model-name", served_model_name, *arguments),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, port, log)
            yield VllmServer(f"http://127.0.0.1:{port}/v1", process.pid, log)
        finally:
            _end(process)


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """One server for the whole session: the small chat model, with tools, behind `API_KEY`."""
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    arguments: Sequence[str] = (
        *SMALL,
        *TOOLS,
        *GUIDED,
        "--api-key",
        API_KEY,
        "--max-model-len",
        "1024",
        "--max-num-seqs",
        "16",
    )
    with serve(CHAT_MODEL, log, *arguments) as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _is_healthy(port):
            return
        time.sleep(0.25)
    tail = log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"vllm serve did not come up (exit code {process.poll()}):\n{tail}")


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the server and the engine that it started: they are one process group."""
    for number, patience in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
