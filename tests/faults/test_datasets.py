"""Data sets while who writes them, or the store, is killed: what was acknowledged is there, whole, and nothing else is."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from caravan.datasets.v1 import datasets_pb2
from tests.faults.datasets_writer import row
from tests.services.post_training.datasets.server import Served, digest_of, served
from tests.support.eventually import until
from tests.support.processes import ROOT
from tests.support.valkey import ValkeyServer, valkey_server

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def expected(revision: int) -> list[dict[str, object]]:
    """The rows that the writer's data set has at a revision."""
    texts = [row(0)]
    for number in range(2, revision + 1):
        texts += [row(number * 1000 + place) for place in range(number % 7 + 1)]
    return [json.loads(text) for text in texts]


async def written(valkey: ValkeyServer, folder: Path, name: str, seconds: float) -> int:
    """Runs a writer for some time and kills it; returns the last revision that was acknowledged."""
    command = (sys.executable, "-m", "tests.faults.datasets_writer", valkey.url, str(folder), name)
    writer = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert writer.stdout is not None
    assert (await writer.stdout.readline()).startswith(b"trying")
    await asyncio.sleep(seconds)
    writer.send_signal(signal.SIGKILL)
    rest = await writer.stdout.read()
    await writer.wait()
    done = [line for line in rest.decode().splitlines() if line.startswith("done")]
    return int(done[-1].split()[2]) if done else 0


async def check(service: Served, name: str, acknowledged: int) -> None:
    """What was acknowledged is there; at most the one that ran is beyond it; every revision is whole."""
    found = {one.dataset_id: one async for one in _all(service)}
    if name not in found:
        assert acknowledged == 0
        return
    newest = found[name].current
    assert acknowledged <= newest.revision <= acknowledged + 1
    for revision in {1, newest.revision // 2 or 1, newest.revision}:
        rows = await service.rows(name, revision=revision)
        assert rows == expected(revision)
    assert newest.sha256 == digest_of(expected(newest.revision))
    assert newest.row_count == len(expected(newest.revision))


async def _all(service: Served):
    page = await service.sets.ListDatasets(datasets_pb2.ListDatasetsRequest(page_size=1000))
    for one in page.data:
        yield one


async def test_a_writer_that_is_killed_at_any_time_leaves_whole_data_sets(tmp_path: Path):
    chance = random.Random(os.getpid())
    with valkey_server(durable=True) as valkey:
        async with served(valkey, tmp_path) as service:
            for number in range(4):
                name = f"killed-{number}"
                await check(service, name, await written(valkey, tmp_path, name, chance.uniform(0.0, 0.4)))
                # Whoever comes next can go on where it stood, or begin.
                if name in {one.dataset_id async for one in _all(service)}:
                    current = await service.append(name, [{"n": 1, "text": ""}])
                    assert len(await service.rows(name)) == current.row_count


async def test_a_store_that_is_killed_under_load_loses_no_acknowledged_row(tmp_path: Path):
    with valkey_server(durable=True) as valkey:
        async with served(valkey, tmp_path, retry=20.0) as service:
            made = await service.create([{"n": 0}])
            acknowledged = [made.current]

            async def append() -> None:
                for number in range(1, 60):
                    request_id = f"{made.dataset_id}-{number}"
                    acknowledged.append(await service.append(made.dataset_id, [{"n": number}], request_id=request_id))

            appending = asyncio.create_task(append())
            for _ in range(2):
                await asyncio.sleep(0.1)
                valkey.kill()
                await asyncio.sleep(0.2)
                await asyncio.to_thread(valkey.start)
            await appending
            assert [one.revision for one in acknowledged] == list(range(1, 61))
            rows = await service.rows(made.dataset_id)
            assert rows == [{"n": number} for number in range(60)]
            assert acknowledged[-1].sha256 == digest_of(rows)


async def test_a_service_that_is_killed_takes_its_import_with_it(tmp_path: Path):
    # The import runs in a process of its own, which must not outlive the service.
    code = (
        "import asyncio, os, sys, time\n"
        "from services.post_training.datasets.workers import Workers\n"
        "async def main():\n"
        "    worker = await Workers(1, 60.0, 1 << 30)._worker()\n"
        "    print(worker.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert service.stdout is not None
    worker = int(await service.stdout.readline())
    await asyncio.sleep(1.0)
    service.kill()
    await service.wait()
    await until(lambda: not _runs(worker))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
