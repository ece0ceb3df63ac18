"""What vLLM raises, as the service's own errors."""

from vllm.exceptions import GracefulHTTPError, MaxQueuedTokensError, QueueOverflowError, VLLMClientError
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from services.core.errors import (
    CaravanError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

ENGINE_FAILURES = (VLLMClientError, GracefulHTTPError, EngineDeadError, EngineGenerateError, ValueError)


def engine_is_gone() -> UnavailableError:
    """The error of a call that the engine's death cut short, or that came before the engine was back."""
    return UnavailableError("the engine is restarting; try again", reason="ENGINE_RESTARTING", retry_after=5.0)


def as_caravan_error(error: BaseException, field: str) -> CaravanError:
    """Turns what vLLM raised for one call into an error of ours.

    Args:
        error: One of `ENGINE_FAILURES`.
        field: Path of the request's field that is most likely at fault when vLLM refuses the input.
    """
    if isinstance(error, (QueueOverflowError, MaxQueuedTokensError)):
        return ResourceExhaustedError(
            "the engine's queue is full; try again later or on another replica", retry_after=1.0
        )
    if isinstance(error, EngineDeadError):
        return engine_is_gone()
    if isinstance(error, EngineGenerateError):
        return InternalError("the engine failed on this request; the service's log has the cause")
    return InvalidArgumentError.of(field, f"the engine refuses it: {error}")
