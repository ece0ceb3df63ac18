"""Which shields guard which model, followed from a registry on loopback that answers as a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from caravan.registry.v1 import shields_pb2, shields_pb2_grpc
from services.core.errors import UnavailableError
from services.core.gateway import Gateway, GatewaySettings
from services.inference.shields_following import ShieldFollower
from tests.support.eventually import until


class Registry(shields_pb2_grpc.ShieldsServiceServicer):
    """Lists `shields`, one a page, or fails."""

    def __init__(self) -> None:
        self.shields: list[shields_pb2.Shield] = []
        self.fails = False
        self.asked = 0
        self.address = ""

    async def ListShields(self, request: shields_pb2.ListShieldsRequest, context: Any) -> Any:
        self.asked += 1
        if self.fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        place = int(request.page_token or 0)
        page = self.shields[place : place + 1]
        token = str(place + 1) if place + 1 < len(self.shields) else ""
        return shields_pb2.ListShieldsResponse(data=page, next_page_token=token)

    async def polled(self) -> None:
        """Waits until the list has been read as it is now."""
        asked = self.asked
        await until(lambda: self.asked > asked + len(self.shields) + 1)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made, server = Registry(), grpc.aio.server()
    shields_pb2_grpc.add_ShieldsServiceServicer_to_server(made, server)
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield made
    await server.stop(None)


@pytest.fixture
async def follower(registry: Registry) -> AsyncIterator[ShieldFollower]:
    gateway = Gateway(GatewaySettings(address=registry.address))
    made = ShieldFollower(gateway, poll_seconds=0.05)
    yield made
    await made.close()
    await gateway.close()


def shield(shield_id: str, *models: str, revision: int = 1, **params: Any) -> shields_pb2.Shield:
    made = shields_pb2.Shield(shield_id=shield_id, provider_id="p", always_on_model_ids=models)
    made.params.update(params)
    made.entry.revision = revision
    return made


def ids(follower: ShieldFollower, *names: str) -> Sequence[str]:
    return [one.shield_id for one in follower.guarding(names)]


async def test_nothing_is_let_through_before_the_list_was_read(registry: Registry, follower: ShieldFollower):
    registry.fails = True
    follower.start()
    await until(lambda: registry.asked > 1)
    with pytest.raises(UnavailableError) as caught:
        follower.guarding(["m"])
    assert caught.value.reason == "SHIELDS_UNKNOWN"


async def test_the_list_is_read_page_by_page_and_followed(registry: Registry, follower: ShieldFollower):
    registry.shields = [shield("b", "m"), shield("c"), shield("a", "*", fail_open=True), shield("d", "m", "n")]
    follower.start()
    await until(lambda: follower.generation > 0)
    assert ids(follower, "m") == ["a", "b", "d"]
    assert ids(follower, "n") == ["a", "d"]
    assert ids(follower, "other") == ["a"]
    assert [one.fails_open for one in follower.guarding(["m"])] == [True, False, False]
    registry.shields = []
    await until(lambda: not follower.guarding(["m"]))


async def test_the_last_known_list_stays_in_force_while_it_cannot_be_read(registry: Registry, follower: ShieldFollower):
    registry.shields = [shield("a", "m")]
    follower.start()
    await until(lambda: follower.generation > 0)
    registry.fails, registry.shields = True, []
    await registry.polled()
    assert ids(follower, "m") == ["a"]
    registry.fails = False
    await until(lambda: not follower.guarding(["m"]))


async def test_a_providers_own_shield_stays_when_it_is_no_longer_listed(registry: Registry, follower: ShieldFollower):
    registry.shields = [shield("own", "m", revision=0)]
    follower.start()
    await until(lambda: follower.generation > 0)
    registry.shields = []
    await registry.polled()
    assert ids(follower, "m") == ["own"]
    registry.shields = [shield("own", revision=0)]
    await until(lambda: not follower.guarding(["m"]))


async def test_a_list_that_does_not_change_changes_nothing(registry: Registry, follower: ShieldFollower):
    registry.shields = [shield("a", "m")]
    follower.start()
    await until(lambda: follower.generation > 0)
    await registry.polled()
    await asyncio.sleep(0)
    assert follower.generation == 1
