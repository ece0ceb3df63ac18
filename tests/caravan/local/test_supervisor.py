"""Real processes: small programs in place of the services."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from caravan.local.child import Program
from caravan.local.problems import ChildFailedError
from caravan.local.supervisor import Member, Phase, Restarts, guarded

LISTENS = """
import json, os, signal, subprocess, sys, time
print(json.dumps({"event": "listening", "address": "127.0.0.1:7"}), flush=True)
print("a line of the log", file=sys.stderr, flush=True)
"""
STAYS = LISTENS + "time.sleep(60)\n"
STUBBORN = LISTENS + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n"
HAS_A_CHILD = LISTENS + "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\ntime.sleep(60)\n"
FAILS = "import sys; sys.exit('error: model: there is none')\n"


class Watcher:
    def __init__(self) -> None:
        self.phases: list[tuple[str, Phase]] = []
        self.deaths: list[tuple[str, str, float | None]] = []

    def changed(self, member: Member) -> None:
        self.phases.append((member.name, member.phase))

    def died(self, member: Member, how: str, tail: str, again_in: float | None) -> None:
        self.deaths.append((how, tail, again_in))


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def member(tmp_path):
    async def ready(address: str) -> bool:
        return address == "127.0.0.1:7"

    def make(name: str, script: str, *, wave: int = 0, grace: float = 5.0) -> Member:
        environment = dict(os.environ)
        command = [sys.executable, "-c", script]
        return Member(
            name, name, lambda _: Program(name, command, environment, tmp_path / f"{name}.log", grace), ready, wave
        )

    return make


def status(pid: int) -> list[str]:
    """State, parent and process group of a process; nothing when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()[:3]


def gone(pid: int) -> bool:
    return status(pid)[:1] in ([], ["Z"])


def group(leader: int) -> list[int]:
    """The processes of a group."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if status(pid)[2:] == [str(leader)]]


async def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_members_stop_in_reverse_order(watcher, member):
    async with guarded(watcher) as supervisor:
        for wave, name in enumerate(("store", "vllm", "gateway")):
            await supervisor.bring_up(member(name, STAYS, wave=wave))
        watcher.phases.clear()
    assert [name for name, phase in watcher.phases if phase is Phase.STOPPED] == ["gateway", "vllm", "store"]


async def test_a_member_that_cannot_start_shows_the_end_of_its_log(watcher, member):
    async with guarded(watcher) as supervisor:
        with pytest.raises(ChildFailedError, match="vllm ended with exit code 1; its log is") as caught:
            await supervisor.bring_up(member("vllm", FAILS))
    assert caught.value.tail == "error: model: there is none"
    assert watcher.phases[-1] == ("vllm", Phase.FAILED)


async def test_a_member_that_ignores_the_signal_is_killed_in_time(watcher, member):
    begun = time.monotonic()
    async with guarded(watcher) as supervisor:
        stubborn = member("vllm", STUBBORN, grace=0.5)
        await supervisor.bring_up(stubborn)
    assert time.monotonic() - begun < 10
    assert stubborn.child.process.returncode == -signal.SIGKILL


async def test_stopping_can_be_cut_short(watcher, member):
    async with guarded(watcher) as supervisor:
        await supervisor.bring_up(member("vllm", STUBBORN, grace=60))
        stopping = asyncio.create_task(supervisor.stop())
        await asyncio.sleep(0.2)
        assert not stopping.done()
        await supervisor.kill()
        await asyncio.wait_for(stopping, 5)


async def test_what_a_member_has_started_ends_with_it(watcher, member):
    async with guarded(watcher) as supervisor:
        parent = member("vllm", HAS_A_CHILD)
        await supervisor.bring_up(parent)
        pids = group(parent.child.process.pid)
        assert len(pids) == 2
    await until(lambda: all(gone(pid) for pid in pids))


async def test_a_member_that_dies_is_started_again(watcher, member):
    async with guarded(watcher, Restarts(initial_delay=0.05)) as supervisor:
        mortal = member("vllm", STAYS)
        await supervisor.bring_up(mortal)
        first = mortal.child.process.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: mortal.child.process.pid != first and mortal.phase is Phase.READY)
    [(how, tail, again_in)] = watcher.deaths
    assert (how, tail.splitlines()[-1], again_in) == ("was ended by SIGKILL", "a line of the log", 0.05)


async def test_starting_again_has_an_end(watcher, member, tmp_path):
    marker = tmp_path / "marker"
    once = (
        f"import os, sys\nif os.path.exists({str(marker)!r}): sys.exit('cannot')\nopen({str(marker)!r}, 'w')\n" + STAYS
    )
    async with guarded(watcher, Restarts(most=2, initial_delay=0.05)) as supervisor:
        mortal = member("vllm", once)
        await supervisor.bring_up(mortal)
        os.kill(mortal.child.process.pid, signal.SIGKILL)
        await until(lambda: mortal.phase is Phase.FAILED)
    assert [again_in for _, _, again_in in watcher.deaths] == [0.05, 0.1, None]


async def test_the_log_of_the_run_before_is_kept(watcher, member, tmp_path):
    for _ in range(2):
        async with guarded(watcher) as supervisor:
            await supervisor.bring_up(member("vllm", STAYS))
    assert "a line of the log" in (tmp_path / "vllm.log").read_text()
    assert "a line of the log" in (tmp_path / "vllm.log.1").read_text()


async def test_nothing_is_left_when_the_supervisor_itself_is_killed(tmp_path):
    script = f"""
        import asyncio, os, sys
        from caravan.local.child import Program
        from caravan.local.supervisor import Member, guarded
        from tests.caravan.local.test_supervisor import HAS_A_CHILD, STUBBORN, Watcher
        from pathlib import Path

        async def ready(address): return True

        async def main():
            async with guarded(Watcher()) as supervisor:
                for name, code in (("one", HAS_A_CHILD), ("two", HAS_A_CHILD)):
                    log = Path({str(tmp_path)!r}) / name
                    program = Program(name, [sys.executable, "-c", code], dict(os.environ), log, 5.0)
                    member = Member(name, name, lambda _, program=program: program, ready, 0)
                    await supervisor.bring_up(member)
                    print(member.child.process.pid, flush=True)
                print("up", flush=True)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), stdout=asyncio.subprocess.PIPE
    )
    lines = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
    assert lines[2] == "up"
    groups = [int(line) for line in lines[:2]]
    pids = [pid for leader in groups for pid in group(leader)]
    assert len(pids) == 4
    process.kill()
    await process.wait()
    await until(lambda: all(gone(pid) for pid in pids), 15)
