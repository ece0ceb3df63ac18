"""Which sandbox is taken, and what is said when there is none."""

import pytest

from services.agents.tools.code_interpreter.bubblewrap import BubblewrapSandbox
from services.agents.tools.code_interpreter.first_that_works import FirstThatWorks
from services.agents.tools.code_interpreter.sandbox import SandboxLimits
from services.core.errors import FailedPreconditionError

LIMITS = SandboxLimits(wall_seconds=20)


def missing(monkeypatch: pytest.MonkeyPatch) -> BubblewrapSandbox:
    """A sandbox on a machine without bubblewrap."""
    with monkeypatch.context() as machine:
        machine.setattr("services.agents.tools.code_interpreter.bubblewrap._program", lambda: None)
        return BubblewrapSandbox()


async def test_the_first_that_works_runs_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = FirstThatWorks([missing(monkeypatch), BubblewrapSandbox()])
    await sandbox.check()
    assert (await sandbox.run("print(6 * 7)", {}, LIMITS)).stdout == "42\n"


async def test_without_one_every_call_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = FirstThatWorks([missing(monkeypatch), missing(monkeypatch)])
    for asked in (sandbox.check(), sandbox.run("print(1)", {}, LIMITS), sandbox.run("print(1)", {}, LIMITS)):
        with pytest.raises(FailedPreconditionError, match=r"not installed.*not installed") as caught:
            await asked
        assert caught.value.reason == "NO_SANDBOX"
    await sandbox.close()
