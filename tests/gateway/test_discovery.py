import pytest

from gateway.discovery import UnresolvedError, check_address, replica_addresses


async def test_fixed_addresses_are_taken_as_they_are():
    assert await replica_addresses(("b:2", "a:1", "a:1")) == ["a:1", "b:2"]


async def test_a_name_stands_for_all_its_addresses():
    async def resolve(host, port):
        assert (host, port) == ("vllm.caravan.svc", 50051)
        return ["10.0.0.2", "10.0.0.1", "fd00::1"]

    found = await replica_addresses(("dns:///vllm.caravan.svc:50051",), resolve)
    assert found == ["10.0.0.1:50051", "10.0.0.2:50051", "[fd00::1]:50051"]


async def test_the_systems_resolver_knows_localhost():
    assert "127.0.0.1:7" in await replica_addresses(("dns:///localhost:7",))


async def test_a_name_that_does_not_resolve_is_named():
    with pytest.raises(UnresolvedError, match=r"nothing\.invalid"):
        await replica_addresses(("dns:///nothing.invalid:1",))


async def test_a_name_without_addresses_is_named():
    async def resolve(host, port):
        return []

    with pytest.raises(UnresolvedError, match="has no addresses"):
        await replica_addresses(("dns:///empty:1",), resolve)


@pytest.mark.parametrize("wrong", ["host", "host:", ":1", "dns:///name", "host:99999", "http://host:1"])
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        check_address(wrong)
