import pytest
from google.protobuf import json_format

from caravan.types.v1 import remote_execution_pb2, types_pb2
from services.agents.tools.remote import RemoteTool
from services.agents.tools.tool import ToolError
from services.core.fetch import FetchLimits
from tests.support.http_endpoint import Endpoint


def remote_tool(url: str) -> RemoteTool:
    endpoint = json_format.ParseDict(
        {"url": {"uri": url}, "headers": {"Authorization": "Bearer secret"}, "body": {"city": "{{city}}"}},
        remote_execution_pb2.RestApiExecutionConfig(),
    )
    definition = types_pb2.ToolDefinition(tool_name="weather")
    return RemoteTool(definition, endpoint, FetchLimits(allow_private=True, timeout=2.0))


async def test_the_answers_body_is_the_result(endpoint: Endpoint) -> None:
    endpoint.says("12 degrees", headers={"Content-Type": "text/plain"})
    outcome = await remote_tool(endpoint.url).run({"city": "Oslo"})
    assert outcome.content.items[0].text == "12 degrees"
    assert outcome.metadata == {"http_status": 200, "mime_type": "text/plain"}
    assert endpoint.seen[0].json == {"city": "Oslo"}


async def test_an_error_of_the_endpoint_is_for_the_model_to_read(endpoint: Endpoint) -> None:
    endpoint.says("no such city", status=404)
    with pytest.raises(ToolError, match="HTTP status 404: no such city") as caught:
        await remote_tool(endpoint.url).run({"city": "Nowhere"})
    assert caught.value.code == 404
    assert "secret" not in caught.value.message
