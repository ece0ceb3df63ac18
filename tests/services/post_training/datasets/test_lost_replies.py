"""A store that has done what it was told, and whose answer is lost on the way: it is told again, and no row is lost."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from services.core.redis.scripts import load_scripts
from tests.services.post_training.datasets.server import served
from tests.support.redis_tap import redis_tap
from tests.support.valkey import ValkeyServer


@pytest.mark.parametrize("request_id", ["", "once"])
async def test_a_lost_answer_of_the_store_costs_no_row(valkey: ValkeyServer, tmp_path: Path, request_id: str):
    scripts = load_scripts("services.post_training.datasets")
    digests = {scripts[name].digest.encode(): name for name in ("create", "append")}
    async with redis_tap(valkey.port, digests) as tap:
        store = SimpleNamespace(url=f"redis://127.0.0.1:{tap.port}/0")
        async with served(store, tmp_path) as service:  # type: ignore[arg-type]
            # Once without a loss, so that the store knows the scripts.
            await service.append((await service.create([{"n": 0}])).dataset_id, [{"n": 1}])
            tap.cut_at(len(tap.writes) + 1, after=True, cut=lambda: None)
            name = f"lost-{request_id}"
            made = await service.create([{"n": 0}], dataset_id=name, request_id=request_id and "create")
            tap.cut_at(len(tap.writes) + 1, after=True, cut=lambda: None)
            added = await service.append(name, [{"n": 1}], request_id=request_id and "append")
            assert tap.writes[-4:] == ["create", "create", "append", "append"]
            assert (made.current.revision, added.revision) == (1, 2)
            assert await service.rows(name) == [{"n": 0}, {"n": 1}]
            await service.part._sweeping.sweep()
            assert await service.rows(name) == [{"n": 0}, {"n": 1}]
