"""Registration through a gateway, over real Redis and real replicas."""

import asyncio
import time

import grpc
import pytest
import redis
from google.rpc import error_details_pb2, status_pb2

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import (
    entry_pb2,
    memory_banks_pb2,
    memory_banks_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    shields_pb2,
    shields_pb2_grpc,
    tool_groups_pb2,
    tool_groups_pb2_grpc,
)
from gateway.registry.store import TAG
from tests.gateway.conftest import eventually
from tests.gateway.test_proxy import chat, details_of, refusal

SERVED = entry_pb2.AVAILABILITY_SERVED


@pytest.fixture
async def gateway(make_gateway, replica):
    return await make_gateway({"echo": [replica]})


@pytest.fixture
async def models(gateway):
    return models_pb2_grpc.ModelsServiceStub(gateway.channel())


def register(model_id="mine", **fields):
    return models_pb2.RegisterModelRequest(model_id=model_id, **fields)


async def ids(stub, **request):
    response = await stub.ListModels(models_pb2.ListModelsRequest(**request))
    return [model.model_id for model in response.data]


def inference(gateway):
    from caravan.inference.v1 import inference_pb2_grpc

    return inference_pb2_grpc.InferenceServiceStub(gateway.channel())


async def test_a_registered_model_can_be_requested_when_the_call_returns(gateway, models, replica):
    registered = (await models.RegisterModel(register(metadata={"owner": "me"}))).model
    assert (registered.provider_id, registered.provider_model_id) == ("echo", "mine")
    assert registered.model_type == models_pb2.MODEL_TYPE_LLM
    assert registered.metadata["owner"] == "me"
    assert registered.metadata["context_length"] == 4096, "what the provider knows of it is kept"
    assert (registered.entry.revision > 0, registered.entry.availability) == (True, SERVED)
    assert replica.loaded["mine"].model.entry.revision == registered.entry.revision
    await inference(gateway).ChatCompletion(chat(model_id="mine"))
    assert await ids(models) == ["echo-1", "mine"]
    assert (await models.GetModel(models_pb2.GetModelRequest(model_id="mine"))).model == registered


async def test_what_a_provider_serves_by_itself_is_listed_without_a_revision(models):
    model = (await models.GetModel(models_pb2.GetModelRequest(model_id="echo-1"))).model
    assert (model.provider_id, model.entry.revision, model.entry.availability) == ("echo", 0, SERVED)


async def test_an_unregistered_model_is_gone_here_and_at_the_provider(gateway, models, replica):
    await models.RegisterModel(register())
    await models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="mine"))
    assert await ids(models) == ["echo-1"]
    error = await refusal(inference(gateway).ChatCompletion(chat(model_id="mine")))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    await eventually(lambda: not replica.loaded)


@pytest.mark.parametrize("call", ["GetModel", "UnregisterModel"])
async def test_an_unknown_model_is_not_found_and_named(models, call):
    error = await refusal(getattr(models, call)(getattr(models_pb2, f"{call}Request")(model_id="nobody")))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert details_of(error)["ResourceInfo"].resource_name == "nobody"


async def test_what_a_provider_serves_by_itself_cannot_be_unregistered(models):
    error = await refusal(models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="echo-1")))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_the_same_registration_again_returns_the_first(models, replica):
    first = (await models.RegisterModel(register(metadata={"a": 1}))).model
    again = (await models.RegisterModel(register(metadata={"a": 1}))).model
    named = (await models.RegisterModel(register(metadata={"a": 1}, provider_id="echo"))).model
    assert first == again == named
    assert replica.loads == 1


async def test_a_different_registration_under_the_same_identifier_is_refused(models):
    await models.RegisterModel(register(metadata={"a": 1}))
    error = await refusal(models.RegisterModel(register(metadata={"a": 2})))
    assert error.code() == grpc.StatusCode.ALREADY_EXISTS
    assert details_of(error)["ResourceInfo"].resource_name == "mine"


