import asyncio
from typing import Any

import pytest
from google.protobuf import json_format
from pydantic import BaseModel, SecretStr

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from services.core.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.provider import resource_key
from tests.services.core.loopback import SERVICE, FakeProvider, Running, eventually, serving, told

MODEL = options_pb2.RESOURCE_KIND_MODEL


class Config(BaseModel):
    model: str = "llama"
    api_key: SecretStr = SecretStr("hunter2")


class Loading(FakeProvider):
    """Loads models."""

    loadable_kinds = (MODEL,)

    def __init__(self) -> None:
        super().__init__(Config())
        self.done: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.at_once = self.most_at_once = 0

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        if resource.model.model_id == "huge":
            message = "no room"
            raise ResourceExhaustedError(message)
        self.done.append(f"load {resource.model.model_id} {resource.model.entry.revision}")
        loaded = providers_pb2.Resource()
        loaded.CopyFrom(resource)
        loaded.model.metadata.update({"context_length": 8})
        return loaded

    async def unload(self, kind: Any, resource_id: str) -> None:
        self.done.append(f"unload {resource_id}")

    async def discard(self, resource: providers_pb2.Resource) -> None:
        self.done.append(f"discard {resource.model.model_id} {resource.model.entry.revision}")


def stub(running: Running) -> Any:
    return providers_pb2_grpc.ProviderServiceStub(running.channel)


def load(model_id: str = "m", revision: int = 1) -> providers_pb2.LoadResourceRequest:
    request = providers_pb2.LoadResourceRequest()
    request.resource.model.model_id = model_id
    request.resource.model.entry.revision = revision
    return request


def unload(model_id: str = "m") -> providers_pb2.UnloadResourceRequest:
    return providers_pb2.UnloadResourceRequest(kind=MODEL, resource_id=model_id)


def discard(model_id: str = "m", revision: int = 1) -> providers_pb2.UnloadResourceRequest:
    request = unload(model_id)
    request.discarded.CopyFrom(load(model_id, revision).resource)
    return request


async def described(running: Running) -> providers_pb2.DescribeProviderResponse:
    response: providers_pb2.DescribeProviderResponse = await stub(running).DescribeProvider(
        providers_pb2.DescribeProviderRequest()
    )
    return response


async def test_a_provider_describes_itself_without_its_secrets() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        description = await described(running)
    assert (description.provider_id, description.provider_type, description.ready) == ("fake", "inline::fake", True)
    assert list(description.services) == [SERVICE]
    assert list(description.loadable_kinds) == [MODEL]
    assert [resource.model.model_id for resource in description.resources] == ["own"]
    assert json_format.MessageToDict(description.config) == {"model": "llama", "api_key": "********"}


async def test_a_provider_that_starts_tells_why_it_is_not_ready() -> None:
    started = asyncio.Event()
    async with serving(provider=FakeProvider(start=started.wait), ready=False) as running:
        description = await described(running)
        assert (description.ready, description.not_ready_reason, list(description.resources)) == (False, "starting", [])
        started.set()


async def test_each_process_has_its_own_instance_id() -> None:
    async with serving(provider=FakeProvider()) as first, serving(provider=FakeProvider()) as second:
        ids = [(await described(running)).instance_id for running in (first, first, second)]
    assert ids[0] == ids[1] != ids[2]


async def test_what_was_loaded_is_listed_until_it_is_unloaded() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        response = await stub(running).LoadResource(load(revision=3))
        assert response.resource.model.metadata["context_length"] == 8
        listed = (await described(running)).loaded
        assert [(found.kind, found.resource_id, found.revision) for found in listed] == [(MODEL, "m", 3)]
        await stub(running).UnloadResource(unload())
        assert not (await described(running)).loaded
    assert provider.done == ["load m 3", "unload m"]


async def test_loading_or_unloading_twice_is_no_error() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        first = await stub(running).LoadResource(load())
        assert await stub(running).LoadResource(load()) == first
        await stub(running).UnloadResource(unload())
        await stub(running).UnloadResource(unload())
    assert provider.done == ["load m 1", "unload m"]


async def test_what_a_user_has_unregistered_is_dropped_and_deleted_loaded_or_not() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        await stub(running).LoadResource(load())
        await stub(running).UnloadResource(discard())
        await stub(running).UnloadResource(discard("never loaded"))
    assert provider.done == ["load m 1", "unload m", "discard m 1", "discard never loaded 1"]


