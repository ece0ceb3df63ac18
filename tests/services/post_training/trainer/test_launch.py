"""Stopping several processes: they are sessions of their own, which a signal to the launcher's group does not reach."""

import os
import signal
import subprocess
import sys
import textwrap

from services.post_training.spec import PARENT_VARIABLE

# torchrun's way with its workers, without its import: each in a session of its own, and waited for.
_LAUNCHER = textwrap.dedent(
    """
    import subprocess, sys, types
    worker = "import signal; print('works', flush=True); signal.sigwait([signal.SIGTERM]); print('stopped', flush=True)"
    blocked = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); " + worker

    def torchrun(arguments):
        workers = [subprocess.Popen([sys.executable, "-c", blocked], start_new_session=True) for _ in range(2)]
        sys.exit(max(worker.wait() for worker in workers))

    run = types.ModuleType("torch.distributed.run")
    run.main = torchrun
    for name in ("torch", "torch.distributed"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torch.distributed.run"] = run
    from services.post_training.trainer.launch import main

    main("2", "spec.json")
    """
)


def _begin(environment: dict[str, str]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process


def test_sigterm_reaches_every_worker_and_is_waited_for() -> None:
    process = _begin({PARENT_VARIABLE: str(os.getpid())})
    assert process.stdout is not None
    assert "".join(process.stdout.readline() for _ in range(2)).count("works") == 2
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60)[0].count("stopped") == 2
    assert process.returncode == 0


def test_a_launcher_whose_service_is_gone_begins_nothing() -> None:
    process = _begin({PARENT_VARIABLE: "1"})
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode != 0


def test_the_death_of_the_service_stops_the_workers() -> None:
    service = (
        "import os, subprocess, sys, time\n"
        f"os.environ[{PARENT_VARIABLE!r}] = str(os.getpid())\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", service, _LAUNCHER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "".join(process.stdout.readline() for _ in range(2)).count("works") == 2
    process.kill()
    assert process.communicate(timeout=60)[0].count("stopped") == 2
