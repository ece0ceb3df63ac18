"""What can be wrong with what a training is given, in the trainer's own words; the planner and the trainer tell it in theirs."""


class TrainingError(Exception):
    """Root of the errors that are the training's, not a defect: the message says what is wrong and what to do.

    Attributes:
        reason: Constant by which programs tell errors apart (`google.rpc.ErrorInfo.reason`).
    """

    reason = "TRAINING_FAILED"

    def __init__(self, message: str, **metadata: str) -> None:
        """Makes the error.

        Args:
            message: What is wrong and what to do.
            metadata: Facts that belong to the reason.
        """
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class ModelError(TrainingError):
    """The base model, or an adapter, cannot be read or lacks something."""

    reason = "MODEL_UNREADABLE"


class RowError(TrainingError):
    """A row does not fit."""

    reason = "ROWS_DO_NOT_FIT"


class PlatformError(TrainingError):
    """This machine cannot do it."""

    reason = "PLATFORM_CANNOT"


class LossError(TrainingError):
    """The loss is no number any more."""

    reason = "LOSS_NOT_FINITE"


class MemoryShortageError(TrainingError):
    """The memory is full."""

    reason = "OUT_OF_MEMORY"


class DiskFullError(TrainingError):
    """The disk is full."""

    reason = "DISK_FULL"


class CheckpointError(TrainingError):
    """A checkpoint cannot be read."""

    reason = "CHECKPOINT_UNREADABLE"
