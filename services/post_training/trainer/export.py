"""`python -m services.post_training.trainer.export <spec.json> <checkpoint> <target> merged|peft`: a checkpoint in another form.

`peft` is the adapter without what a training needs to go on; `merged` is the whole model with the adapter merged in. The target's folder is
there when it is complete. What goes wrong is the last line on stderr, the protojson of a google.rpc.Status.
"""

import os
import shutil
import sys
from pathlib import Path

from google.protobuf import json_format

from caravan.post_training.v1 import checkpoints_pb2
from services.core.status import status_of
from services.post_training.spec import TrainingSpec
from services.post_training.trainer.checkpoints import (
    ADAPTER_CONFIG,
    DESCRIPTION,
    copy_except,
    describe_files,
    flush,
    read_description,
)
from services.post_training.trainer.failures import caravan_error, known
from services.post_training.trainer.problems import CheckpointError
from services.post_training.trainer.recipe import recipe_of

_OF_TRAININGS = (
    "optimizer",
    "scheduler",
    "rng_state",
    "scaler",
    "trainer_state",
    "progress",
    "pytorch_model_fsdp",
    DESCRIPTION,
)


def export(spec: TrainingSpec, source: Path, target: Path, form: str) -> None:
    """Writes a checkpoint in another form.

    Args:
        spec: What the training was given that made it.
        source: Its folder.
        target: Folder to write, which is not there yet.
        form: `merged` or `peft`.

    Raises:
        CheckpointError: The checkpoint cannot be read, or cannot have that form.
        ModelError: The base model cannot be read.
    """
    checkpoint = read_description(source)
    if checkpoint is None:
        raise CheckpointError(f"checkpoint {source.name} cannot be read")
    if not (source / ADAPTER_CONFIG).is_file() and form == "peft":
        raise CheckpointError(f"checkpoint {source.name} is a whole model, not an adapter")
    unfinished = target.with_name(f".unfinished-{target.name}-{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        if form == "merged" and (source / ADAPTER_CONFIG).is_file():
            _merge(spec, source, unfinished)
        else:
            copy_except(source, unfinished, lambda name: name.startswith(_OF_TRAININGS))
        _describe(checkpoint, unfinished, target, form)
        flush(unfinished)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _merge(spec: TrainingSpec, source: Path, unfinished: Path) -> None:
    # Torch's imports take seconds, which a copy does not need.
    from services.post_training.trainer.models import BaseModel, copy_tokenizer, merge

    recipe = recipe_of(spec.kind, spec.parsed_request())
    base = BaseModel(recipe, Path(spec.base_model), Path(spec.continue_from) if spec.continue_from else None).folder
    merge(base, source, unfinished, reward=spec.kind == "train_reward_model")
    copy_tokenizer(base, unfinished)


def _describe(checkpoint: checkpoints_pb2.Checkpoint, unfinished: Path, target: Path, form: str) -> None:
    checkpoint.path = str(target)
    if form == "merged" and checkpoint.format == checkpoints_pb2.CHECKPOINT_FORMAT_PEFT_ADAPTER:
        checkpoint.format = checkpoints_pb2.CHECKPOINT_FORMAT_MERGED
    checkpoint.resumable = False
    describe_files(unfinished, checkpoint)
    text = json_format.MessageToJson(checkpoint, preserving_proto_field_name=True)
    (unfinished / DESCRIPTION).write_text(text, encoding="utf-8")


def main(spec_file: str, source: str, target: str, form: str) -> int:
    """Exports a checkpoint; returns the process's exit status.

    Args:
        spec_file: File with the spec.
        source: The checkpoint's folder.
        target: Folder to write.
        form: `merged` or `peft`.
    """
    try:
        export(TrainingSpec.from_json(Path(spec_file).read_text(encoding="utf-8")), Path(source), Path(target), form)
    except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, the service is told
        status = status_of(caravan_error(known(error)))
        sys.stderr.write(f"\n{json_format.MessageToJson(status, indent=None)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
