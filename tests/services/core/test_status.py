from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.core.errors import (
    AlreadyExistsError,
    CaravanError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.status import CODES, code_of, error_from_rpc, error_of, status_of
from tests.services.core.test_errors import KINDS


def made(kind: type[CaravanError], **fields: Any) -> CaravanError:
    if kind in (NotFoundError, AlreadyExistsError):
        fields = {"resource_type": "model", "resource_name": "m", **fields}
    return kind("what to do", **fields)


def detail(status: status_pb2.Status, kind: Any) -> Any:
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def received(error: CaravanError) -> CaravanError:
    """What a caller makes of an error after it has travelled."""
    return error_from_rpc(rpc_error(code_of(error), error.message, status_of(error).SerializeToString()))


def rpc_error(code: grpc.StatusCode, message: str, details: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*([("grpc-status-details-bin", details)] if details is not None else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, message)


def test_every_error_has_one_code_and_no_code_two_errors() -> None:
    assert set(CODES) == set(KINDS)
    assert len(set(CODES.values())) == len(CODES)
    assert grpc.StatusCode.UNKNOWN not in CODES.values()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_carries_error_info(kind: type[CaravanError]) -> None:
    status = status_of(made(kind, metadata={"model_id": "m"}))
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.domain, dict(info.metadata)) == ("caravan", {"model_id": "m"})
    assert info.reason == made(kind).reason
    assert (status.code, status.message) == (CODES[kind].value[0], "what to do")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_to_another_service(kind: type[CaravanError]) -> None:
    error = made(kind, reason="OWN_REASON", metadata={"a": "b"})
    assert type(received(error)) is kind
    assert vars(received(error)) == vars(error)


def test_a_subclass_has_its_parents_code() -> None:
    class QueueFullError(ResourceExhaustedError):
        pass

    assert code_of(QueueFullError("full")) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_field_violations_become_a_bad_request() -> None:
    error = InvalidArgumentError("wrong", violations=[FieldViolation("a[0].b", "must be set")])
    violation = detail(status_of(error), error_details_pb2.BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("a[0].b", "must be set")
    assert vars(received(error)) == vars(error)


def test_a_missing_resource_is_named() -> None:
    info = detail(status_of(made(NotFoundError)), error_details_pb2.ResourceInfo)
    assert (info.resource_type, info.resource_name) == ("model", "m")


def test_a_retry_delay_is_told_in_seconds() -> None:
    status = status_of(UnavailableError("later", retry_after=2.5))
    delay = detail(status, error_details_pb2.RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (2, 500_000_000)
    assert detail(status_of(UnavailableError("later", retry_after=None)), error_details_pb2.RetryInfo) is None


def test_an_exhausted_quota_is_named() -> None:
    error = ResourceExhaustedError("full", subject="queue:m", retry_after=1.0)
    assert detail(status_of(error), error_details_pb2.QuotaFailure).violations[0].subject == "queue:m"
    assert vars(received(error)) == vars(error)


def test_a_status_fits_into_trailing_metadata_whatever_it_holds() -> None:
    violations = [FieldViolation(f"messages[{number}]" * 50, "é" * 1000) for number in range(1000)]
    metadata = {f"key{number}" * 100: "v" * 10_000 for number in range(100)}
    status = status_of(InvalidArgumentError("é" * 100_000, violations=violations, metadata=metadata))
    # Percent-encoded, and base64.
    assert len(status.message.encode()) * 3 + status.ByteSize() * 4 / 3 < 8000
    assert detail(status, error_details_pb2.ErrorInfo).reason == "INVALID_ARGUMENT"


def test_text_that_is_no_unicode_is_replaced() -> None:
    assert status_of(made(InternalError, metadata={"a": "\ud800"})).message == "what to do"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, OutOfRangeError),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.DATA_LOSS, InternalError),
        *((code, kind) for kind, code in CODES.items()),
    ],
)
def test_a_status_without_details_is_understood_too(code: grpc.StatusCode, kind: type[CaravanError]) -> None:
    error = error_from_rpc(rpc_error(code, "plain"))
    assert (type(error), error.message, error.reason) == (kind, "plain", code.name)


def test_details_that_are_garbage_are_left_aside() -> None:
    error = error_from_rpc(rpc_error(grpc.StatusCode.NOT_FOUND, "plain", b"\xff\xff"))
    assert (type(error), error.reason) == (NotFoundError, "NOT_FOUND")


def test_exceptions_of_the_language_have_codes() -> None:
    assert code_of(error_of(TimeoutError())) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert code_of(error_of(TimeoutError())) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert code_of(error_of(NotImplementedError())) is grpc.StatusCode.UNIMPLEMENTED
    assert code_of(error_of(rpc_error(grpc.StatusCode.ABORTED, "stale"))) is grpc.StatusCode.ABORTED


def test_an_unexpected_exception_tells_nothing_of_itself() -> None:
    error = error_of(ValueError("password=hunter2"))
    assert code_of(error) is grpc.StatusCode.INTERNAL
    assert "hunter2" not in error.message
    assert error.metadata["request_id"] in error.message
