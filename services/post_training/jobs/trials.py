"""The trials of a search: which values are tried, and the requests that they make."""

import itertools
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from caravan.post_training.v1 import training_pb2
from services.core.errors import FieldViolation, InvalidArgumentError
from services.core.validation import validate
from services.post_training.jobs.records import TrainingMessage

DEFAULT_TRIALS = 10
_SEARCHED = ("training_config", "algorithm_config", "finetuning_config", "algorithm")
_NOT_SEARCHED = (
    "training_config.data_config.dataset_id",
    "training_config.data_config.dataset_revision",
    "training_config.data_config.validation_dataset_id",
    "training_config.data_config.validation_dataset_revision",
)
# Draws of a random search, for each trial, until it counts as having tried everything.
_DRAWS = 20

_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
)
_FLOATS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})
Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination of values."""

    number: int
    """Number in its search, from 1."""
    parameters: Mapping[str, Scalar]
    """Values by the field's path."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What one field may be."""

    path: str
    field: FieldDescriptor
    values: tuple[Scalar, ...]
    low: float = 0.0
    high: float = 0.0
    log_scale: bool = False

    def draw(self, chance: random.Random) -> Scalar:
        if self.values:
            return chance.choice(self.values)
        bounds = (math.log(self.low), math.log(self.high)) if self.log_scale else (self.low, self.high)
        drawn = chance.uniform(*bounds)
        drawn = math.exp(drawn) if self.log_scale else drawn
        drawn = min(max(drawn, self.low), self.high)
        return round(drawn) if self.field.type in _INTEGERS else drawn


def is_search(request: TrainingMessage) -> bool:
    """Tells whether a request asks for a search."""
    return bool(request.hyperparam_search_config.parameters)


def trials_of(request: TrainingMessage) -> list[Trial]:
    """Returns the trials of a search, the same ones each time.

    Args:
        request: What is asked for.

    Raises:
        InvalidArgumentError: A path leads nowhere, or a value does not fit, with the path of the range; or a grid is larger than allowed.
    """
    config = request.hyperparam_search_config
    choices = [_choice(request, path, config.parameters[path]) for path in sorted(config.parameters)]
    most = config.max_trials if config.HasField("max_trials") else DEFAULT_TRIALS
    if config.method == training_pb2.SEARCH_METHOD_RANDOM:
        return _random(choices, most, config.seed)
    size = math.prod(len(choice.values) for choice in choices)
    if size > most:
        message = f"must be at least {size}: that many combinations has the grid; or name fewer values, or set method to random"
        raise InvalidArgumentError.of("hyperparam_search_config.max_trials", message)
    combinations = itertools.product(*(choice.values for choice in choices))
    paths = [choice.path for choice in choices]
    return [Trial(number, dict(zip(paths, values, strict=True))) for number, values in enumerate(combinations, start=1)]


def request_of_trial(request: TrainingMessage, trial: Trial) -> TrainingMessage:
    """Returns the request of a trial: a training of its own.

    Args:
        request: The search's request.
        trial: Its values.
    """
    own = type(request)()
    own.CopyFrom(request)  # type: ignore[arg-type]
    for name in ("hyperparam_search_config", "auto_register", "job_uuid", "request_id"):
        own.ClearField(name)
    for path, value in trial.parameters.items():
        _set(own, path, value)
    return own


def metric_of(request: TrainingMessage) -> str:
    """Returns the metric that a search compares."""
    named = request.hyperparam_search_config.metric
    return named or ("validation_loss" if request.training_config.data_config.validation_dataset_id else "loss")


def _random(choices: list[_Choice], most: int, seed: int) -> list[Trial]:
    chance = random.Random(seed)  # noqa: S311 - a search, no secret
    found: dict[str, dict[str, Scalar]] = {}
    for _ in range(most * _DRAWS):
        drawn = {choice.path: choice.draw(chance) for choice in choices}
        found.setdefault(json.dumps(drawn, sort_keys=True), drawn)
        if len(found) == most:
            break
    return [Trial(number, values) for number, values in enumerate(found.values(), start=1)]


