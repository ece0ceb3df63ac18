"""Entities and relations out of text, by a language model that inference serves."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.memory.v1 import graph_pb2
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, NotFoundError
from services.core.gateway import Gateway
from services.memory import content
from services.memory.banks import Bank
from services.memory.facts import entity_key, merged_entity, merged_relation
from services.memory.graph.telling import facts_from
from services.memory.records import ChunkBatch, Facts

_TIMEOUT = 120.0
_CONCURRENCY = 4
_MOST_TOKENS = 2048
# Enough for chunks of the usual size, and little enough for small contexts.
_MOST_CHARS = 8000
_MOST_FACTS = 32
_MOST_NAME = 256
_MOST_TOLD = 200
_PROMPT = (
    "Read the text. List the entities that it tells of (people, organisations, places, works, products, ideas), each with its name as "
    "written, its type in one word, and what the text says it is. Then list the relations between them that the text states: "
    "subject, relation in snake_case, object; subject and object are names of entities.\n\nText:\n{text}"
)


class _Entity(BaseModel):
    name: str
    type: str
    description: str


class _Relation(BaseModel):
    subject: str
    relation: str
    object: str


class _Answer(BaseModel):
    entities: list[_Entity]
    relations: list[_Relation]


class Extraction:
    """Asks models what texts tell of; all calls share a few places, so that a bulk insertion does not drown a model."""

    def __init__(self, gateway: Gateway) -> None:
        """Begins with nothing under way.

        Args:
            gateway: The way to the models.
        """
        self._gateway = gateway
        self._places = asyncio.Semaphore(_CONCURRENCY)

    async def check(self, model_id: str) -> None:
        """Checks a model that a bank is to extract with, before there is the bank.

        Args:
            model_id: Identifier in the registry.

        Raises:
            FailedPreconditionError: There is no such model, or it generates no text.
            UnavailableError: The gateway does not answer.
        """
        stub = models_pb2_grpc.ModelsServiceStub(self._gateway.channel)
        try:
            response = await self._gateway.call(stub.GetModel, models_pb2.GetModelRequest(model_id=model_id))
        except NotFoundError as error:
            raise _unknown(model_id, "params.graph.extraction_model: ") from error
        if response.model.model_type == models_pb2.MODEL_TYPE_EMBEDDING:
            message = (
                f"params.graph.extraction_model: model {model_id!r} embeds and generates no text; name a language model, ListModels "
                "tells the type"
            )
            raise FailedPreconditionError(message, reason="WRONG_MODEL_TYPE")

    async def facts_of(self, bank: Bank, batch: ChunkBatch) -> Facts:
        """Returns what a document's chunks tell of, with mentions and without vectors.

        Args:
            bank: The bank; it has an extraction model.
            batch: The chunks.

        Raises:
            FailedPreconditionError: The model is gone, or does not answer in the form that it was told.
            UnavailableError: It does not answer.
        """
        model_id = bank.spec.params.graph.extraction_model
        texts = [content.text_of(chunk.content) for chunk in batch.chunks]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._told(model_id, text)) for text in texts]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return _merged([task.result() for task in tasks])

    async def _told(self, model_id: str, text: str) -> graph_pb2.GraphFacts:
        prompt = _PROMPT.format(text=text[:_MOST_CHARS])
        request = inference_pb2.ChatCompletionRequest(
            model_id=model_id,
            messages=[types_pb2.Message(user=types_pb2.UserMessage(content=content.of_text(prompt)))],
            sampling_params=types_pb2.SamplingParams(max_tokens=_MOST_TOKENS),
            response_format=types_pb2.ResponseFormat(json_schema_text=json.dumps(_schema())),
        )
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        try:
            async with self._places:
                response = await self._gateway.call(stub.ChatCompletion, request, timeout=_TIMEOUT)
        except NotFoundError as error:
            raise _unknown(model_id) from error
        try:
            answer = _answer(response.completion_message)
        except (ValueError, TypeError) as error:
            message = (
                f"model {model_id!r} does not list entities and relations in the form that it was told (JSON by a schema): give the "
                "document's graph yourself, cut it into smaller chunks, or use a bank with another extraction model"
            )
            raise FailedPreconditionError(message, reason="EXTRACTION_UNUSABLE") from error
        return _facts(answer)


def _answer(message: types_pb2.CompletionMessage) -> _Answer:
    """Reads an answer. Of one that was cut off, what came before the last thing counts.

    Raises:
        ValueError: It is not in the form.
        TypeError: The same.
    """
    text = content.text_of(message.content)
    if message.stop_reason != types_pb2.STOP_REASON_OUT_OF_TOKENS:
        return _Answer.model_validate_json(text)
    told = {"entities": [], "relations": []} | from_json(text, allow_partial=True)
    del (told["relations"] or told["entities"])[-1:]
    return _Answer.model_validate(told)


def _unknown(model_id: str, field: str = "") -> FailedPreconditionError:
    message = f"{field}there is no model {model_id!r} to extract entities with; ListModels names those there are"
    return FailedPreconditionError(message, reason="EXTRACTION_MODEL_UNKNOWN")


def _schema() -> dict[str, Any]:
    """Returns the form of an answer; JSON Schema that every engine's guided decoding knows."""

    def texts(*names: str) -> dict[str, Any]:
        # Bounded: a weak model may never end a text by itself.
        properties = {name: {"type": "string", "maxLength": _MOST_TOLD} for name in names}
        return {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}

    def several(items: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": items, "maxItems": _MOST_FACTS}

    properties = {
        "entities": several(texts("name", "type", "description")),
        "relations": several(texts("subject", "relation", "object")),
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _facts(answer: _Answer) -> graph_pb2.GraphFacts:
    """Returns what a model has told, without what cannot be a fact: names of nothing, or of whole paragraphs."""
    facts = graph_pb2.GraphFacts()
    for entity in answer.entities[:_MOST_FACTS]:
        if _is_name(entity.name):
            kind, description = _clean(entity.type)[:_MOST_NAME], _clean(entity.description)[:_MOST_CHARS]
            facts.entities.add(name=_clean(entity.name), entity_type=kind, description=description)
    for told in answer.relations[:_MOST_FACTS]:
        if _is_name(told.subject) and _is_name(told.object) and _is_name(told.relation):
            facts.relations.add(
                subject=_clean(told.subject), relation_type=_clean(told.relation), object=_clean(told.object)
            )
    return facts


def _is_name(text: str) -> bool:
    return bool(entity_key(_clean(text))) and len(_clean(text)) <= _MOST_NAME


def _clean(text: str) -> str:
    # A lone surrogate, which JSON can write, is no text.
    return text.encode("utf-8", "ignore").decode("utf-8").replace("\0", "").strip()


def _merged(told: Sequence[graph_pb2.GraphFacts]) -> Facts:
    """Returns what chunks tell as what their document tells."""
    entities: dict[str, graph_pb2.Entity] = {}
    relations: dict[tuple[str, str, str], graph_pb2.Relation] = {}
    mentions: dict[tuple[int, str], None] = {}
    for index, facts in enumerate(told):
        for entity in facts.entities:
            key = entity_key(entity.name)
            entities[key] = merged_entity(entities.get(key, entity), entity)
            mentions[index, key] = None
        for relation in facts.relations:
            subject, target = entity_key(relation.subject), entity_key(relation.object)
            known = relations.get((subject, relation.relation_type, target), relation)
            relations[subject, relation.relation_type, target] = merged_relation(known, relation)
            mentions.update({(index, subject): None, (index, target): None})
    merged = facts_from(graph_pb2.GraphFacts(entities=entities.values(), relations=relations.values()))
    return Facts(merged.entities, merged.relations, list(mentions))
