"""How a retrieval query is made of what the user says."""

import re

from google.protobuf import json_format

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.memory.v1 import query_generator_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from services.core.fetch import FetchLimits
from services.core.gateway import Gateway
from services.core.rest import execute
from services.memory import content

_TIMEOUT = 60.0
_MOST_TOKENS = 256
_MOST_CHARS = 10_000
_MESSAGES = re.compile(r"\{\{\s*messages\s*\}\}")


class QueryGenerators:
    """Makes queries."""

    def __init__(self, gateway: Gateway, limits: FetchLimits) -> None:
        """Keeps the parts.

        Args:
            gateway: The way to the models.
            limits: How far calls of callers' endpoints may go.
        """
        self._gateway = gateway
        self._limits = limits

    async def query(
        self,
        asked: types_pb2.InterleavedContent,
        config: query_generator_pb2.QueryGeneratorConfig,
        field: str,
    ) -> str:
        """Makes a query.

        Args:
            asked: What the user says.
            config: How to make it; of its text when it says nothing.
            field: Path of the request's field that holds `config`, for errors.

        Raises:
            InvalidArgumentError: The configuration is wrong, or nothing comes of it.
            FailedPreconditionError: There is no such model.
            UnavailableError: Model or endpoint do not answer as they should.
        """
        match config.WhichOneof("config"):
            case "llm":
                return await self._by_model(asked, config.llm, f"{field}.llm")
            case "custom":
                return await self._by_endpoint(asked, config.custom, f"{field}.custom")
            case _:
                separator = config.default.separator if config.default.HasField("separator") else " "
                return separator.join(item.text for item in asked.items if item.text)

    async def _by_model(
        self, asked: types_pb2.InterleavedContent, config: query_generator_pb2.LlmQueryGeneratorConfig, field: str
    ) -> str:
        if not _MESSAGES.search(config.template):
            raise InvalidArgumentError.of(f"{field}.template", "must hold {{messages}}, where the conversation goes")
        conversation = f"user: {content.text_of(asked)}"
        # By a function: a replacement text would be read for backslashes.
        prompt = _MESSAGES.sub(lambda _: conversation, config.template)
        request = inference_pb2.ChatCompletionRequest(
            model_id=config.model,
            messages=[types_pb2.Message(user=types_pb2.UserMessage(content=content.of_text(prompt)))],
            sampling_params=types_pb2.SamplingParams(max_tokens=_MOST_TOKENS),
        )
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        try:
            response = await self._gateway.call(stub.ChatCompletion, request, timeout=_TIMEOUT)
        except NotFoundError as error:
            message = f"there is no model {config.model!r} to write the query; ListModels names those there are"
            raise FailedPreconditionError(message, reason="QUERY_MODEL_UNKNOWN") from error
        query = content.text_of(response.completion_message.content).strip()
        if not query:
            message = f"model {config.model!r} wrote no query; change the template, or name another model"
            raise FailedPreconditionError(message, reason="NO_QUERY")
        return query[:_MOST_CHARS]

    async def _by_endpoint(
        self, asked: types_pb2.InterleavedContent, config: query_generator_pb2.CustomQueryGeneratorConfig, field: str
    ) -> str:
        only_text = all(item.HasField("text") for item in asked.items)
        said = content.text_of(asked) if only_text else [json_format.MessageToDict(item) for item in asked.items]
        arguments = {"messages": [{"role": "user", "content": said}]}
        answer = await execute(config.endpoint, arguments, self._limits, f"{field}.endpoint")
        told = answer.json()
        query = told.get("query") if isinstance(told, dict) else None
        if answer.status >= 400 or not isinstance(query, str) or not query.strip():
            message = f'{field}.endpoint: answers with HTTP status {answer.status} and not with {{"query": "..."}}'
            raise UnavailableError(message, reason="NO_QUERY", retry_after=None)
        return query.strip()[:_MOST_CHARS]
