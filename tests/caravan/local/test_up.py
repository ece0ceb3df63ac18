"""`caravan up` as a whole, with the real services."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import caravan
from caravan.inspect.v1 import inspect_pb2
from tests.caravan.local.test_supervisor import gone, group, status
from tests.support.stack import Stack, caravan_up

COMMAND = str(Path(sys.executable).with_name("caravan"))


def members(stack: Stack) -> dict[str, list[int]]:
    """The processes of each member, with what they have started."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and status(int(path.name))[1:2] == [str(stack.pid)]:
            line = (path / "cmdline").read_bytes().decode()
            if "guardian" not in line:
                config = re.search(r"/([a-z-]+)\.toml", line)
                found[config[1] if config else "store"] = group(int(path.name))
    return found


def until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_it_shows_is_what_a_newcomer_needs(stack):
    assert re.search(r"model {2}\S+", stack.said)
    assert "calls get_weather {" in stack.said
    assert "memory The ferry to Zelmora leaves at nine from pier four." in stack.said
    assert "shield pii warns and masks" in stack.said
    assert "shield llama-guard stops it" in stack.said
    assert re.search(r"models +caravan-chat \(llm\),.* all-MiniLM-L6-v2 \(embedding\)", stack.said)
    assert re.search(rf"caravan chat --target {stack.target}", stack.said)


def test_a_second_one_in_the_same_directory_is_refused(stack):
    done = subprocess.run(
        [COMMAND, "up", "--data", str(stack.data)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: another `caravan up` (process {stack.pid}) runs in {stack.data}")


def test_a_second_one_on_the_same_address_is_refused(stack, tmp_path):
    command = [COMMAND, "up", "--data", str(tmp_path), "--listen", stack.target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {stack.target} is in use")


def test_secrets_are_for_this_user_only(stack):
    for path in (stack.data / "config").iterdir():
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.faults
def test_members_that_die_come_back_and_nothing_is_left_when_it_is_killed_itself(tmp_path):
    with caravan_up(tmp_path / "data", "--no-demo") as stack:
        before = members(stack)
        assert {"store", "vllm", "embeddings", "agents", "gateway"} <= set(before)
        for name in ("gateway", "embeddings", "store"):
            os.kill(before[name][0], signal.SIGKILL)
        with caravan.Client(stack.target, timeout=120, retry=caravan.RetryPolicy(attempts=60, max_delay=2)) as client:
            until(lambda: before.keys() == members(stack).keys(), 60)
            assert client.chat("caravan-chat", "Hello", max_tokens=8).text
            until(lambda: client.health().status == inspect_pb2.HEALTH_STATUS_OK, 60)
            assert len(client.embed("all-MiniLM-L6-v2", "Hello")[0]) == 384
        pids = [pid for pids in members(stack).values() for pid in pids]
        assert len(pids) > 5  # vLLM's engine core and the gateway's worker are processes of their own
        os.kill(stack.pid, signal.SIGKILL)
        until(lambda: all(gone(pid) for pid in pids), 30)