async def test_a_late_deletion_leaves_a_newer_registration_alone() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        await stub(running).LoadResource(load(revision=2))
        await stub(running).UnloadResource(discard(revision=1))
        assert len((await described(running)).loaded) == 1
    assert provider.done == ["load m 2"]


async def test_a_deletion_must_be_of_the_resource_that_is_dropped() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        request = discard("other")
        request.resource_id = "m"
        assert isinstance(await told(stub(running).UnloadResource(request)), InvalidArgumentError)
    assert provider.done == []


async def test_a_newer_revision_replaces_and_an_older_one_is_stale() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        await stub(running).LoadResource(load(revision=1))
        await stub(running).LoadResource(load(revision=2))
        error = await told(stub(running).LoadResource(load(revision=1)))
        assert isinstance(error, AbortedError)
        assert error.reason == "STALE_REVISION"
    assert provider.done == ["load m 1", "unload m", "load m 2"]


async def test_calls_for_one_resource_wait_for_each_other_and_others_do_not() -> None:
    provider = Loading()
    provider.go_on.clear()
    async with serving(provider=provider) as running:
        same = [asyncio.ensure_future(stub(running).LoadResource(load())) for _ in range(3)]
        await eventually(lambda: provider.at_once == 1)
        await asyncio.sleep(0.02)
        assert provider.at_once == 1
        other = asyncio.ensure_future(stub(running).LoadResource(load("other")))
        await eventually(lambda: provider.at_once == 2)
        provider.go_on.set()
        await asyncio.gather(*same, other)
    assert sorted(provider.done) == ["load m 1", "load other 1"]


async def test_loading_goes_on_when_the_caller_goes_away() -> None:
    provider = Loading()
    provider.go_on.clear()
    async with serving(provider=provider) as running:
        call = stub(running).LoadResource(load())
        await eventually(lambda: provider.at_once == 1)
        call.cancel()
        await asyncio.sleep(0.02)
        provider.go_on.set()
        await eventually(lambda: provider.done == ["load m 1"])
        assert len((await described(running)).loaded) == 1


async def test_a_refusal_is_told_and_leaves_nothing_behind() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        assert isinstance(await told(stub(running).LoadResource(load("huge"))), ResourceExhaustedError)
        assert not (await described(running)).loaded


async def test_what_a_provider_forgets_is_loaded_again() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        await stub(running).LoadResource(load())
        before = await described(running)
        provider.forget_loaded()
        after = await described(running)
        assert (len(before.loaded), len(after.loaded)) == (1, 0)
        assert before.instance_id != after.instance_id
        await stub(running).LoadResource(load())
    assert provider.done == ["load m 1", "load m 1"]


async def test_a_kind_that_cannot_be_loaded_is_refused() -> None:
    async with serving(provider=FakeProvider()) as running:
        for error in (await told(stub(running).LoadResource(load())),):
            assert isinstance(error, FailedPreconditionError)
            assert error.reason == "NOT_LOADABLE"
            assert "cannot load a model" in error.message
        await stub(running).UnloadResource(unload())


async def test_nothing_is_loaded_while_the_provider_is_not_ready() -> None:
    provider = Loading()
    async with serving(provider=provider) as running:
        provider.readiness.set_not_ready("the engine died")
        error = await told(stub(running).LoadResource(load()))
        assert isinstance(error, UnavailableError)
        assert "the engine died" in error.message


async def test_an_empty_resource_is_an_invalid_argument() -> None:
    async with serving(provider=Loading()) as running:
        for request in (providers_pb2.LoadResourceRequest(), load(model_id="")):
            assert isinstance(await told(stub(running).LoadResource(request)), InvalidArgumentError)


@pytest.mark.parametrize(
    ("member", "id_field"),
    [("model", "model_id"), ("shield", "shield_id"), ("memory_bank", "memory_bank_id"), ("tool_group", "toolgroup_id")],
)
def test_every_kind_of_resource_has_a_key(member: str, id_field: str) -> None:
    resource = providers_pb2.Resource()
    setattr(getattr(resource, member), id_field, "x")
    kind, resource_id = resource_key(resource)
    assert options_pb2.ResourceKind.Name(kind) == f"RESOURCE_KIND_{member.upper()}"
    assert resource_id == "x"


def test_the_keys_cover_every_kind_that_the_contract_has() -> None:
    from services.core.provider import _KINDS

    assert set(_KINDS) == {field.name for field in providers_pb2.Resource.DESCRIPTOR.oneofs_by_name["resource"].fields}
