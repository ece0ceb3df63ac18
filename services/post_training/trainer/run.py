"""A training from its spec to its end."""

import gc
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import TrainingSpec
from services.post_training.trainer.checkpoints import ADAPTER_CONFIG, FINAL, Checkpoints
from services.post_training.trainer.events import EventHandler, Events
from services.post_training.trainer.failures import known, status_of_failure
from services.post_training.trainer.lineage import LineageOf
from services.post_training.trainer.preparing import Stopped, prepare
from services.post_training.trainer.problems import LossError
from services.post_training.trainer.recipe import Recipe, recipe_of
from services.post_training.trainer.stopping import Stop

_LIBRARIES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers", "trl")


def run(spec_file: Path, stop: Stop) -> int:
    """Runs a training and says how it ends; returns the process's exit status: 0 when it completed or was stopped, 1 when it failed.

    Args:
        spec_file: File with the spec.
        stop: Whether it is to stop.
    """
    spec = TrainingSpec.from_json(spec_file.read_text(encoding="utf-8"))
    recipe = recipe_of(spec.kind, spec.parsed_request())
    events = Events(
        spec.job_uuid,
        rank=int(os.environ.get("RANK", "0")),
        processes=spec.num_processes,
        least_level=recipe.log_level,
    )
    _listen_to_libraries(events)
    try:
        completed = train(spec, recipe, events, stop)
    except Stopped:
        completed = False
    except BaseException as error:  # noqa: BLE001 - the edge of the process: whatever it is, the service is told
        return _failed(error, spec, recipe, events)
    if events.rank == 0:
        if completed:
            events.end(jobs_pb2.JOB_STATUS_COMPLETED, "")
        else:
            events.end(jobs_pb2.JOB_STATUS_PAUSED, stop.reason)
    return 0


def train(spec: TrainingSpec, recipe: Recipe, events: Events, stop: Stop) -> bool:
    """Trains; returns whether it came to its end, which it does not when it is stopped.

    Args:
        spec: What the training was given.
        recipe: The training.
        events: Where it says what happens.
        stop: Whether it is to stop.

    Raises:
        Stopped: It was stopped before it began.
        TrainingError: It cannot go on.
    """
    checkpoints = Checkpoints(spec.checkpoints)
    if _announce(checkpoints, events):
        return True
    lineage = LineageOf(spec, recipe)
    began = time.monotonic()
    prepared = prepare(spec, recipe, _model_folder(spec), events, stop)
    events.log(logging.DEBUG, f"rows are ready after {time.monotonic() - began:.1f} s")
    # Ten seconds of imports, which nothing before this needs.
    from services.post_training.trainer.assembly import assemble

    # Libraries stay: what is collected between steps need not be looked for among a million objects of theirs.
    gc.freeze()
    events.log(logging.DEBUG, f"libraries are imported after {time.monotonic() - began:.1f} s")
    assembled = assemble(spec, recipe, prepared, events, stop, lineage)
    events.log(logging.DEBUG, f"the model is ready after {time.monotonic() - began:.1f} s")
    return assembled.run()


def _announce(checkpoints: Checkpoints, events: Events) -> bool:
    """Says which checkpoints there are, since a killed attempt may not have; returns whether the result is among them."""
    if events.rank == 0:
        checkpoints.sweep()
    found = checkpoints.all()
    if events.rank == 0:
        for checkpoint in found:
            events.checkpoint(checkpoint)
    return any(checkpoint.identifier == FINAL for checkpoint in found)


def _model_folder(spec: TrainingSpec) -> Path:
    """Returns the folder whose tokenizer is used: of the whole model that the training goes on from, or of the base model."""
    continued = Path(spec.continue_from) if spec.continue_from else None
    whole = continued is not None and not (continued / ADAPTER_CONFIG).is_file()
    return continued if whole and continued is not None else Path(spec.base_model)


def _listen_to_libraries(events: Events) -> None:
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    # All processes warn alike: one is enough.
    root.handlers = [EventHandler(events, logging.WARNING if events.rank == 0 else logging.ERROR)]
    root.setLevel(logging.WARNING)
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
    # It tells of kernels that it looks for elsewhere, and does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _failed(error: BaseException, spec: TrainingSpec, recipe: Recipe, events: Events) -> int:
    meant = known(error, recipe, Path(spec.folder))
    traceback.print_exception(error)
    sys.stderr.flush()
    # All processes see a loss that is no number; what only one of them sees, only that one can tell.
    if events.rank == 0 or not isinstance(meant, LossError):
        status = status_of_failure(meant, recipe, Path(spec.folder))
        events.end(jobs_pb2.JOB_STATUS_FAILED, status.message, status)
    return 1
