"""The form that an answer must have, as vLLM takes it."""

import json
from typing import Any

from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls.json_values import from_struct

# Free white space in guided JSON is where weak models get lost.
LONGEST_SPACE = 2


def from_response_format(response_format: types_pb2.ResponseFormat) -> StructuredOutputsParams:
    """Turns a response format into vLLM's structured outputs.

    Raises:
        InvalidArgumentError: `json_schema_text` is not a JSON object.
    """
    match response_format.WhichOneof("format"):
        case "grammar":
            return StructuredOutputsParams(grammar=response_format.grammar.bnf)
        case "json_schema_text":
            return _json(_parsed(response_format.json_schema_text))
        case _:
            return _json(from_struct(response_format.json_schema))


def field_of(response_format: types_pb2.ResponseFormat) -> str:
    """Path of the field that a refused format is reported at."""
    member = response_format.WhichOneof("format")
    return "response_format.grammar.bnf" if member == "grammar" else f"response_format.{member}"


def _json(schema: dict[str, Any]) -> StructuredOutputsParams:
    """As a structural tag, the one form that bounds white space, where its engine (xgrammar) knows all of the schema."""
    if has_xgrammar_unsupported_json_features(schema):
        return StructuredOutputsParams(json=json.dumps(schema))
    content = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": LONGEST_SPACE}
    return StructuredOutputsParams(structural_tag=json.dumps({"type": "structural_tag", "format": content}))


def _parsed(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise InvalidArgumentError.of(
            "response_format.json_schema_text", "must be a JSON Schema: an object as JSON text"
        )
    return schema
