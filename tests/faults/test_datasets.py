"""Data sets while who writes them, or the store, is killed: what was acknowledged is there, whole, and nothing else is."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from caravan.datasets.v1 import datasets_pb2
from tests.faults.datasets_writer import row
from tests.services.post_training.datasets.server import Served, digest_of, refused, served
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


async def test_an_import_whose_process_is_killed_is_refused_and_leaves_nothing(tmp_path: Path):
    content = b"".join(b'{"n": %d, "text": "row"}\n' % number for number in range(400_000))
    with valkey_server() as valkey:
        async with served(valkey, tmp_path) as service:
            uploading = asyncio.create_task(refused(service.upload(content, "rows.jsonl")))
            await until(lambda: bool(_workers()))
            await asyncio.sleep(0.3)
            for worker in _workers():
                os.kill(worker, signal.SIGKILL)
            error = await uploading
            assert (error.reason, list(error.fields)) == ("DATASET_UNREADABLE", ["data"])
            assert service.files() == []
            assert (await service.upload(b'{"n": 1}\n', "rows.jsonl")).current.row_count == 1


def _workers() -> list[int]:
    """The processes that read rows for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"datasets.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
