"""What untrusted code tries, and what comes of it. docs/security.md lists the same attempts."""

import asyncio
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.agents.tools.code_interpreter.bubblewrap import BubblewrapSandbox
from services.agents.tools.code_interpreter.sandbox import MEBIBYTE, Ending, Execution, Sandbox, SandboxLimits

LIMITS = SandboxLimits(wall_seconds=8, cpu_seconds=4, memory_bytes=256 * MEBIBYTE)


@pytest.fixture(scope="module")
async def sandbox() -> Sandbox:
    sandbox = BubblewrapSandbox()
    await sandbox.check()
    return sandbox


def survivors() -> list[bytes]:
    """Processes of any sandbox that still run."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [command for command in commands if b"/tmp/caravan/main.py" in command]


async def run(
    sandbox: Sandbox, code: str, files: dict[str, bytes] | None = None, limits: SandboxLimits = LIMITS
) -> Execution:
    return await sandbox.run(code, files or {}, limits)


async def test_output_errors_and_new_files_come_back(sandbox: Sandbox) -> None:
    code = "import sys\nprint(open('in.csv').read())\nprint('oh', file=sys.stderr)\nopen('out.txt', 'w').write('made')"
    execution = await run(sandbox, code, {"in.csv": b"1,2"})
    assert (execution.ending, execution.stdout, execution.stderr) == (Ending.COMPLETED, "1,2\n", "oh\n")
    assert execution.files == {"out.txt": b"made"}


async def test_a_traceback_is_the_answer_to_a_mistake(sandbox: Sandbox) -> None:
    execution = await run(sandbox, "1/0")
    assert execution.ending is Ending.FAILED
    assert execution.stderr.endswith("ZeroDivisionError: division by zero\n")


async def test_a_figure_that_is_shown_comes_back_as_an_image(sandbox: Sandbox) -> None:
    execution = await run(sandbox, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert execution.stderr == ""
    assert execution.files["figure-1.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/environ", "/home", __file__]
)
async def test_files_of_the_host_are_not_there(sandbox: Sandbox, path: str) -> None:
    execution = await run(sandbox, f"import os\nprint(os.path.exists({path!r}))\nopen({path!r})")
    assert execution.stdout == "False\n"
    assert "No such file" in execution.stderr


async def test_the_environment_of_the_service_is_not_there(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_SECRET", "key-of-the-service")
    execution = await run(sandbox, "import os\nprint(dict(os.environ))")
    assert "key-of-the-service" not in execution.stdout


async def test_what_can_be_seen_cannot_be_changed(sandbox: Sandbox) -> None:
    code = "import os\nfor path in ('/inside.py', os.__file__):\n  try:\n    open(path, 'a')\n  except OSError as e:\n    print(e.errno)"
    assert (await run(sandbox, code)).stdout in ("30\n30\n", "13\n13\n", "13\n30\n", "30\n13\n")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "1.1.1.1"])
async def test_there_is_no_network(sandbox: Sandbox, address: str) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        execution = await run(sandbox, f"import socket\nsocket.create_connection(({address!r}, {port}), 2)")
    assert execution.ending is Ending.FAILED
    assert "OSError" in execution.stderr or "ConnectionRefused" in execution.stderr


async def test_abstract_unix_sockets_of_the_host_are_out_of_reach(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0caravan-escape-test")
        listening.listen()
        code = "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0caravan-escape-test')"
        assert "ConnectionRefusedError" in (await run(sandbox, code)).stderr


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "import os\nif os.fork() == 0:\n  while True: pass\nimport time; time.sleep(100)",
        "import signal, time\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    ],
)
async def test_time_runs_out(sandbox: Sandbox, code: str) -> None:
    begun = time.monotonic()
    execution = await run(sandbox, code, limits=replace(LIMITS, wall_seconds=3, cpu_seconds=2))
    assert execution.ending is Ending.TIMED_OUT
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize(
    "code",
    [
        "x = []\nwhile True: x.append(bytearray(10**7))",
        "x = bytearray(10**11)",
        "import os\nfor _ in range(8): os.fork()\nx = []\nwhile True: x.append(bytearray(10**6))",
    ],
)
async def test_memory_runs_out(sandbox: Sandbox, code: str) -> None:
    execution = await run(sandbox, code)
    assert execution.ending in (Ending.OUT_OF_MEMORY, Ending.TIMED_OUT)


async def test_a_fork_bomb_meets_the_limit_and_leaves_nothing(sandbox: Sandbox) -> None:
    code = "import os\ntry:\n  while True: os.fork()\nexcept OSError: pass\nimport time; time.sleep(100)"
    execution = await run(sandbox, code, limits=replace(LIMITS, wall_seconds=2))
    assert execution.ending in (Ending.TIMED_OUT, Ending.OUT_OF_MEMORY)
    assert not survivors()


async def test_the_disk_is_full_soon(sandbox: Sandbox) -> None:
    code = "import itertools\nfor n in itertools.count():\n  open(f'f{n}', 'wb').write(b'0' * 10**6)"
    execution = await run(sandbox, code)
    assert "No space left" in execution.stderr
    assert sum(map(len, execution.files.values())) <= LIMITS.files_bytes
    assert any("left out" in note or "cut off" in note for note in execution.notes)


async def test_endless_output_is_cut_off(sandbox: Sandbox) -> None:
    execution = await run(sandbox, "while True: print('x' * 1000)", limits=replace(LIMITS, wall_seconds=2))
    assert len(execution.stdout) == LIMITS.output_bytes
    assert any("stdout was cut off" in note for note in execution.notes)


async def test_links_out_of_the_sandbox_bring_nothing_back(sandbox: Sandbox) -> None:
    execution = await run(sandbox, "import os\nos.symlink('/inside.py', 'link')\nos.symlink('/etc', 'folder')")
    assert execution.files == {}


@pytest.mark.parametrize("name", ["../../etc/evil", "/etc/evil", "a/../../evil", "x\x00y", "", "." * 3000])
async def test_names_of_files_stay_inside(sandbox: Sandbox, name: str) -> None:
    execution = await run(sandbox, "import os\nprint([f for _, _, f in os.walk('.')])", {name: b"x"})
    assert execution.ending is Ending.COMPLETED
    assert execution.stdout != "[[]]\n"


async def test_killing_everything_kills_only_the_sandbox(sandbox: Sandbox) -> None:
    for code in ("import os; os.kill(-1, 9)", "import os; os.kill(os.getppid(), 9)", "import os; os.killpg(0, 9)"):
        assert isinstance(await run(sandbox, code), Execution)


async def test_it_is_nobody_and_cannot_become_anybody(sandbox: Sandbox) -> None:
    code = "import os\ntry:\n  os.setuid(0)\n  print('root')\nexcept OSError:\n  print('refused')"
    execution = await run(sandbox, code)
    assert execution.stdout == "refused\n" or (await run(sandbox, "open('/dev/mem')")).ending is Ending.FAILED
    mounting = "import ctypes\nprint(ctypes.CDLL(None).mount(b'none', b'/work', b'tmpfs', 0, None))"
    assert (await run(sandbox, mounting)).stdout in ("-1\n", "")


async def test_a_forged_result_is_bounded_and_believed_by_nobody(sandbox: Sandbox) -> None:
    code = "import os\nfor fd in range(3, 256):\n  try:\n    os.write(fd, b'A' * 10**6)\n  except OSError: pass\n"
    execution = await run(sandbox, code)
    assert execution.files == {}


async def test_cancelling_ends_the_processes(sandbox: Sandbox) -> None:
    running = asyncio.ensure_future(run(sandbox, "import time\nwhile True: time.sleep(1)"))
    await asyncio.sleep(0.7)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not survivors()