async def test_the_name_of_what_a_provider_serves_by_itself_is_taken(models):
    same = (await models.RegisterModel(register("echo-1"))).model
    assert same.entry.revision == 0
    error = await refusal(models.RegisterModel(register("echo-1", provider_model_id="other")))
    assert error.code() == grpc.StatusCode.ALREADY_EXISTS


async def test_a_repeated_request_id_returns_the_first_answer_even_after_unregistering(models, replica):
    first = (await models.RegisterModel(register(request_id="r1"))).model
    await models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="mine", request_id="u1"))
    again = (await models.RegisterModel(register(request_id="r1"))).model
    assert again.entry.revision == first.entry.revision
    assert replica.loads == 1
    await models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="mine", request_id="u1"))


async def test_a_request_id_used_for_something_else_is_an_invalid_argument(models):
    await models.RegisterModel(register(request_id="r1"))
    error = await refusal(models.RegisterModel(register("other", request_id="r1")))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)["BadRequest"].field_violations[0].field == "request_id"


async def test_a_stale_revision_is_aborted_and_the_right_one_is_not(models):
    registered = (await models.RegisterModel(register())).model
    request = models_pb2.UnregisterModelRequest(model_id="mine", revision=registered.entry.revision + 1)
    error = await refusal(models.UnregisterModel(request))
    assert error.code() == grpc.StatusCode.ABORTED
    request.revision = registered.entry.revision
    await models.UnregisterModel(request)


async def test_revisions_grow_over_registrations_of_one_name(models):
    first = (await models.RegisterModel(register())).model.entry.revision
    await models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="mine"))
    assert (await models.RegisterModel(register())).model.entry.revision > first


async def test_a_refusal_of_the_provider_passes_with_its_code_and_details_and_registers_nothing(models, replica):
    replica.refuse_load = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = await refusal(models.RegisterModel(register()))
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "it does not fit")
    details = details_of(error)
    assert (details["ErrorInfo"].reason, details["RetryInfo"].retry_delay.seconds) == ("NO_FIT", 7)
    assert await ids(models) == ["echo-1"]
    replica.refuse_load = None
    await models.RegisterModel(register())


async def test_two_registrations_of_one_name_at_once_do_not_both_load(models, replica):
    replica.load_seconds = 0.3
    results = await asyncio.gather(
        models.RegisterModel(register(metadata={"a": 1})),
        models.RegisterModel(register(metadata={"a": 2})),
        return_exceptions=True,
    )
    (error,) = (one for one in results if isinstance(one, grpc.aio.AioRpcError))
    assert error.code() == grpc.StatusCode.ABORTED
    assert replica.loads == 1


async def test_a_registration_that_its_caller_gives_up_leaves_nothing_behind(models, replica):
    replica.load_seconds = 0.5
    error = await refusal(models.RegisterModel(register(), timeout=0.2))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    replica.load_seconds = 0.0
    await asyncio.sleep(0.6)
    await eventually(lambda: not replica.loaded)
    await eventually(lambda: _can_register(models))


async def _can_register(models):
    try:
        await models.RegisterModel(register())
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.ABORTED:
            raise
        return False
    return True


async def test_a_page_ends_where_the_next_begins(models):
    for name in ("a", "b", "c", "d"):
        await models.RegisterModel(register(name))
    found, token = [], ""
    while True:
        page = await models.ListModels(models_pb2.ListModelsRequest(page_size=2, page_token=token))
        found.append([model.model_id for model in page.data])
        token = page.next_page_token
        if not token:
            break
    assert found == [["a", "b"], ["c", "d"], ["echo-1"]]
    assert await ids(models, provider_id="nobody") == []


async def test_requests_are_validated(models):
    error = await refusal(models.RegisterModel(register("no spaces please")))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)["BadRequest"].field_violations[0].field == "model_id"


# Which provider.


async def test_with_several_providers_one_must_be_named(make_gateway, make_replica):
    a, b = await make_replica("a", models=("m-a",)), await make_replica("b", models=("m-b",))
    gateway = await make_gateway({"a": [a], "b": [b]})
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    error = await refusal(models.RegisterModel(register()))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)["BadRequest"].field_violations[0].field == "provider_id"
    assert "a, b" in error.details()
    assert (await models.RegisterModel(register(provider_id="b"))).model.provider_id == "b"
    assert (list(a.loaded), list(b.loaded)) == ([], ["mine"])
    error = await refusal(models.RegisterModel(register("x", provider_id="c")))
    assert error.code() == grpc.StatusCode.NOT_FOUND


