"""What went wrong, as the service tells it: a google.rpc.Status with an ErrorInfo."""

from pathlib import Path

from google.rpc import status_pb2

from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from services.core.status import status_of
from services.post_training.storage import is_full
from services.post_training.trainer.problems import (
    DiskFullError,
    MemoryShortageError,
    RowError,
    TrainingError,
)
from services.post_training.trainer.recipe import Recipe

_ALLOCATION_TEXTS = (
    "can't allocate memory",
    "CUDA out of memory",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_DISK_TEXTS = (
    *("No space left on device", "os error 28"),
    *("File too large", "os error 27"),
    *("PytorchStreamWriter failed", "unexpected pos"),
)


def status_of_failure(error: BaseException, recipe: Recipe | None, folder: Path | None) -> status_pb2.Status:
    """Returns what the service tells about an exception that ended a training.

    Args:
        error: The exception.
        recipe: The training. None: it was not known yet.
        folder: The job's folder. None: it was not known yet.
    """
    return status_of(caravan_error(known(error, recipe, folder)))


def known(error: BaseException, recipe: Recipe | None = None, folder: Path | None = None) -> BaseException:
    """Returns the error that an exception of a library means, or the exception itself.

    Args:
        error: The exception.
        recipe: The training, for advice.
        folder: The job's folder.
    """
    if isinstance(error, TrainingError):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or _is_allocation(error, text):
        return MemoryShortageError(_memory_advice(recipe))
    if (isinstance(error, OSError) and is_full(error)) or any(part in text for part in _DISK_TEXTS):
        where = f" of {folder}" if folder is not None else ""
        return DiskFullError(
            f"the disk{where} is full; free some space, or keep fewer checkpoints (checkpoints_to_keep)"
        )
    return error


def caravan_error(error: BaseException) -> CaravanError:
    """Returns one of the core's errors for one of a training.

    Args:
        error: The error.
    """
    if isinstance(error, CaravanError):
        return error
    if isinstance(error, RowError):
        violation = FieldViolation("training_config.data_config.dataset_id", error.message)
        return InvalidArgumentError(error.message, violations=[violation], reason=error.reason, metadata=error.metadata)
    if isinstance(error, DiskFullError | MemoryShortageError):
        return ResourceExhaustedError(error.message, reason=error.reason, metadata=error.metadata)
    if isinstance(error, TrainingError):
        return FailedPreconditionError(error.message, reason=error.reason, metadata=error.metadata)
    return InternalError(f"the training ended with an error of its own: {type(error).__name__}: {error}")


def _is_allocation(error: BaseException, text: str) -> bool:
    return isinstance(error, RuntimeError) and any(part in text for part in _ALLOCATION_TEXTS)


def _memory_advice(recipe: Recipe | None) -> str:
    advice = []
    if recipe is not None:
        if recipe.batch_size > 1:
            advice.append(f"a smaller batch_size (it is {recipe.batch_size}) with more gradient_accumulation_steps")
        if not recipe.activation_checkpointing:
            advice.append("enable_activation_checkpointing")
        if recipe.lora is None:
            advice.append("LoRA instead of all weights")
        elif not recipe.quantized:
            advice.append("quantize_base")
    advice.append("a smaller max_sequence_length")
    return f"the memory is full; try {', '.join(advice)}"
