"""Contents that come from addresses: guarded, and bounded."""

import pytest

from caravan.memory.v1 import memory_pb2
from services.core.errors import InvalidArgumentError, UnavailableError
from services.memory.sources import DocumentSettings, Sources
from tests.support.http_endpoint import Endpoint

HERE = DocumentSettings(allow_private_addresses=True)


def at(uri: str) -> memory_pb2.Document:
    return memory_pb2.Document(document_id="d", url={"uri": uri})


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/"])
async def test_private_addresses_are_not_fetched_from_unless_the_settings_allow_it(uri: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"documents\[3\]\.url.*private"):
        await Sources(DocumentSettings()).get(at(uri), "documents[3]")


async def test_a_private_address_is_not_reached_by_a_redirect_either(endpoint: Endpoint) -> None:
    endpoint.says(b"", status=302, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(InvalidArgumentError, match="must be an absolute http"):
        await Sources(HERE).get(at(endpoint.url), "documents[0]")


async def test_an_address_with_more_than_is_taken_is_refused(endpoint: Endpoint) -> None:
    endpoint.says(b"x" * 1001)
    settings = DocumentSettings(allow_private_addresses=True, max_bytes=1000)
    with pytest.raises(InvalidArgumentError, match="larger than 1000 bytes"):
        await Sources(settings).get(at(endpoint.url), "documents[0]")


async def test_an_address_where_nobody_answers_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await Sources(HERE).get(at("http://127.0.0.1:1/"), "documents[0]")