async def test_a_provider_that_cannot_load_the_kind_is_not_chosen(make_gateway, make_replica):
    a, b = await make_replica("a", models=("m-a",)), await make_replica("b", models=("m-b",))
    a.loadable = ()
    gateway = await make_gateway({"a": [a], "b": [b]})
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    assert (await models.RegisterModel(register())).model.provider_id == "b"


async def test_without_a_provider_that_can_load_it_a_registration_fails_for_good(models, replica, gateway):
    shields = shields_pb2_grpc.ShieldsServiceStub(gateway.channel())
    error = await refusal(shields.RegisterShield(shields_pb2.RegisterShieldRequest(shield_id="s")))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_no_live_replica_is_unavailable(make_gateway, replica):
    gateway = await make_gateway({"echo": [replica]}, poll_seconds=0.1)
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await replica.stop()
    await eventually(lambda: not gateway.worker._follower.view.snapshot.providers[0].endpoints[0].healthy)
    error = await refusal(models.RegisterModel(register()))
    assert error.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", ["shield", "memory_bank", "tool_group"])
async def test_the_other_kinds_are_kept_too(gateway, replica, kind):
    """The replica of these tests loads models only, so these go through the store and the view alone."""
    from gateway.registry.kinds import KINDS, fingerprint, key_of

    (which,) = (one for one in KINDS if one.member == kind)
    entry = which.entry_class(**{which.id_field: "mine", "provider_id": "echo"})
    resource = which.resource(entry)
    key = key_of(resource)
    store = gateway.worker._store
    claim = await store.claim(key, fingerprint(entry), "")
    getattr(resource, kind).entry.revision = claim.revision
    assert await store.commit(key, claim, fingerprint(entry), resource, "")
    stubs = {
        "shield": (shields_pb2_grpc.ShieldsServiceStub, "ListShields", shields_pb2.ListShieldsRequest),
        "memory_bank": (
            memory_banks_pb2_grpc.MemoryBanksServiceStub,
            "ListMemoryBanks",
            memory_banks_pb2.ListMemoryBanksRequest,
        ),
        "tool_group": (
            tool_groups_pb2_grpc.ToolGroupsServiceStub,
            "ListToolGroups",
            tool_groups_pb2.ListToolGroupsRequest,
        ),
    }
    stub, method, request = stubs[kind]
    call = getattr(stub(gateway.channel()), method)

    async def listed():
        return (await call(request())).data

    (found,) = await eventually(listed)
    assert which.id_of(found) == "mine"


# Several gateways, and Redis that goes away.


async def test_two_gateways_see_each_others_registrations_within_a_second(make_gateway, replica):
    one, two = await make_gateway({"echo": [replica]}), await make_gateway({"echo": [replica]})
    first, second = (models_pb2_grpc.ModelsServiceStub(gateway.channel()) for gateway in (one, two))
    assert one.worker._control.leading != two.worker._control.leading
    for number, (here, there, other) in enumerate([(first, second, two), (second, first, one)]):
        name = f"mine-{number}"
        await here.RegisterModel(register(name))
        started = time.monotonic()
        assert (await there.GetModel(models_pb2.GetModelRequest(model_id=name))).model.model_id == name
        await eventually(lambda model=name, gateway=other: _answers(gateway, model), 1)
        assert time.monotonic() - started < 1


async def _answers(gateway, model):
    try:
        return await inference(gateway).ChatCompletion(chat(model_id=model))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


async def test_when_the_control_loop_dies_another_gateway_takes_over(make_gateway, replica):
    one, two = await make_gateway({"echo": [replica]}), await make_gateway({"echo": [replica]})
    leader, other = (one, two) if one.worker._control.leading else (two, one)
    # As a killed process would: it gives nothing up.
    for task in leader.worker._tasks:
        task.cancel()
    leader.worker._control._leave = lambda: asyncio.sleep(0)
    await eventually(lambda: other.worker._control.leading, 5)
    await models_pb2_grpc.ModelsServiceStub(other.channel()).RegisterModel(register())


