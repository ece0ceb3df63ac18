"""Checkpoints on disk: written under a temporary name, flushed, and renamed; a folder without a leading dot is complete."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from google.protobuf import json_format

from caravan.post_training.v1 import checkpoints_pb2
from services.post_training.trainer.weights import file_digest

DESCRIPTION = "checkpoint.json"
"""File of a checkpoint with what is known of it: the protojson of a Checkpoint."""
FINAL = "final"
"""Identifier of a training's result."""
ADAPTER_CONFIG = "adapter_config.json"

_UNFINISHED = ".unfinished-"


class Checkpoints:
    """The checkpoints of a job."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder.

        Args:
            folder: Where checkpoints are.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[checkpoints_pb2.Checkpoint]:
        """Returns the checkpoints that are complete, oldest first."""
        found = []
        for path in self._folder.iterdir():
            checkpoint = None if path.name.startswith(".") else read_description(path)
            if checkpoint is not None:
                found.append(checkpoint)
        return sorted(found, key=lambda checkpoint: (checkpoint.iters, checkpoint.is_final))

    def sweep(self) -> None:
        """Removes what writing was interrupted at."""
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def begin(self, identifier: str) -> Path:
        """Returns the folder to write a checkpoint to.

        Args:
            identifier: The checkpoint.
        """
        path = self._folder / f"{_UNFINISHED}{identifier}"
        path.mkdir(exist_ok=True)
        return path

    def abandon(self, unfinished: Path) -> None:
        """Removes a checkpoint that could not be written: where the disk is full, half of one helps nobody.

        Args:
            unfinished: What `begin` returned.
        """
        shutil.rmtree(unfinished, ignore_errors=True)

    def resumable(self) -> checkpoints_pb2.Checkpoint | None:
        """Returns the newest checkpoint that a training can go on from."""
        return next((checkpoint for checkpoint in reversed(self.all()) if checkpoint.resumable), None)

    def commit(self, unfinished: Path, checkpoint: checkpoints_pb2.Checkpoint) -> checkpoints_pb2.Checkpoint:
        """Makes a written checkpoint one; returns it with its files.

        Args:
            unfinished: What `begin` returned.
            checkpoint: What is known of it.
        """
        target = self._folder / checkpoint.identifier
        checkpoint.path = str(target)
        describe_files(unfinished, checkpoint)
        text = json_format.MessageToJson(checkpoint, preserving_proto_field_name=True)
        (unfinished / DESCRIPTION).write_text(text, encoding="utf-8")
        flush(unfinished)
        if target.exists():
            # Left by an attempt that was killed before it said so; the same steps give the same weights.
            shutil.rmtree(target)
        unfinished.rename(target)
        _flush_entry(self._folder)
        return checkpoint


def read_description(folder: Path) -> checkpoints_pb2.Checkpoint | None:
    """Returns what is known of a checkpoint; None when the folder is none.

    Args:
        folder: Its folder.
    """
    try:
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
    except OSError:
        return None
    return json_format.Parse(text, checkpoints_pb2.Checkpoint(), ignore_unknown_fields=True)


def describe_files(folder: Path, checkpoint: checkpoints_pb2.Checkpoint) -> None:
    """Fills in a checkpoint's files, size and digest.

    Args:
        folder: Its folder.
        checkpoint: What is known of it.
    """
    del checkpoint.files[:]
    whole = hashlib.sha256()
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        digest = file_digest(path)
        checkpoint.files.add(path=name, size_bytes=path.stat().st_size, sha256=digest)
        whole.update(f"{digest}  {name}\n".encode())
    checkpoint.size_bytes = sum(file.size_bytes for file in checkpoint.files)
    checkpoint.sha256 = whole.hexdigest()


def files_of(folder: Path) -> Iterable[Path]:
    """Returns the files of a checkpoint, its description left out."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DESCRIPTION)


def flush(folder: Path) -> None:
    """Has the disk keep a folder's files.

    Args:
        folder: The folder.
    """
    for path in [*folder.rglob("*"), folder]:
        _flush_entry(path)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_except(source: Path, target: Path, left_out: Callable[[str], bool]) -> None:
    """Copies the files of a folder.

    Args:
        source: The folder.
        target: Where they go.
        left_out: Says by a file's name whether it stays behind.
    """
    for path in source.iterdir():
        if path.is_file() and not left_out(path.name):
            shutil.copyfile(path, target / path.name)
