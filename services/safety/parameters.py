"""Parameters of shields: a schema for each type of shield, filled from what was registered and what a call brings."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from google.protobuf import json_format, struct_pb2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caravan.types.v1 import types_pb2
from services.core.errors import FieldViolation, InvalidArgumentError
from services.safety.texts import Role

LevelName = Literal["info", "warn", "error"]

LEVELS: Mapping[LevelName, types_pb2.ViolationLevel.ValueType] = {
    "info": types_pb2.VIOLATION_LEVEL_INFO,
    "warn": types_pb2.VIOLATION_LEVEL_WARN,
    "error": types_pb2.VIOLATION_LEVEL_ERROR,
}


class ShieldParams(BaseModel):
    """Parameters that every shield has; a type of shield adds its own in a subclass.

    A subclass checks what belongs together in a model validator, whose ValueError names the parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    level: LevelName | None = None
    """Level of everything that the shield finds. Default: what the shield gives each finding."""
    user_message: str | None = Field(default=None, max_length=2000)
    """What to tell the user about a violation; `{category}`, `{description}` and `{shield_id}` filled in. Default: a canned sentence."""
    roles: frozenset[Role] = frozenset(Role)
    """Whose messages are judged."""
    judged: Literal["all", "last"] = "all"
    """Which messages are judged: all, or only the last one with the others as its context."""
    fail_open: bool = False
    """What becomes of content that the shield cannot judge: true lets it pass, with `error` in the result; false is a violation."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Longest time in seconds to judge."""


P = TypeVar("P", bound=ShieldParams)


def parse_params(schema: type[P], registered: struct_pb2.Struct, given: struct_pb2.Struct | None = None) -> P:
    """Fills a schema.

    Args:
        schema: The parameters that the shield's type has.
        registered: Those of the registration.
        given: Those of the call, which win.

    Raises:
        InvalidArgumentError: One is unknown, wrong, or in conflict with another; the field paths begin with `params`.
    """
    values = plain(registered) | (plain(given) if given is not None else {})
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        violations = [_violation(problem, schema) for problem in error.errors(include_url=False, include_input=False)]
        first = violations[0]
        raise InvalidArgumentError(f"{first.field}: {first.description}", violations=violations) from None


def plain(params: struct_pb2.Struct) -> dict[str, Any]:
    """The values of a Struct as Python's own; whole numbers are integers."""
    return dict(json_format.MessageToDict(params))


def _violation(problem: Any, schema: type[ShieldParams]) -> FieldViolation:
    path = "params" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(sorted(schema.model_fields))
        return FieldViolation(path, f"no such parameter; this shield has {known}")
    # The message alone: the value that was given may hold a secret.
    return FieldViolation(path, str(problem["msg"]).removeprefix("Value error, "))
