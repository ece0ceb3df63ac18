"""What a provider keeps for a resource goes when its user unregisters it, and only then."""

import grpc
import pytest

from caravan.options.v1 import options_pb2
from caravan.registry.v1 import memory_banks_pb2, memory_banks_pb2_grpc, models_pb2, models_pb2_grpc
from tests.gateway.conftest import eventually
from tests.support.requests import reason

BANK = options_pb2.RESOURCE_KIND_MEMORY_BANK


def register(bank_id="notes"):
    params = memory_banks_pb2.MemoryBankParams(keyvalue={})
    return memory_banks_pb2.RegisterMemoryBankRequest(
        memory_bank_id=bank_id, provider_memory_bank_id="in the store", params=params
    )


def unregister(bank_id="notes", **fields):
    return memory_banks_pb2.UnregisterMemoryBankRequest(memory_bank_id=bank_id, **fields)


@pytest.fixture
async def keeper(make_replica):
    replica = await make_replica()
    replica.loadable = (BANK, options_pb2.RESOURCE_KIND_MODEL)
    return replica


@pytest.fixture
async def gateway(make_gateway, keeper):
    gateway = await make_gateway({"echo": [keeper]})
    await eventually(lambda: BANK in gateway.worker._follower.view.loadable.get("echo", ()))
    return gateway


@pytest.fixture
async def banks(gateway):
    return memory_banks_pb2_grpc.MemoryBanksServiceStub(gateway.channel())


async def test_unregistering_a_bank_tells_the_provider_to_delete_it_by_its_own_identifier(banks, keeper):
    await banks.RegisterMemoryBank(register())
    await banks.UnregisterMemoryBank(unregister())
    assert {one.memory_bank.provider_memory_bank_id for one in keeper.discarded} == {"in the store"}
    assert "notes" not in keeper.loaded


async def test_a_bank_that_the_registry_has_lost_is_closed_and_not_deleted(
    make_gateway, banks, gateway, keeper, valkey
):
    await banks.RegisterMemoryBank(register())
    valkey.flush()
    await eventually(lambda: not keeper.loaded)
    assert keeper.discarded == []


async def test_a_model_has_nothing_to_delete(gateway, keeper):
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await models.RegisterModel(models_pb2.RegisterModelRequest(model_id="mine"))
    await models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id="mine"))
    await eventually(lambda: not keeper.loaded)
    assert keeper.discarded == []


@pytest.mark.parametrize("how", ["stopped", "refuses"])
async def test_a_bank_that_nobody_can_delete_stays_registered(banks, gateway, keeper, how):
    await banks.RegisterMemoryBank(register())
    if how == "stopped":
        await keeper.stop()
        await eventually(lambda: not gateway.worker._follower.view.snapshot.providers[0].endpoints[0].healthy)
    else:
        keeper.refuse_unload = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await banks.UnregisterMemoryBank(unregister())
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(refused.value)
    got = await banks.GetMemoryBank(memory_banks_pb2.GetMemoryBankRequest(memory_bank_id="notes"))
    assert got.memory_bank.memory_bank_id == "notes"


async def test_one_replica_that_can_be_told_is_enough(make_gateway, make_replica):
    one, two = await make_replica(), await make_replica()
    for replica in (one, two):
        replica.loadable = (BANK,)
    gateway = await make_gateway({"echo": [one, two]})
    await eventually(lambda: BANK in gateway.worker._follower.view.loadable.get("echo", ()))
    banks = memory_banks_pb2_grpc.MemoryBanksServiceStub(gateway.channel())
    await banks.RegisterMemoryBank(register())
    two.refuse_unload = grpc.StatusCode.UNAVAILABLE
    await banks.UnregisterMemoryBank(unregister())
    assert one.discarded


async def test_a_stale_revision_deletes_nothing(banks, keeper):
    registered = (await banks.RegisterMemoryBank(register())).memory_bank
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await banks.UnregisterMemoryBank(unregister(revision=registered.entry.revision + 1))
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert keeper.discarded == []


async def test_a_repeated_unregistration_does_not_delete_a_bank_that_was_registered_again(banks, keeper):
    await banks.RegisterMemoryBank(register())
    await banks.UnregisterMemoryBank(unregister(request_id="once"))
    await banks.RegisterMemoryBank(register())
    keeper.discarded.clear()
    await banks.UnregisterMemoryBank(unregister(request_id="once"))
    assert "notes" in keeper.loaded
    assert keeper.discarded == []


async def test_a_request_id_that_was_used_for_another_bank_deletes_nothing(banks, keeper):
    await banks.RegisterMemoryBank(register("first"))
    await banks.UnregisterMemoryBank(unregister("first", request_id="once"))
    await banks.RegisterMemoryBank(register())
    keeper.discarded.clear()
    with pytest.raises(grpc.aio.AioRpcError):
        await banks.UnregisterMemoryBank(unregister(request_id="once"))
    assert keeper.discarded == []
