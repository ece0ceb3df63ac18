"""Processes that crash, hang and grow, and what they leave behind: nothing."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.core.errors import FailedPreconditionError
from services.core.scratch import PREFIX
from services.core.worker_pool import WorkerDiedError, WorkerPool
from tests.support.eventually import until
from tests.support.processes import ROOT

WORKER = "tests.services.core.restless_worker"
MEMORY = 256 << 20


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie, for this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def pool_of(**changed: float) -> WorkerPool:
    settings = {"most": 1, "seconds": 20.0, "memory_bytes": MEMORY, "answer_bytes": 1 << 20, **changed}
    return WorkerPool(WORKER, **settings)  # type: ignore[arg-type]


@pytest.fixture
async def pool(place: Path) -> AsyncIterator[WorkerPool]:
    made = pool_of()
    await made.start()
    yield made
    await made.close()
    assert scratches(place) == []


def homes(place: Path) -> list[Path]:
    """The folders of the processes that run."""
    return list(place.glob(f"{PREFIX}*/*"))


def scratches(place: Path) -> list[Path]:
    """What lies where temporary files do."""
    return list(place.iterdir())


async def test_one_process_answers_one_request_after_the_other(pool: WorkerPool) -> None:
    first, second = [await pool.ask({"do": "echo"}, text.encode()) for text in ("one", "zwölf")]
    assert (first["said"], second["said"]) == ("one", "zwölf")
    assert first["pid"] == second["pid"]


async def test_the_size_of_the_service_does_not_wear_its_processes_out(pool: WorkerPool) -> None:
    held = bytearray(b"x") * (700 << 20)
    first, second = [(await pool.ask({"do": "echo"}))["pid"] for _ in range(2)]
    assert first == second
    del held


async def test_what_a_library_prints_is_no_answer(pool: WorkerPool) -> None:
    assert (await pool.ask({"do": "babble"}, b"said"))["said"] == "said"


async def test_a_process_that_dies_is_replaced(pool: WorkerPool, place: Path) -> None:
    with pytest.raises(WorkerDiedError):
        await pool.ask({"do": "die"})
    assert homes(place) == []
    again = await pool.ask({"do": "echo"})
    os.kill(again["pid"], signal.SIGKILL)
    await until(lambda: not _runs(again["pid"]))
    assert (await pool.ask({"do": "echo"}))["pid"] != again["pid"]
    assert len(homes(place)) == 1


async def test_a_process_that_hangs_is_ended(place: Path) -> None:
    hurried = pool_of(seconds=1.0)
    await hurried.start()
    with pytest.raises(TimeoutError):
        await hurried.ask({"do": "sleep"})
    assert homes(place) == []
    await hurried.close()


async def test_a_process_that_has_grown_large_gets_no_more_work_and_one_that_grows_too_large_dies(place: Path) -> None:
    large = pool_of(memory_bytes=1 << 30)
    await large.start()
    pid = (await large.ask({"do": "echo"}))["pid"]
    assert (await large.ask({"do": "grow", "bytes": 600 << 20}))["size"] == 600 << 20
    assert (await large.ask({"do": "echo"}))["pid"] != pid
    with pytest.raises(WorkerDiedError):
        await large.ask({"do": "grow", "bytes": 1 << 30})
    await large.close()


async def test_who_is_cancelled_takes_the_work_with_it(pool: WorkerPool, place: Path) -> None:
    asking = asyncio.create_task(pool.ask({"do": "sleep"}))
    await until(lambda: bool(homes(place)))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert homes(place) == []
    assert (await pool.ask({"do": "echo"}, b"next"))["said"] == "next"


async def test_no_more_processes_run_than_are_allowed(place: Path) -> None:
    two = pool_of(most=2)
    await two.start()
    answers = await asyncio.gather(*(two.ask({"do": "echo"}) for _ in range(6)))
    assert len({answer["pid"] for answer in answers}) <= 2
    assert len(homes(place)) <= 2
    await two.close()


async def test_a_process_sees_no_secrets_and_has_a_home_of_its_own(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setenv("CARAVAN_PROVIDER__DSN", "postgresql://caravan:secret@db/caravan")
    seen = await pool.ask({"do": "environment"})
    assert "CARAVAN_PROVIDER__DSN" not in seen["names"]
    assert [seen["home"]] == [seen["temporary"]] == list(map(str, homes(place)))


async def test_without_a_folder_for_temporary_files_the_service_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(FailedPreconditionError, match="set TMPDIR"):
        await pool_of().start()


async def test_a_killed_process_leaves_nothing(pool: WorkerPool, place: Path) -> None:
    with pytest.raises(WorkerDiedError):
        await pool.ask({"do": "leave"})
    assert homes(place) == []


async def test_a_killed_service_takes_its_processes_with_it_and_a_later_start_sweeps(place: Path) -> None:
    code = (
        "import asyncio\n"
        "from services.core.worker_pool import WorkerPool\n"
        "async def main():\n"
        f"    pool = WorkerPool({WORKER!r}, most=1, seconds=60, memory_bytes={MEMORY}, answer_bytes=65536)\n"
        "    await pool.start()\n"
        "    print((await pool.ask({'do': 'echo'}))['pid'], flush=True)\n"
        "    await pool.ask({'do': 'sleep'})\n"
        "asyncio.run(main())\n"
    )
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env={**os.environ, "TMPDIR": str(place)}, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout is not None
    worker = int(await service.stdout.readline())
    living = pool_of()
    await living.start()
    (left,) = {home.parent for home in homes(place)}
    service.kill()
    await service.wait()
    await until(lambda: not _runs(worker))
    assert left.exists()
    later = pool_of()
    await later.start()
    assert not left.exists()
    assert len(scratches(place)) == 2
    await later.close()
    await living.close()
    assert scratches(place) == []


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
