"""One write of a bank: its transaction in the database, and what it does to the index and to the bank's totals."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from services.memory.providers.embedded.index import Changes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIABLES = 500

Stage: TypeAlias = Callable[[Sequence[int], Sequence["NDArray[np.float32]"], Sequence[str]], None]
"""Gives new chunks their places in the index, where nobody sees them yet: keys, vectors by batch, texts."""


@dataclass(slots=True)
class Totals:
    """How much a bank holds."""

    documents: int = 0
    """Documents."""
    chunks: int = 0
    """Chunks."""
    tokens: int = 0
    """Tokens of all chunks."""
    pairs: int = 0
    """Keys."""
    entities: int = 0
    """Entities."""
    relations: int = 0
    """Relations."""

    def __add__(self, other: "Totals") -> "Totals":
        """Returns the sum."""
        return Totals(
            self.documents + other.documents,
            self.chunks + other.chunks,
            self.tokens + other.tokens,
            self.pairs + other.pairs,
            self.entities + other.entities,
            self.relations + other.relations,
        )


@dataclass(slots=True)
class Transaction:
    """What the functions that write work on."""

    connection: sqlite3.Connection
    """The database, in a transaction."""
    now: float
    """Time of the write, in seconds since the epoch."""
    new_keys: Callable[[int], range]
    """Gives keys to so many new chunks."""
    stage: Stage
    """Gives new chunks their places in the index."""
    changes: Changes = field(default_factory=Changes)
    """What becomes of the index."""
    totals: Totals = field(default_factory=Totals)
    """What is more, or less, than before."""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Executes a statement."""
        return self.connection.execute(statement, values)

    def graph_changed(self) -> None:
        """Gives the graph a new revision."""
        self.execute("UPDATE bank SET graph_revision = graph_revision + 1")


def rows_of(connection: sqlite3.Connection, statement: str, values: Sequence[Any], *more: Any) -> Iterator[Any]:
    """Selects rows for many values.

    Args:
        connection: The database.
        statement: With `{}` where the list of values stands; in an UPDATE or DELETE too.
        values: The values, any number.
        more: Values of the parameters behind the list.
    """
    for begin in range(0, len(values), _VARIABLES):
        part = values[begin : begin + _VARIABLES]
        marks = ",".join("?" * len(part))
        yield from connection.execute(statement.format(marks), (*part, *more))


def micros(moment: float) -> int:
    """Returns whole microseconds since the epoch, rounded as `datetime` does."""
    return (datetime.fromtimestamp(moment, UTC) - _EPOCH) // timedelta(microseconds=1)


def timestamp(moment: float) -> Timestamp:
    """Returns a time as a message."""
    made = Timestamp()
    made.FromMicroseconds(micros(moment))
    return made


def seconds(moment: Timestamp) -> float:
    """Returns a message's time in seconds since the epoch."""
    return moment.seconds + moment.nanos / 1e9