def _choice(request: TrainingMessage, path: str, wanted: training_pb2.HyperparamRange) -> _Choice:
    where = f"hyperparam_search_config.parameters[{json.dumps(path)}]"
    field = _field(request, path, where)
    if not wanted.values:
        if field.type not in _INTEGERS | _FLOATS:
            raise InvalidArgumentError.of(where, "must give values: only a number can be between min and max")
        for name, bound in (("min", wanted.min), ("max", wanted.max)):
            exact = round(bound) if field.type in _INTEGERS else bound
            _check(request, path, exact, f"{where}.{name}")
        return _Choice(path, field, (), wanted.min, wanted.max, wanted.log_scale)
    values = []
    for number, value in enumerate(wanted.values):
        place = f"{where}.values[{number}]"
        values.append(_scalar(field, value, place))
        _check(request, path, values[-1], place)
    return _Choice(path, field, tuple(dict.fromkeys(values)))


def _field(request: TrainingMessage, path: str, where: str) -> FieldDescriptor:
    """Finds the field that a path leads to."""
    names = path.split(".")
    if names[0] not in _SEARCHED or path in _NOT_SEARCHED:
        raise InvalidArgumentError.of(where, f"must be a field of one of {', '.join(_SEARCHED)}, and not a data set")
    kind: Descriptor | None = request.DESCRIPTOR
    message: Any = request
    field = None
    for name in names:
        field = kind.fields_by_name.get(name) if kind is not None else None
        if field is None or field.is_repeated:
            raise InvalidArgumentError.of(
                where, f"must be a single field of {request.DESCRIPTOR.name}: there is no {path!r}"
            )
        _refuse_other_member(message, field, where)
        kind = field.message_type
        message = getattr(message, name) if kind is not None else None
    if field is None or kind is not None:
        raise InvalidArgumentError.of(where, "must be a field with a value of its own, not a message")
    return field


def _refuse_other_member(message: Any, field: FieldDescriptor, where: str) -> None:
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) == 1:
        return
    present = message.WhichOneof(oneof.name)
    if present is not None and present != field.name:
        raise InvalidArgumentError.of(where, f"must fit the request, which sets {present} and not {field.name}")


def _scalar(field: FieldDescriptor, value: Value, where: str) -> Scalar:
    """Returns a value as the field takes it; an enum's by its name."""
    kind = value.WhichOneof("kind")
    if kind == "number_value" and field.type in _FLOATS:
        return value.number_value
    if kind == "number_value" and field.type in _INTEGERS and value.number_value.is_integer():
        return int(value.number_value)
    if kind == "bool_value" and field.type == FieldDescriptor.TYPE_BOOL:
        return value.bool_value
    if kind == "string_value" and field.type == FieldDescriptor.TYPE_STRING:
        return value.string_value
    if field.enum_type is not None:
        names = [one.name for one in field.enum_type.values if one.number]
        if kind == "string_value" and value.string_value in names:
            return value.string_value
        raise InvalidArgumentError.of(where, f"must be one of {', '.join(names)}")
    raise InvalidArgumentError.of(where, f"must be {_named(field)}")


def _check(request: TrainingMessage, path: str, value: Scalar, where: str) -> None:
    """Makes sure that the request would be a right one with this value."""
    try:
        own = request_of_trial(request, Trial(1, {path: value}))
        validate(own)
    except InvalidArgumentError as error:
        about = [violation for violation in error.violations if violation.field in (path, "", path.rpartition(".")[0])]
        if about:
            violations = [FieldViolation(where, violation.description) for violation in about]
            message = f"{where}: {violations[0].description}"
            raise InvalidArgumentError(message, violations=violations, reason=error.reason) from error
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError.of(where, f"does not fit: {error}") from error


def _set(message: Message, path: str, value: Scalar) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    field = message.DESCRIPTOR.fields_by_name[name]
    exact = field.enum_type.values_by_name[str(value)].number if field.enum_type is not None else value
    setattr(message, name, exact)


def _named(field: FieldDescriptor) -> str:
    if field.type in _INTEGERS:
        return "a whole number"
    if field.type in _FLOATS:
        return "a number"
    return "true or false" if field.type == FieldDescriptor.TYPE_BOOL else "a text"
