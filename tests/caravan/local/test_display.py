import asyncio
import io
from pathlib import Path

from rich.console import Console

from caravan.local.child import Program
from caravan.local.display import display_on
from caravan.local.supervisor import Member, Phase


def member(name: str, phase: Phase, seconds: float = 0.0) -> Member:
    async def ready(_: str) -> bool:
        return True

    program = Program(name, [], {}, Path(name), 1.0)
    return Member(
        name, f"what {name} is", lambda _: program, ready, 0, phase=phase, seconds=seconds, address="127.0.0.1:7"
    )


async def test_on_a_terminal_there_is_a_table():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    members = [member("store", Phase.READY, 0.2), member("vllm", Phase.STARTING), member("gateway", Phase.FAILED)]
    display = display_on(console, members)
    with display.coming_up():
        display.changed(members[1])
        await asyncio.sleep(0.15)
    text = console.file.getvalue()
    assert "✓  store" in text
    assert "✗  gateway" in text
    assert "starting" in text
    assert "what vllm is" in text
    display.changed(member("vllm", Phase.STOPPING))
    assert console.file.getvalue().endswith("vllm: stopping\n")


async def test_elsewhere_there_are_lines():
    console = Console(file=io.StringIO(), width=60)
    display = display_on(console, [])
    with display.coming_up():
        display.changed(member("vllm", Phase.STARTING))
        display.changed(member("vllm", Phase.READY, 12.34))
    assert console.file.getvalue().splitlines() == [
        "[   0.0 s] vllm: starting",
        "[   0.0 s] vllm: ready after 12.3 s (127.0.0.1:7)",
    ]


def test_a_death_shows_the_log_and_what_happens_now():
    console = Console(file=io.StringIO(), width=200)
    display = display_on(console, [])
    display.died(member("vllm", Phase.READY), "was ended by SIGKILL", "the [last] line", 2.0)
    display.died(member("vllm", Phase.READY), "ended with exit code 1", "", None)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "the [last] line"
    assert lines[1].endswith("vllm was ended by SIGKILL; starting it again in 2 s")
    assert lines[-1].endswith("vllm ended with exit code 1; not starting it again")
