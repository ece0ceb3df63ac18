"""What processes that died have left on the disk goes, and nothing else does."""

import os
from pathlib import Path

import pytest

from services.core.redis.connection import ConnectionSettings
from services.post_training.datasets.redis_store import RedisDatasetStore
from services.post_training.datasets.sweeping import Sweeping
from services.post_training.storage import Storage, new_name
from services.post_training.store import connect
from tests.services.post_training.datasets.server import Served, served
from tests.support.valkey import ValkeyServer, valkey_server

DAY = 24 * 3600.0


@pytest.fixture
def valkey():
    # One of its own: what the store knows of the folder is what this is about.
    with valkey_server() as server:
        yield server


@pytest.fixture
async def sweeping(valkey: ValkeyServer, tmp_path: Path):
    connection = connect(ConnectionSettings(redis_url=valkey.url))
    yield Sweeping(Storage(tmp_path), RedisDatasetStore(connection), seconds=DAY, grace_seconds=DAY)
    await connection.close()


def leftovers(service: Served, folder: Path) -> list[Path]:
    """What a process leaves that is killed while it uploads, imports or appends."""
    orphan = service.storage.datasets / new_name()
    orphan.mkdir()
    left = [
        service.storage.spool / new_name(),
        orphan / f"{new_name()}.jsonl.part",
        folder / f"{new_name()}.jsonl",
        folder / f"{new_name()}.index.part",
    ]
    for path in left:
        path.write_bytes(b"x")
    return left


def age(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, (1, 1))


async def test_old_leftovers_go_and_rows_stay(valkey: ValkeyServer, tmp_path: Path, sweeping: Sweeping):
    async with served(valkey, tmp_path) as service:
        made = await service.create([{"a": 1}])
        await service.append(made.dataset_id, [{"a": 2}])
        kept = service.files()
        left = leftovers(service, kept[0].parent)
        assert await sweeping.sweep() == 0, "they are young"
        age(service.storage.datasets)
        age(service.storage.spool)
        young = leftovers(service, kept[0].parent)
        assert await sweeping.sweep() == 4
        assert service.files() == sorted([*kept, *young])
        assert not any(path.exists() for path in left)
        assert await service.rows(made.dataset_id) == [{"a": 1}, {"a": 2}]


async def test_a_store_that_came_back_empty_costs_no_row(valkey: ValkeyServer, tmp_path: Path, sweeping: Sweeping):
    async with served(valkey, tmp_path) as service:
        await service.create([{"a": 1}])
        await sweeping.sweep()
        kept = service.files()
        age(service.storage.datasets)
        valkey.flush()
        assert await sweeping.sweep() == 0
        # Nor when it is used again: the folder is not the one that it knows.
        made = await service.create([{"a": 2}])
        age(service.storage.datasets)
        assert await sweeping.sweep() == 0
        assert set(kept) < set(service.files())
        assert await service.rows(made.dataset_id) == [{"a": 2}]


async def test_a_folder_of_another_store_is_left_alone(valkey: ValkeyServer, tmp_path: Path, sweeping: Sweeping):
    stranger = tmp_path / "datasets" / new_name()
    stranger.mkdir(parents=True)
    (tmp_path / "spool").mkdir()
    (stranger / "rows.jsonl").write_bytes(b"{}\n")
    age(tmp_path)
    assert await sweeping.sweep() == 0
    assert (stranger / "rows.jsonl").exists()
