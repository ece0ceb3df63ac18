"""Checks rows against a schema and a format, and collects what is wrong with the first of them."""

import json
import re
from dataclasses import dataclass

from services.post_training.datasets import formats
from services.post_training.datasets.canonical import Row, RowError, shown
from services.post_training.datasets.columns import FAULTS, Schema, Told

MOST_FAULTS = 20
"""Faults that are told; rows after the last of them are not looked at."""
NAME_CHARS = 256
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a row."""

    row: int
    """Number of the row, from 0."""

    column: str
    """The column; empty: the row as a whole."""

    description: str
    """What is wrong."""

    def path(self, prefix: str) -> str:
        """Returns the path of the field, for instance `source.rows[17].dialog`.

        Args:
            prefix: What stands before `rows`.
        """
        return f"{prefix}rows[{self.row}]{_subscript(self.column)}"


class TooManyFaultsError(Exception):
    """Enough is wrong to stop looking."""


class Checker:
    """Checks rows as they come."""

    def __init__(self, schema: Schema | None, format_number: int, max_columns: int) -> None:
        """Has seen no row yet.

        Args:
            schema: Types of the columns. None: the rows tell.
            format_number: Number of the format that they must have.
            max_columns: Most columns that rows may tell of.
        """
        self.faults: list[Fault] = []
        self._schema = schema
        self._format = format_number
        self._max_columns = max_columns
        self._told = Told()
        self._rows = 0

    def check(self, number: int, row: Row) -> None:
        """Checks a row.

        Args:
            number: Its number.
            row: The row.

        Raises:
            TooManyFaultsError: `MOST_FAULTS` were found.
        """
        self._rows += 1
        known = len(self.faults)
        if self._schema is None:
            self._tell(number, row)
        else:
            self._compare(number, row, self._schema)
        blamed = {fault.column for fault in self.faults[known:]}
        for column, description in formats.faults(self._format, row):
            if column not in blamed:
                self._add(number, column, description)

    def refuse(self, number: int, error: RowError) -> None:
        """Notes that a row could not even be read.

        Raises:
            TooManyFaultsError: `MOST_FAULTS` were found.
        """
        self._add(number, error.column, error.description)

    def schema(self) -> Schema:
        """Returns the types of the columns."""
        return self._told.schema(self._rows) if self._schema is None else self._schema

    def _tell(self, number: int, row: Row) -> None:
        if len(row) > self._max_columns:
            self._add(number, "", f"has {len(row)} columns; a data set has at most {self._max_columns}")
            return
        for name, value in row.items():
            if not 0 < len(name) <= NAME_CHARS:
                self._add(
                    number, "", f"has a column whose name has {len(name)} characters; it must have 1 to {NAME_CHARS}"
                )
                continue
            self._told.add(name, value)
        if len(self._told) > self._max_columns:
            self._add(number, "", f"has a column beyond the {self._max_columns} that a data set may have")
            raise TooManyFaultsError

    def _compare(self, number: int, row: Row, schema: Schema) -> None:
        for name, column in schema.items():
            value = row.get(name)
            if value is not None:
                fault = FAULTS[column.type](value)
                if fault:
                    self._add(number, name, fault)
            elif not column.nullable:
                self._add(number, name, "is null" if name in row else "is missing")
        if not row.keys() <= schema.keys():
            stranger = next(name for name in row if name not in schema)
            self._add(number, "", f"has the column {shown(stranger)}, which dataset_schema has not")

    def _add(self, number: int, column: str, description: str) -> None:
        self.faults.append(Fault(number, column, description))
        if len(self.faults) >= MOST_FAULTS:
            raise TooManyFaultsError


def _subscript(column: str) -> str:
    if not column:
        return ""
    return f".{column}" if _PLAIN_NAME.fullmatch(column) else f"[{json.dumps(column)}]"
