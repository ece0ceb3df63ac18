"""Retrieval before the first inference: a query made of the messages, the banks read, what was found written as context.

The context is a header line, a line `id:{document_id}; content:{chunk}` for each chunk, best first, and a footer line, as Llama Stack has
it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from caravan.agents.v1 import tools_pb2, turns_pb2
from caravan.inference.v1 import inference_pb2
from caravan.memory.v1 import keyvalue_pb2, query_generator_pb2, query_pb2
from caravan.types.v1 import types_pb2
from services.agents.peers import Inference, Memory
from services.agents.transcript import text_of
from services.core.errors import FailedPreconditionError, UnavailableError
from services.core.fetch import FetchLimits
from services.core.rest import execute

DEFAULT_MAX_TOKENS = 4096
DEFAULT_MAX_CHUNKS = 10
HEADER = "Here are the retrieved documents for relevant context:\n=== START-RETRIEVED-CONTEXT ===\n"
FOOTER = "\n=== END-RETRIEVED-CONTEXT ===\n"
MESSAGES = "{{messages}}"
# Without a tokenizer at hand; a token of English is about four characters.
_CHARACTERS_A_TOKEN = 4
_MOST_QUERY_TOKENS = 512


@dataclass(slots=True)
class Retrieving:
    """Reads memory banks for a turn."""

    inference: Inference
    """Writes queries, when a model is to."""
    memory: Memory
    """The banks."""
    limits: FetchLimits = field(default_factory=FetchLimits)
    """For endpoints that write queries."""

    async def retrieve(
        self, tool: tools_pb2.MemoryToolDefinition, session_bank: str, messages: Sequence[types_pb2.Message]
    ) -> turns_pb2.MemoryRetrievalStep:
        """Makes the query, searches, and writes the context.

        Args:
            tool: How.
            session_bank: The session's own bank; empty: it has none.
            messages: The turn's messages.

        Raises:
            CaravanError: A bank, or what writes the query, does not answer.
        """
        configs = list(tool.memory_bank_configs)
        if session_bank and not any(config.bank_id == session_bank for config in configs):
            configs.append(tools_pb2.MemoryBankConfig(bank_id=session_bank, vector=tools_pb2.MemoryBankConfig.Vector()))
        step = turns_pb2.MemoryRetrievalStep(memory_bank_ids=[config.bank_id for config in configs])
        step.vector_db_ids = ",".join(step.memory_bank_ids)
        step.query = await self.query(tool.query_generator_config, messages)
        for config in configs:
            if config.HasField("keyvalue"):
                step.chunks.extend(await self._values(config))
        searched = [config for config in configs if not config.HasField("keyvalue")]
        if searched and step.query.strip():
            step.chunks.extend(await self._hits(tool, searched, step.query))
        _insert(step, tool.max_tokens_in_context or DEFAULT_MAX_TOKENS)
        return step

    async def query(
        self, config: query_generator_pb2.QueryGeneratorConfig, messages: Sequence[types_pb2.Message]
    ) -> str:
        """Makes the query.

        Args:
            config: How.
            messages: The turn's messages.

        Raises:
            CaravanError: What writes it does not answer.
        """
        match config.WhichOneof("config"):
            case "llm":
                return await self._written_by_model(config.llm, messages)
            case "custom":
                return await self._written_by_endpoint(config.custom, messages)
            case _:
                default = config.default
                return last_text(messages, default.separator if default.HasField("separator") else " ")

    async def _written_by_model(
        self, config: query_generator_pb2.LlmQueryGeneratorConfig, messages: Sequence[types_pb2.Message]
    ) -> str:
        request = inference_pb2.StreamChatCompletionRequest(model_id=config.model)
        # The template is read once; what users have said is put in as it is.
        request.messages.add().user.content.items.add().text = config.template.replace(MESSAGES, spoken(messages))
        request.sampling_params.max_tokens = _MOST_QUERY_TOKENS
        text = ""
        async for event in self.inference.answer(request):
            text += event.progress.delta.text
        return text.strip()

    async def _written_by_endpoint(
        self, config: query_generator_pb2.CustomQueryGeneratorConfig, messages: Sequence[types_pb2.Message]
    ) -> str:
        field_path = "agent_config.tools.memory.query_generator_config.custom.endpoint"
        told = [json_format.MessageToDict(message, preserving_proto_field_name=True) for message in messages]
        answer = await execute(config.endpoint, {"messages": told}, self.limits, field_path)
        said: Any = answer.json()
        if answer.status != 200 or not isinstance(said, dict) or not isinstance(said.get("query"), str):
            message = f'the query generator answered with HTTP status {answer.status} and no {{"query": "..."}}; see to the endpoint'
            kind = UnavailableError if answer.status >= 500 else FailedPreconditionError
            raise kind(message, reason="QUERY_GENERATOR")
        return str(said["query"])

    async def _values(self, config: tools_pb2.MemoryBankConfig) -> list[turns_pb2.RetrievedChunk]:
        entries = await self.memory.values(config.bank_id, config.keyvalue.keys)
        return [_chunk(config.bank_id, entry.key, value_text(entry.value), 1.0, 0) for entry in entries]

    async def _hits(
        self, tool: tools_pb2.MemoryToolDefinition, configs: Sequence[tools_pb2.MemoryBankConfig], query: str
    ) -> list[turns_pb2.RetrievedChunk]:
        params = query_pb2.QueryParams(max_chunks=tool.max_chunks or DEFAULT_MAX_CHUNKS)
        for config in configs:
            params.entities.extend(config.graph.entities)
        found = await self.memory.search([config.bank_id for config in configs], query, params)
        banks = [details.bank_id for details in found.hit_details] or [configs[0].bank_id] * len(found.chunks)
        return [
            _chunk(bank, chunk.document_id, text_of(chunk.content), score, chunk.token_count)
            for bank, chunk, score in zip(banks, found.chunks, found.scores, strict=False)
        ]


def last_text(messages: Sequence[types_pb2.Message], separator: str) -> str:
    """Returns the last user message's text.

    Args:
        messages: The messages.
        separator: What stands between its items.
    """
    user = next((message.user for message in reversed(messages) if message.HasField("user")), None)
    return separator.join(item.text for item in user.content.items if item.HasField("text")) if user else ""


def spoken(messages: Sequence[types_pb2.Message]) -> str:
    """Writes messages as lines `role: text`.

    Args:
        messages: The messages.
    """
    lines = []
    for message in messages:
        role = message.WhichOneof("role")
        if role:
            lines.append(f"{role}: {text_of(getattr(message, role).content)}")
    return "\n".join(lines)


def value_text(value: keyvalue_pb2.TypedValue) -> str:
    """Writes a value of a key-value bank for a model to read.

    Args:
        value: The value.
    """
    kind = value.WhichOneof("value")
    match kind:
        case "text":
            return value.text
        case "data":
            return f"[{len(value.data)} bytes]"
        case "json":
            return json.dumps(json_format.MessageToDict(value.json), ensure_ascii=False)
        case "timestamp":
            return str(value.timestamp.ToJsonString())
        case None:
            return ""
        case _:
            return json.dumps(getattr(value, kind))


def _chunk(bank_id: str, document_id: str, text: str, score: float, tokens: int) -> turns_pb2.RetrievedChunk:
    chunk = turns_pb2.RetrievedChunk(bank_id=bank_id, document_id=document_id, score=score)
    chunk.content.items.add().text = text
    chunk.token_count = tokens or max(1, len(text) // _CHARACTERS_A_TOKEN)
    return chunk


def _insert(step: turns_pb2.MemoryRetrievalStep, most_tokens: int) -> None:
    """Writes the context of the best chunks that fit; the others are taken out of the step."""
    kept: list[turns_pb2.RetrievedChunk] = []
    room = most_tokens
    for chunk in step.chunks:
        if chunk.token_count > room:
            break
        room -= chunk.token_count
        kept.append(chunk)
    del step.chunks[:]
    step.chunks.extend(kept)
    if kept:
        lines = [f"id:{chunk.document_id}; content:{text_of(chunk.content)}" for chunk in kept]
        step.inserted_context.items.add().text = HEADER + "\n".join(lines) + FOOTER