async def test_a_publisher_that_lost_the_lease_publishes_nothing(gateway):
    store = gateway.worker._store
    before = await store.published_version()
    assert await store.publish("somebody", 1, before, {"snapshot": b""}) == 0
    assert await store.published_version() == before


async def test_an_emptied_store_does_not_turn_versions_back(gateway, models, valkey):
    await models.RegisterModel(register())
    before = gateway.worker._follower.view.version
    valkey.flush()
    await eventually(lambda: gateway.worker._follower.view.version > before)
    await eventually(lambda: _ids_are(models, ["echo-1"]))


async def _ids_are(models, expected):
    return await ids(models) == expected


@pytest.mark.faults
async def test_while_redis_is_away_calls_go_on_and_changes_are_unavailable(make_gateway, replica):
    from tests.support.valkey import valkey_server

    with valkey_server(durable=True) as server:
        gateway = await make_gateway({"echo": [replica]}, redis_url=server.url)
        models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
        await models.RegisterModel(register())
        server.kill()
        await inference(gateway).ChatCompletion(chat(model_id="mine"))
        assert await ids(models) == ["echo-1", "mine"]
        error = await refusal(models.RegisterModel(register("other")))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert details_of(error)["RetryInfo"].retry_delay.seconds == 1
        error = await refusal(inference(gateway).ChatCompletion(chat(model_id="nobody")))
        assert error.code() == grpc.StatusCode.NOT_FOUND
        await eventually(lambda: not gateway.worker._follower.store_answers)
        server.start()
        await eventually(lambda: _registers(models, "other"), 15)
        assert await ids(models) == ["echo-1", "mine", "other"]


async def _registers(models, name):
    try:
        await models.RegisterModel(register(name))
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED):
            raise
        return False
    return True


@pytest.mark.faults
async def test_a_gateway_that_starts_while_redis_is_away_waits_and_then_routes_what_was_registered(
    make_gateway, replica
):
    from tests.support.valkey import valkey_server

    with valkey_server(durable=True) as server:
        first = await make_gateway({"echo": [replica]}, redis_url=server.url)
        await models_pb2_grpc.ModelsServiceStub(first.channel()).RegisterModel(register())
        await first.worker.stop()
        server.kill()
        second = await make_gateway({"echo": [replica]}, redis_url=server.url, wait=False)
        error = await refusal(inference(second).ChatCompletion(chat(model_id="mine")))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        server.start()
        await asyncio.wait_for(second.worker.wait_ready(), 10)
        assert (await answered_by_model(second, "mine")).startswith(replica.address)


async def answered_by_model(gateway, model_id):
    response = await inference(gateway).ChatCompletion(chat(model_id=model_id))
    return response.completion_message.content.items[0].text


async def test_all_keys_share_one_hash_tag(models, valkey):
    await models.RegisterModel(register(request_id="r1"))
    with redis.Redis(port=valkey.port) as client:
        assert all(key.decode().startswith(TAG) for key in client.scan_iter())
        assert 0 < client.ttl(f"{TAG}:request:register:r1") <= 24 * 3600


# The control loop's side.


async def test_a_restarted_replica_gets_what_is_registered_again(make_gateway, make_replica):
    replica = await make_replica()
    gateway = await make_gateway({"echo": [replica]})
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await models.RegisterModel(register())
    await replica.stop()
    again = await make_replica(listen=replica.address)
    await eventually(lambda: "mine" in again.loaded)

    async def answers():
        try:
            return await answered_by_model(gateway, "mine")
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
                raise
            return None

    await eventually(answers)


