import inspect

import pytest

from services.core import errors
from services.core.errors import CaravanError, FieldViolation, InvalidArgumentError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, CaravanError) and kind is not CaravanError and not kind.__name__.startswith("_")
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_module_draws_every_error(kind: type[CaravanError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_default_reason_and_may_have_its_own(kind: type[CaravanError]) -> None:
    resource = {"resource_type": "model", "resource_name": "m"} if issubclass(kind, errors._ResourceError) else {}
    assert kind("no", **resource).reason.isupper()
    error = kind("no", reason="OWN_REASON", metadata={"model_id": "m"}, **resource)
    assert (str(error), error.reason, error.metadata) == ("no", "OWN_REASON", {"model_id": "m"})


def test_an_invalid_argument_names_its_field() -> None:
    error = InvalidArgumentError.of("messages[0].user.content", "must be set")
    assert error.message == "messages[0].user.content: must be set"
    assert error.violations == (FieldViolation("messages[0].user.content", "must be set"),)
