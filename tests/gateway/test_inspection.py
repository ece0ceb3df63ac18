import asyncio

import grpc
import pytest
from google.protobuf import json_format

from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from caravan.options.v1 import options_pb2
from caravan.registry.v1 import models_pb2, models_pb2_grpc, routes_pb2, routes_pb2_grpc
from tests.gateway.conftest import eventually
from tests.gateway.replica import INFERENCE
from tests.gateway.test_proxy import details_of, refusal

OK, DEGRADED, ERROR = (
    inspect_pb2.HEALTH_STATUS_OK,
    inspect_pb2.HEALTH_STATUS_DEGRADED,
    inspect_pb2.HEALTH_STATUS_ERROR,
)


@pytest.fixture
async def pair(make_gateway, make_replica):
    replicas = [await make_replica(), await make_replica()]
    return await make_gateway({"echo": replicas, "away": ["127.0.0.1:1"]}), replicas


@pytest.fixture
async def inspect(pair):
    return inspect_pb2_grpc.InspectServiceStub(pair[0].channel())


@pytest.fixture
async def routes(pair):
    return routes_pb2_grpc.RoutesServiceStub(pair[0].channel())


async def test_providers_are_listed_with_replicas_health_and_masked_configuration(inspect, pair):
    listed = (await inspect.ListProviders(inspect_pb2.ListProvidersRequest())).data
    assert [provider.provider_id for provider in listed] == ["echo", "away"]
    echo, away = listed
    assert (echo.api, echo.provider_type, echo.health) == (INFERENCE, "inline::echo", OK)
    assert sorted(replica.address for replica in echo.replicas) == sorted(replica.address for replica in pair[1])
    assert json_format.MessageToDict(echo.config) == {"api_key": "********"}
    assert (away.health, away.replicas[0].health) == (ERROR, ERROR)
    assert "does not answer" in away.replicas[0].message


async def test_a_replica_that_is_away_degrades_its_provider(inspect, pair):
    await pair[1][0].stop()

    async def degraded():
        provider = (await inspect.GetProvider(inspect_pb2.GetProviderRequest(provider_id="echo"))).provider
        return provider.health == DEGRADED

    await eventually(degraded)


async def test_an_unknown_provider_is_not_found_and_the_others_are_named(inspect):
    error = await refusal(inspect.GetProvider(inspect_pb2.GetProviderRequest(provider_id="nobody")))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "echo, away" in error.details()


async def test_providers_and_routes_come_in_pages(inspect):
    first = await inspect.ListProviders(inspect_pb2.ListProvidersRequest(page_size=1))
    second = await inspect.ListProviders(
        inspect_pb2.ListProvidersRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [first.data[0].provider_id, second.data[0].provider_id] == ["echo", "away"]
    assert second.next_page_token == ""
    error = await refusal(inspect.ListProviders(inspect_pb2.ListProvidersRequest(page_token="gone")))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_every_routed_method_is_listed_with_who_answers_it(inspect):
    listed = {route.grpc_path: route for route in (await inspect.ListRoutes(inspect_pb2.ListRoutesRequest())).data}
    chat = listed[f"/{INFERENCE}/ChatCompletion"]
    assert (chat.route, chat.method, list(chat.provider_types), chat.gateway) == (
        "/v1/inference/chat-completion",
        "POST",
        ["inline::echo"],
        False,
    )
    assert listed["/caravan.registry.v1.ModelsService/ListModels"].gateway
    assert not any("ProviderService" in path for path in listed)
    assert list(listed) == sorted(listed)


async def test_health_tells_of_providers_and_registry(inspect):
    health = await inspect.Health(inspect_pb2.HealthRequest())
    assert (health.status, dict(health.providers), health.registry) == (DEGRADED, {"echo": OK, "away": ERROR}, OK)
    assert health.snapshot_version > 0


async def test_the_version_is_the_packages(inspect):
    assert (await inspect.Version(inspect_pb2.VersionRequest())).version


async def test_a_resource_resolves_to_replicas_that_can_be_dialled(routes, pair):
    request = routes_pb2.ResolveRequest(kind=options_pb2.RESOURCE_KIND_MODEL, resource_id="echo-1", service=INFERENCE)
    response = await routes.Resolve(request)
    assert sorted(one.address for one in response.endpoints) == sorted(replica.address for replica in pair[1])
    assert (response.provider_id, response.ttl.seconds > 0) == ("echo", True)
    by_service = await routes.Resolve(routes_pb2.ResolveRequest(service=INFERENCE))
    assert by_service.provider_id == "echo"


async def test_a_resource_resolves_to_healthy_replicas_only(routes, pair):
    await pair[1][0].set_serving(False)
    request = routes_pb2.ResolveRequest(kind=options_pb2.RESOURCE_KIND_MODEL, resource_id="echo-1")

    async def only_the_other():
        return [one.address for one in (await routes.Resolve(request)).endpoints] == [pair[1][1].address]

    await eventually(only_the_other)
    await pair[1][1].set_serving(False)

    async def nobody():
        try:
            await routes.Resolve(request)
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details_of(error)

    await eventually(nobody)


async def test_what_cannot_be_resolved_is_refused(routes):
    request = routes_pb2.ResolveRequest(kind=options_pb2.RESOURCE_KIND_MODEL, resource_id="nobody")
    assert (await refusal(routes.Resolve(request))).code() == grpc.StatusCode.NOT_FOUND
    assert (await refusal(routes.Resolve(routes_pb2.ResolveRequest()))).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_watcher_sees_the_snapshot_at_once_and_each_newer_one(routes, pair):
    watch = routes.WatchSnapshot(routes_pb2.WatchSnapshotRequest())
    first = (await watch.read()).snapshot
    assert [route.resource_id for route in first.resources] == ["echo-1"]
    models = models_pb2_grpc.ModelsServiceStub(pair[0].channel())
    await models.RegisterModel(models_pb2.RegisterModelRequest(model_id="mine", provider_id="echo"))
    versions = [first.version]
    while True:
        snapshot = (await watch.read()).snapshot
        versions.append(snapshot.version)
        if "mine" in [route.resource_id for route in snapshot.resources]:
            break
    assert versions == sorted(set(versions))
    watch.cancel()
    late = routes.WatchSnapshot(routes_pb2.WatchSnapshotRequest(known_version=versions[-1] + 1000))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(late.read(), 0.5)