async def test_a_second_replica_gets_what_is_registered_and_stale_things_are_unloaded(make_gateway, make_replica):
    first, second = await make_replica(), await make_replica()

    leftover = providers_pb2.Resource(
        model=models_pb2.Model(model_id="leftover", entry=entry_pb2.RegistryEntry(revision=3))
    )
    second.loaded["leftover"] = leftover
    gateway = await make_gateway({"echo": [first, second]})
    await eventually(lambda: not second.loaded)
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await models.RegisterModel(register())
    assert ("mine" in first.loaded, "mine" in second.loaded) == (True, True)


async def test_one_replica_that_refuses_does_not_stop_a_registration_and_is_asked_again(make_gateway, make_replica):
    first, second = await make_replica(), await make_replica()
    second.refuse_load = grpc.StatusCode.FAILED_PRECONDITION
    gateway = await make_gateway({"echo": [first, second]})
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await models.RegisterModel(register())
    stub = inference(gateway)
    for number in range(10):
        request = chat(f"{number}", "mine")
        assert (await stub.ChatCompletion(request)).completion_message.content.items[0].text.startswith(first.address)
    from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc

    inspect = inspect_pb2_grpc.InspectServiceStub(gateway.channel())

    async def warned():
        provider = (await inspect.GetProvider(inspect_pb2.GetProviderRequest(provider_id="echo"))).provider
        return [warning for warning in provider.warnings if "it does not fit" in warning]

    assert await eventually(warned)
    second.refuse_load = None
    await eventually(lambda: "mine" in second.loaded)
    await eventually(lambda: _not(warned))


async def _not(condition):
    return not await condition()


async def test_a_name_that_two_providers_serve_belongs_to_the_first_and_is_reported(make_gateway, make_replica):
    a, b = await make_replica("a"), await make_replica("b")
    gateway = await make_gateway({"a": [a], "b": [b]})
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    assert (await models.GetModel(models_pb2.GetModelRequest(model_id="echo-1"))).model.provider_id == "a"
    provider = gateway.worker._follower.view.provider("b")
    assert "echo-1" in provider.warnings[0]
    request = register("echo-of-b", provider_model_id="echo-1", provider_id="b")
    await models.RegisterModel(request)
    assert (await answered_by_model(gateway, "echo-of-b")).startswith(b.address)


async def test_what_is_refused_is_told_as_status_details(models):
    error = await refusal(models.GetModel(models_pb2.GetModelRequest(model_id="nobody")))
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "caravan"


async def test_what_was_published_is_published_again_when_the_store_loses_it(gateway, valkey):
    with redis.Redis(port=valkey.port) as client:
        client.delete(f"{TAG}:published")
        await eventually(lambda: client.hget(f"{TAG}:published", "snapshot"))


async def test_a_loop_that_lost_its_lease_for_a_moment_publishes_when_it_has_it_again(make_gateway, replica, valkey):
    gateway = await make_gateway({"echo": [replica]}, wait=False)
    for _ in range(5):
        valkey.flush()
        await asyncio.sleep(0.05)
    await asyncio.wait_for(gateway.worker.wait_ready(), 10)
    valkey.flush()
    await eventually(lambda: _published(valkey))


def _published(valkey):
    with redis.Redis(port=valkey.port) as client:
        return client.hget(f"{TAG}:published", "snapshot")


async def test_a_gateway_that_died_while_registering_blocks_the_name_only_for_a_while(gateway, monkeypatch):
    monkeypatch.setattr("gateway.registry.store.CLAIM_MILLISECONDS", 300)
    store, key = gateway.worker._store, (options_pb2.RESOURCE_KIND_MODEL, "mine")
    claim = await store.claim(key, "0" * 64, "")
    for _ in range(3):
        await asyncio.sleep(0.2)
        await store.renew(key, claim)
    assert (await store.claim(key, "1" * 64, "")).outcome == "busy"
    await asyncio.sleep(0.4)
    second = await store.claim(key, "1" * 64, "")
    assert second.outcome == "claimed"
    resource = providers_pb2.Resource(model=models_pb2.Model(model_id="mine", provider_id="echo"))
    assert not await store.commit(key, claim, "0" * 64, resource, "")
    await store.release(key, claim)
    assert await store.commit(key, second, "1" * 64, resource, "")
