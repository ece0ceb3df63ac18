"""Trainings in processes of this machine."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.post_training.executors import processes
from services.post_training.executors.lines import LineSplitter
from services.post_training.executors.local import LocalExecutor, LocalTraining
from services.post_training.executors.settings import LocalSettings
from services.post_training.jobs.ports import Launch

# Says where it is, and starts a child in a session of its own, as torchrun does; both live for long.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(os.getpid(), child.pid, os.getcwd(), os.environ.get("CARAVAN_SECRET"), flush=True)
time.sleep(60)
"""


def executor(program: str, **settings: float) -> LocalExecutor:
    return LocalExecutor(LocalSettings(**settings), lambda spec, number: [sys.executable, "-c", program])


@contextlib.asynccontextmanager
async def started(program: str, folder: Path, memory: int = 0, **settings: float) -> AsyncIterator[LocalTraining]:
    launch = Launch(jobs_pb2.Job(), folder / "spec.json", folder, 1, memory)
    running = await executor(program, **settings).start(launch)
    assert isinstance(running, LocalTraining)
    try:
        yield running
    finally:
        await running.kill()
        await running.wait()


async def first_line(running: LocalTraining) -> str:
    async with asyncio.timeout(20):
        async for line in running.lines():
            return line.text
    raise AssertionError


async def gone(pid: int) -> bool:
    for _ in range(200):
        if processes.used_bytes(pid) == 0:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_kill_takes_what_the_training_has_started_elsewhere_too(tmp_path: Path) -> None:
    async with started(PARENT, tmp_path) as running:
        leader, child, *_ = (await first_line(running)).split()
    assert await gone(int(leader))
    assert await gone(int(child))


async def test_a_training_works_in_the_jobs_folder_without_the_services_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_SECRET", "x")
    async with started(PARENT, tmp_path) as running:
        *_, folder, secret = (await first_line(running)).split()
    assert (Path(folder), secret) == (tmp_path, "None")


async def test_children_that_outlive_their_leader_are_ended(tmp_path: Path) -> None:
    program = PARENT.replace("time.sleep(60)\n", "").replace("flush=True)", "flush=True); time.sleep(0.5)")
    async with started(program, tmp_path, watch_seconds=0.05) as running:
        _, child, *_ = (await first_line(running)).split()
        ended = await asyncio.wait_for(running.wait(), 20)
    assert ended.code == 0
    assert await gone(int(child))


async def test_a_second_attempt_waits_for_the_processes_of_the_first(tmp_path: Path) -> None:
    launch = Launch(jobs_pb2.Job(), tmp_path / "spec.json", tmp_path, 1, 0)
    async with started(PARENT, tmp_path) as running:
        await first_line(running)
        with pytest.raises(UnavailableError) as caught:
            await executor(PARENT, stop_seconds=0.3).start(launch)
        assert caught.value.reason == "LAST_ATTEMPT_RUNS"
    async with started("print('mine')", tmp_path) as running:
        assert await first_line(running) == "mine"


async def test_the_memory_of_every_process_counts(tmp_path: Path) -> None:
    program = PARENT.replace("import time; time.sleep(60)", "x = b'x' * (90 << 20); import time; time.sleep(60)")
    async with started(program, tmp_path, 64 << 20, watch_seconds=0.05) as running:
        ended = await asyncio.wait_for(running.wait(), 20)
    assert ended.out_of_memory
    assert ended.peak_bytes > 64 << 20


async def test_what_is_said_faster_than_it_is_heard_waits_and_is_not_lost(tmp_path: Path) -> None:
    program = "for n in range(20000): print(n)\nimport sys; print('last words', file=sys.stderr)"
    async with started(program, tmp_path) as running:
        await asyncio.sleep(0.3)
        lines = [line async for line in running.lines()]
    assert [line.text for line in lines if not line.error] == [str(number) for number in range(20_000)]
    assert [line.text for line in lines if line.error] == ["last words"]


async def test_a_signal_reaches_the_training_and_its_exit_code_is_told(tmp_path: Path) -> None:
    async with started("import time; print(1, flush=True); time.sleep(60)", tmp_path) as running:
        await first_line(running)
        await running.stop()
        assert (await asyncio.wait_for(running.wait(), 20)).code == -signal.SIGTERM


def test_what_this_machine_cannot_run_is_refused_with_the_fields_path() -> None:
    config = training_pb2.ExecutorConfig(local={"num_processes": 9})
    with pytest.raises(InvalidArgumentError) as caught:
        executor("", max_processes=2).check(config)
    assert caught.value.violations[0].field == "executor.local.num_processes"
    with pytest.raises(FailedPreconditionError):
        executor("", slots=0).check(training_pb2.ExecutorConfig())


def test_lines_are_cut_at_their_ends_and_at_their_longest() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"one\ntw")) == ["one"]
    assert list(splitter.feed(b"o\r\n" + b"x" * 25)) == ["two"]
    assert list(splitter.feed(b"y\n1%\r2%\rdone\n\xff\n")) == ["x" * 10, "done", "\ufffd"]
    assert splitter.rest() == ""


def test_a_number_that_is_another_process_by_now_is_left_alone() -> None:
    members = processes.tree(os.getpid())
    assert os.getpid() in members
    processes.kill({os.getpid(): "0"})
    assert os.getpid() in processes.tree(os.getpid())
