"""The registry's store when answers get lost: what was done and not answered is sent again, and nothing is done twice."""

from collections.abc import AsyncIterator

import pytest
import redis
from pydantic import SecretStr

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from gateway.registry.store import RegistryStore
from services.core.errors import InternalError, UnavailableError
from services.core.redis.scripts import load_scripts
from tests.support.redis_tap import RedisTap, redis_tap
from tests.support.valkey import valkey_server

KEY = (options_pb2.RESOURCE_KIND_MODEL, "mine")
PRINT = "0" * 64
RESOURCE = providers_pb2.Resource(model=models_pb2.Model(model_id="mine", provider_id="echo"))
DIGESTS = {script.digest.encode(): name for name, script in load_scripts("gateway.registry").items()}


@pytest.fixture
async def tap(redis_url: str, valkey) -> AsyncIterator[RedisTap]:
    async with redis_tap(valkey.port, DIGESTS) as made:
        yield made


@pytest.fixture
async def store(tap: RedisTap) -> AsyncIterator[RegistryStore]:
    made = RegistryStore(SecretStr(f"redis://127.0.0.1:{tap.port}/0"))
    # From here on the server knows all scripts, and a script is one round trip.
    for name in ("first", "second"):
        claim = await made.claim((KEY[0], name), PRINT, "")
        await made.commit((KEY[0], name), claim, PRINT, RESOURCE, "")
        await made.remove((KEY[0], name), None, "")
    yield made
    await made.close()


def lose_next_answer(tap: RedisTap) -> None:
    tap.cut_at(len(tap.writes) + 1, after=True, cut=lambda: None)


async def test_a_claim_whose_answer_was_lost_is_the_callers_own(store, tap):
    lose_next_answer(tap)
    claim = await store.claim(KEY, PRINT, "")
    assert claim.outcome == "claimed"
    assert await store.commit(KEY, claim, PRINT, RESOURCE, "")


async def test_a_commit_whose_answer_was_lost_has_been_made(store, tap):
    claim = await store.claim(KEY, PRINT, "")
    lose_next_answer(tap)
    assert await store.commit(KEY, claim, PRINT, RESOURCE, "")
    assert KEY in (await store.records()).resources


@pytest.mark.parametrize("request_id", ["", "r1"])
async def test_a_removal_whose_answer_was_lost_has_been_made(store, tap, request_id):
    claim = await store.claim(KEY, PRINT, "")
    await store.commit(KEY, claim, PRINT, RESOURCE, "")
    lose_next_answer(tap)
    assert (await store.remove(KEY, None, request_id)).outcome in ("removed", "repeated")
    assert KEY not in (await store.records()).resources
    assert (await store.remove(KEY, None, "")).outcome == "absent"


async def test_a_store_that_is_away_is_named():
    store = RegistryStore(SecretStr("redis://127.0.0.1:1/0"))
    for call in (store.ping(), store.marks(), store.hold_lease("me", 1000), anext(store.news())):
        with pytest.raises(UnavailableError, match="the registry's store") as caught:
            await call
        assert caught.value.reason == "REGISTRY_UNAVAILABLE"
    await store.close()


async def test_a_store_that_refuses_the_password_is_named_without_it():
    with valkey_server() as locked:
        with redis.Redis(port=locked.port) as client:
            client.config_set("requirepass", "right")
        store = RegistryStore(SecretStr(f"redis://:wr0ng@127.0.0.1:{locked.port}/0"))
        with pytest.raises(InternalError, match="the registry's store") as caught:
            await store.marks()
        assert (caught.value.reason, "wr0ng" in caught.value.message) == ("REGISTRY_STORE", False)
        await store.close()
