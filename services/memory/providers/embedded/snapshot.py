"""Snapshots of an index on disk, so that a bank is opened without building its graph again.

A snapshot says which chunks it holds; what has changed since is taken from the database. So it may be old, and when it is damaged or
missing nothing is lost but time.
"""

import json
import logging
import shutil
import uuid
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.memory.analysis import Language
from services.memory.providers.embedded.folder import sync_folder
from services.memory.providers.embedded.vector_index import VectorIndex, VectorLayout
from services.memory.providers.embedded.word_index import WordIndex

FORMAT = 1
FOLDER = "snapshot"
_VECTORS = "vectors.faiss"
_ARRAYS = "arrays.npz"
_MANIFEST = "manifest.json"
_BLOCK = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot holds."""

    keys: NDArray[np.int64]
    """Keys of its chunks by ordinal."""
    vectors: VectorIndex | None
    """Their vectors."""
    words: WordIndex | None
    """Their words."""


def write(
    folder: Path,
    keys: NDArray[np.int64],
    vectors: VectorIndex | None,
    words: WordIndex | None,
    layout: VectorLayout | None,
) -> None:
    """Writes a snapshot in the place of the one before. A failure leaves that one, or none; it is logged.

    Args:
        folder: The bank's folder.
        keys: Keys of the chunks by ordinal.
        vectors: Their vectors.
        words: Their words.
        layout: What vectors are.
    """
    draft = folder / f"draft-{uuid.uuid4().hex}"
    try:
        draft.mkdir()
        arrays: dict[str, NDArray[Any]] = {"keys": keys}
        if vectors is not None:
            arrays |= {f"vectors.{name}": value for name, value in vectors.write(draft / _VECTORS).items()}
        if words is not None:
            arrays |= {f"words.{name}": value for name, value in words.state().items()}
        with (draft / _ARRAYS).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        manifest = {"format": FORMAT, "layout": _described(layout), "checksums": _checksums(draft)}
        (draft / _MANIFEST).write_text(json.dumps(manifest))
        place = folder / FOLDER
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        _log.warning("cannot write a snapshot into %s: %s", folder, error)
        shutil.rmtree(draft, ignore_errors=True)


def read(folder: Path, layout: VectorLayout | None, language: Language | None) -> Snapshot | None:
    """Reads the snapshot of a bank. None: there is none, or it was damaged or of another version and is gone now."""
    for left in folder.glob("draft-*"):
        shutil.rmtree(left, ignore_errors=True)
    place = folder / FOLDER
    if not place.exists():
        return None
    found = _read(place, layout, language)
    if found is None:
        # Keys that it alone knows of may be given again.
        shutil.rmtree(place)
    return found


def _read(place: Path, layout: VectorLayout | None, language: Language | None) -> Snapshot | None:
    try:
        manifest = json.loads((place / _MANIFEST).read_text())
        if manifest["format"] != FORMAT or manifest["layout"] != _described(layout):
            return None
        if manifest["checksums"] != _checksums(place):
            _log.warning("the snapshot in %s is damaged; the index is built again", place)
            return None
        with np.load(place / _ARRAYS) as stored:
            arrays = dict(stored)
        vectors = words = None
        if layout is not None:
            vectors = VectorIndex.restored(layout, place / _VECTORS, _named(arrays, "vectors."))
        if language is not None:
            words = WordIndex.restored(language, _named(arrays, "words."))
        return Snapshot(arrays["keys"], vectors, words)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        _log.warning("cannot read the snapshot in %s; the index is built again: %s", place, error)
        return None


def _named(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _described(layout: VectorLayout | None) -> dict[str, Any] | None:
    return None if layout is None else {key: value for key, value in asdict(layout).items() if key != "threads"}


def _checksums(folder: Path) -> dict[str, int]:
    return {path.name: _checksum(path) for path in sorted(folder.iterdir()) if path.name != _MANIFEST}


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum
