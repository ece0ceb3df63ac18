"""The form that an answer must have, as vLLM takes it."""

import json

from vllm.sampling_params import StructuredOutputsParams

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls.json_values import from_struct


def from_response_format(response_format: types_pb2.ResponseFormat) -> StructuredOutputsParams:
    """Turns a response format into vLLM's structured outputs.

    Raises:
        InvalidArgumentError: `json_schema_text` is not a JSON object.
    """
    match response_format.WhichOneof("format"):
        case "grammar":
            return StructuredOutputsParams(grammar=response_format.grammar.bnf)
        case "json_schema_text":
            return StructuredOutputsParams(json=_checked(response_format.json_schema_text))
        case _:
            return StructuredOutputsParams(json=json.dumps(from_struct(response_format.json_schema)))


def field_of(response_format: types_pb2.ResponseFormat) -> str:
    """Path of the field that a refused format is reported at."""
    member = response_format.WhichOneof("format")
    return "response_format.grammar.bnf" if member == "grammar" else f"response_format.{member}"


def _checked(text: str) -> str:
    try:
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise InvalidArgumentError.of(
            "response_format.json_schema_text", "must be a JSON Schema: an object as JSON text"
        )
    return text
