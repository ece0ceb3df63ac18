"""Tools that an HTTP endpoint of the caller's runs (`remote_execution`)."""

from collections.abc import Mapping
from typing import Any

from caravan.types.v1 import remote_execution_pb2, types_pb2
from services.agents.tools.tool import Outcome, Tool, ToolError, text_outcome
from services.core.fetch import FetchLimits
from services.core.rest import execute

_MOST_TEXT_IN_ERRORS = 500


class RemoteTool(Tool):
    """A tool behind an HTTP endpoint; the answer's body is the result."""

    def __init__(
        self,
        definition: types_pb2.ToolDefinition,
        endpoint: remote_execution_pb2.RestApiExecutionConfig,
        limits: FetchLimits,
        *,
        idempotent: bool = False,
    ) -> None:
        """Makes the tool.

        Args:
            definition: What the model sees.
            endpoint: Where it runs.
            limits: How far its calls may go.
            idempotent: A call may run twice without harm.
        """
        self.definition = definition
        self.idempotent = idempotent
        self.timeout = limits.timeout
        self._endpoint = endpoint
        self._limits = limits

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Calls the endpoint."""
        answer = await execute(self._endpoint, arguments, self._limits, f"{self.name}.remote_execution")
        if not 200 <= answer.status < 300:
            said = answer.text[:_MOST_TEXT_IN_ERRORS].strip()
            raise ToolError(f"{self.name} answered with HTTP status {answer.status}: {said}", answer.status)
        return text_outcome(answer.text, http_status=answer.status, mime_type=answer.mime_type)
