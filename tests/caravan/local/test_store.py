import asyncio
import os
import signal
import stat

import pytest
import redis

from caravan.local import store
from caravan.local.layout import claim
from caravan.local.plan import Wish
from caravan.local.problems import StackError
from caravan.local.programs import Programs
from caravan.local.supervisor import Member, Phase, Restarts, guarded
from tests.caravan.local.test_supervisor import Watcher, until


async def test_the_store_keeps_what_it_was_given_when_it_is_killed(tmp_path):
    with claim(tmp_path) as layout:
        program, url = Programs(Wish(), layout, offline=True).store()

        async def ready(_: str) -> bool:
            return await store.answers(url)

        async with guarded(Watcher(), Restarts(initial_delay=0.05)) as supervisor:
            member = Member("store", "", lambda _: program, ready, wave=0, announces=False)
            await supervisor.bring_up(member)
            await store.require(url)
            with redis.from_url(url) as client:
                client.set("key", "value")
            await asyncio.sleep(1.1)  # it is durable to the last second
            assert stat.S_IMODE((layout.configs / "store.conf").stat().st_mode) == 0o600
            assert not await store.answers(url.replace(url.partition("@")[0], "redis://:wrong"))
            first = member.child.process.pid
            os.kill(first, signal.SIGKILL)
            await until(lambda: member.child.process.pid != first and member.phase is Phase.READY)
            with redis.from_url(url) as client:
                assert client.get("key") == b"value"


async def test_a_server_that_does_not_answer_is_told():
    with pytest.raises(StackError, match="no Redis server answers"):
        await store.require("redis://127.0.0.1:1/0")
    with pytest.raises(StackError, match="no URL of a Redis server"):
        await store.require("localhost:6379")
