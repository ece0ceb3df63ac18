"""Making a bank's index of its database."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caravan.memory.v1 import query_pb2
from services.memory.analysis import Language
from services.memory.content import text_of
from services.memory.providers.embedded import chunk_rows, snapshot
from services.memory.providers.embedded.index import BankIndex, Changes
from services.memory.providers.embedded.vector_index import VectorIndex, VectorLayout
from services.memory.providers.embedded.word_index import WordIndex

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class IndexKind:
    """What a bank's index is made of."""

    layout: VectorLayout | None
    """What vectors are. None: there are none."""
    language: Language | None
    """Language of the words. None: there are none."""


def load(connection: sqlite3.Connection, folder: Path, kind: IndexKind, now: float) -> BankIndex:
    """Makes the index of what the database holds, with the help of the snapshot if there is a good one."""
    kept = snapshot.read(folder, kind.layout, kind.language)
    if kept is None:
        index = empty(kind)
    else:
        index = BankIndex(kept.vectors, kept.words)
        index.reserve(kept.keys)
    catch_up(connection, index, now)
    return index


def build(connection: sqlite3.Connection, kind: IndexKind, now: float) -> BankIndex:
    """Makes the index of what the database holds from nothing."""
    index = empty(kind)
    catch_up(connection, index, now)
    return index


def empty(kind: IndexKind) -> BankIndex:
    """Returns the index of an empty bank."""
    return BankIndex(
        None if kind.layout is None else VectorIndex(kind.layout),
        None if kind.language is None else WordIndex(kind.language),
    )


def catch_up(connection: sqlite3.Connection, index: BankIndex, now: float, *, altered: Sequence[str] = ()) -> None:
    """Brings an index to what the database holds.

    Args:
        connection: The database.
        index: The index; what it has published it knows.
        now: The time.
        altered: Documents whose metadata or life have changed while their chunks stayed.
    """
    stored = np.fromiter((row[0] for row in connection.execute("SELECT key FROM chunks ORDER BY key")), np.int64)
    known = index.keys()
    fresh = stored[~np.isin(stored, known)]
    published = index.published_keys()
    for begin in range(0, len(fresh), _BATCH):
        _add(connection, index, fresh[begin : begin + _BATCH].tolist())
    if index.vectors is not None:
        index.vectors.tune()
    last = int(published[-1]) if len(published) else 0
    index.describe(chunk_rows.facets_after(connection, last))
    gone = published[~np.isin(published, stored)].tolist()
    stayed = [(group.keys, group.facets) for group in chunk_rows.facets_after(connection, 0, only=altered)]
    index.publish(Changes(removed=gone, altered=stayed), now)


def _add(connection: sqlite3.Connection, index: BankIndex, keys: Sequence[int]) -> None:
    marks = ",".join("?" * len(keys))
    index.reserve(keys)
    if index.vectors is not None:
        blobs = connection.execute(f"SELECT vector FROM vectors WHERE key IN ({marks}) ORDER BY key", keys)
        index.vectors.add(np.stack([chunk_rows.unpacked(row[0]) for row in blobs]))
    if index.words is not None:
        bodies = connection.execute(f"SELECT body FROM chunks WHERE key IN ({marks}) ORDER BY key", keys)
        index.words.add([text_of(query_pb2.Chunk.FromString(row[0]).content) for row in bodies])
