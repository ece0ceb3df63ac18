"""Reads rows, checks them and writes them as a segment. Blocks: it runs in a worker process or, for a little, in a thread."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.core.errors import FieldViolation, InvalidArgumentError
from services.post_training.datasets import formats, segments
from services.post_training.datasets.canonical import RowError, folded, line, parsed
from services.post_training.datasets.checking import Checker, TooManyFaultsError
from services.post_training.datasets.columns import Schema
from services.post_training.datasets.readers import csv_table, inline, json_list, jsonl, parquet
from services.post_training.datasets.readers.detection import detected
from services.post_training.datasets.readers.numbered import Rows, UnreadableError, too_large

SchemaFacts = dict[str, tuple[int, bool]]
"""A schema as JSON has it: by column, number of the type and whether it may be null."""


@dataclass(frozen=True, slots=True)
class HuggingFaceFacts:
    """Which part of which data set of Hugging Face."""

    repository: str
    """Identifier; empty: the folder is there already."""
    name: str
    """Configuration; empty: the only one."""
    split: str
    """Split with slices."""
    revision: str
    """Commit, branch or tag; empty: the main branch."""
    endpoint: str
    """Address of the hub."""
    token: str = field(repr=False)
    """Token; empty: none."""


@dataclass(frozen=True, slots=True)
class Import:
    """What is to be read, how it is checked, and where it is written to. Plain values: it travels as JSON."""

    kind: Literal["file", "huggingface", "create_request", "append_request"]
    """What there is at `path`: a file of rows, a folder, or the bytes of a request's message with rows."""
    path: str
    """Where it is."""
    field: str
    """Path of the request's field that names it, for errors."""
    prefix: str
    """What stands before `rows[n]` in the paths of errors."""
    folder: str
    """Folder of the data set."""
    segment: str
    """Name of the segment to write."""
    format: int
    """Number of the format to check for."""
    digest: str
    """Digest of the rows before, in hexadecimal."""
    max_rows: int
    """Most rows."""
    max_bytes: int
    """Most bytes of rows, and of a download."""
    max_row_bytes: int
    """Most bytes of a row."""
    max_columns: int
    """Most columns."""
    file_name: str = ""
    """Name that the file came with."""
    file_format: int = 0
    """Form of the file; 0: told from it."""
    schema: SchemaFacts | None = None
    """Types of the columns. None: the rows tell."""
    huggingface: HuggingFaceFacts | None = None
    """For a folder of Hugging Face's."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written."""

    rows: int
    """Number of rows."""
    bytes: int
    """Bytes of them."""
    sha256: str
    """Digest of the rows before and these, in hexadecimal."""
    schema: SchemaFacts
    """Types of the columns."""
    commit: str = ""
    """Commit of the data set on Hugging Face."""


def run(task: Import, content: bytes = b"") -> Imported:
    """Reads, checks and writes. When it returns, the segment is there for good.

    Args:
        task: What to do.
        content: Bytes of the request's message, instead of a file.

    Raises:
        InvalidArgumentError: The rows do not fit, or the file cannot be read.
        FailedPreconditionError: The source cannot be reached.
        ResourceExhaustedError: It is too much, or the disk is full.
    """
    try:
        return _run(task, content)
    except UnreadableError as error:
        raise InvalidArgumentError.of(task.field, str(error), reason="DATASET_UNREADABLE") from error
    except MemoryError as error:
        message = "takes more memory to read than datasets.import_memory_bytes; send it as JSON Lines, or in parts"
        raise InvalidArgumentError.of(task.field, message, reason="DATASET_UNREADABLE") from error


def refolded(folder: Path, segment: str, digest: str) -> str:
    """Returns the digest of a segment's rows after other rows than was thought.

    Args:
        folder: Folder of the data set.
        segment: The segment.
        digest: Digest of the rows before.
    """
    value = bytes.fromhex(digest)
    for text in segments.lines(folder, segment):
        value = folded(value, parsed(text.decode()))
    return value.hex()


def facts_of(schema: Schema) -> SchemaFacts:
    """Returns a schema as plain values."""
    return {name: (column.type, column.nullable) for name, column in schema.items()}


def schema_of(facts: SchemaFacts) -> Schema:
    """Returns a schema of plain values."""
    return {
        name: datasets_pb2.DatasetColumn(type=datasets_pb2.ColumnType.ValueType(kind), nullable=nullable)
        for name, (kind, nullable) in facts.items()
    }


def check_schema(schema: Schema, format_number: int) -> None:
    """Refuses a schema that rows of a format cannot fit.

    Raises:
        InvalidArgumentError: It lacks columns.
    """
    missing = formats.missing_columns(format_number, schema)
    if missing:
        name = datasets_pb2.DatasetFormat.Name(datasets_pb2.DatasetFormat.ValueType(format_number))
        raise InvalidArgumentError.of("dataset_schema", f"lacks {', '.join(missing)}, which rows of {name} have")


def _run(task: Import, content: bytes) -> Imported:
    schema = schema_of(task.schema) if task.schema is not None else None
    commit = _fetched(task)
    checker = Checker(schema, task.format, task.max_columns)
    digest = bytes.fromhex(task.digest)
    with segments.SegmentWriter(Path(task.folder), task.segment, task.max_rows, task.max_bytes) as writer:
        try:
            for number, row in _rows(task, content, schema):
                if isinstance(row, RowError):
                    checker.refuse(number, row)
                    continue
                checker.check(number, row)
                if checker.faults:
                    continue
                try:
                    text = line(row)
                    digest = folded(digest, row)
                except RowError as error:
                    checker.refuse(number, error)
                    continue
                if len(text) > task.max_row_bytes:
                    checker.refuse(number, too_large(task.max_row_bytes))
                    continue
                writer.add(text)
        except TooManyFaultsError:
            pass
        if checker.faults:
            raise _misfit(checker, task.prefix)
        if not writer.rows:
            raise UnreadableError("holds no rows")
        writer.finish()
    return Imported(writer.rows, writer.bytes, digest.hex(), facts_of(checker.schema()), commit)


def _fetched(task: Import) -> str:
    """Downloads what is on Hugging Face; returns the commit."""
    about = task.huggingface
    if about is None or not about.repository:
        return ""
    from services.post_training.datasets.readers import huggingface

    return huggingface.download(
        about.repository, about.revision, about.token, about.endpoint, Path(task.path), task.max_bytes
    )


def _rows(task: Import, content: bytes, schema: Schema | None) -> Rows:
    path = Path(task.path)
    match task.kind:
        case "create_request":
            return inline.read(datasets_pb2.InlineRows.FromString(content or path.read_bytes()), task.max_row_bytes)
        case "append_request":
            return inline.read(
                datasetio_pb2.AppendRowsRequest.FromString(content or path.read_bytes()), task.max_row_bytes
            )
        case "huggingface":
            from services.post_training.datasets.readers import huggingface

            assert task.huggingface is not None
            about = task.huggingface
            cache = path.with_name(f"{path.name}.cache")
            return huggingface.read(path, about.name, about.split, cache, task.max_columns)
    match detected(path, task.file_name, task.file_format):
        case datasets_pb2.DATASET_FILE_FORMAT_PARQUET:
            return parquet.read(path, task.max_rows, task.max_columns)
        case datasets_pb2.DATASET_FILE_FORMAT_CSV:
            return csv_table.read(path, schema, task.format, task.max_row_bytes, task.max_columns)
        case datasets_pb2.DATASET_FILE_FORMAT_JSON:
            return json_list.read(path, task.max_row_bytes)
        case _:
            return jsonl.read(path, task.max_row_bytes)


def _misfit(checker: Checker, prefix: str) -> InvalidArgumentError:
    found = [FieldViolation(fault.path(prefix), fault.description) for fault in checker.faults]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    message = f"{found[0].field}: {found[0].description}{more}"
    return InvalidArgumentError(message, violations=found, reason="ROWS_DO_NOT_FIT")
