"""Data sets in plain Python values, and the request messages that they become."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, get_type_hints

from caravan.datasets.v1 import datasets_pb2
from caravan.errors import InvalidInputError
from caravan.types.v1 import types_pb2

ColumnLike: TypeAlias = str | datasets_pb2.DatasetColumn
"""Name of a type such as `string` or `dialog`, with a question mark when the column may be missing, or a message."""

PIECE_BYTES = 1 << 20
"""Size of the pieces in which files are sent."""


class DatasetParameters(TypedDict, total=False):
    """What a data set shall be."""

    file_format: str | None
    """`jsonl`, `parquet`, `csv` or `json`, for a file. Default: told from its content and its name."""
    schema: Mapping[str, ColumnLike] | None
    """Types of the columns, for instance `{"question": "string", "score": "number?"}`. Default: told from the rows."""
    format: str | None
    """`instruct`, `dialog`, `preference` or `prompt`: rows are checked for it. Default: none."""
    metadata: Mapping[str, Any] | None
    """Facts about it for those who list it."""
    request_id: str | None
    """Makes a repeated call return the first one's result. Default: a new one."""


class SourceParameters(DatasetParameters, total=False):
    """Where a data set comes from, and what it shall be."""

    url: str | None
    """Address to fetch."""
    file: str | None
    """Path in one of the folders that the service reads from."""
    huggingface: str | Mapping[str, str] | None
    """`path` of a Hugging Face data set, or a mapping with `path`, `name`, `split` and `revision`."""
    validate_only: bool
    """Check everything and make nothing."""


def create_request(
    dataset_id: str, rows: Iterable[Mapping[str, Any] | str] | None, parameters: SourceParameters
) -> datasets_pb2.CreateDatasetRequest:
    """Builds the request that makes a data set of a source.

    Args:
        dataset_id: Identifier; empty: the service makes one.
        rows: The rows themselves, when they come from nowhere else.
        parameters: Where they come from, and what the data set shall be.

    Raises:
        InvalidInputError: A value does not fit.
    """
    _check_names(parameters, SourceParameters)
    request = datasets_pb2.CreateDatasetRequest(
        dataset_id=dataset_id,
        dataset_schema=schema(parameters.get("schema")),
        source=_source(rows, parameters),
        format=dataset_format(parameters.get("format")),
        validate_only=parameters.get("validate_only", False),
        request_id=parameters.get("request_id") or uuid.uuid4().hex,
    )
    request.source.file_format = file_format(parameters.get("file_format"))
    request.metadata.update(dict(parameters.get("metadata") or {}))
    return request


def upload_head(
    path: Path, dataset_id: str, sha256: str, parameters: DatasetParameters
) -> datasets_pb2.UploadDatasetRequest:
    """Builds the first request of an upload.

    Args:
        path: The file.
        dataset_id: Identifier; empty: the service makes one.
        sha256: Of the file; empty: what arrives is not compared with it.
        parameters: What the data set shall be.

    Raises:
        InvalidInputError: A value does not fit, or there is no such file.
    """
    _check_names(parameters, DatasetParameters)
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    head = datasets_pb2.UploadDatasetHead(
        dataset_id=dataset_id,
        dataset_schema=schema(parameters.get("schema")),
        file_format=file_format(parameters.get("file_format")),
        format=dataset_format(parameters.get("format")),
        file_name=path.name,
        sha256=sha256,
        request_id=parameters.get("request_id") or uuid.uuid4().hex,
    )
    head.metadata.update(dict(parameters.get("metadata") or {}))
    return datasets_pb2.UploadDatasetRequest(head=head)


def texts(rows: Iterable[Mapping[str, Any] | str]) -> list[str]:
    """Returns rows as JSON texts, which keep integers and the order of keys.

    Args:
        rows: Mappings, or JSON texts.

    Raises:
        InvalidInputError: A row is no JSON; names which.
    """
    return [_text(row, f"rows[{place}]") for place, row in enumerate(rows)]


def schema(columns: Mapping[str, ColumnLike] | None) -> dict[str, datasets_pb2.DatasetColumn]:
    """Builds the types of columns.

    Args:
        columns: Types by name, for instance `{"question": "string", "score": "number?"}`. None: the rows tell.

    Raises:
        InvalidInputError: There is no such type.
    """
    return {name: _column(kind, f"schema[{name!r}]") for name, kind in (columns or {}).items()}


def dataset_format(name: str | None) -> datasets_pb2.DatasetFormat.ValueType:
    """Returns what rows are for.

    Args:
        name: `instruct`, `dialog`, `preference` or `prompt`. None: not said.

    Raises:
        InvalidInputError: It is another word.
    """
    number = _enum(datasets_pb2.DatasetFormat, "DATASET_FORMAT_", name, "format")
    return datasets_pb2.DatasetFormat.ValueType(number)


def file_format(name: str | None) -> datasets_pb2.DatasetFileFormat.ValueType:
    """Returns the form of a file.

    Args:
        name: `jsonl`, `parquet`, `csv` or `json`. None: told from its name or its content.

    Raises:
        InvalidInputError: It is another word.
    """
    number = _enum(datasets_pb2.DatasetFileFormat, "DATASET_FILE_FORMAT_", name, "file_format")
    return datasets_pb2.DatasetFileFormat.ValueType(number)


def file_requests(
    path: Path, sent: Callable[[int], object] | None = None
) -> Iterator[datasets_pb2.UploadDatasetRequest]:
    """Yields a file as requests of an upload, read while they are sent.

    Args:
        path: The file.
        sent: Called with the number of bytes that were sent so far, about.
    """
    done = 0
    with path.open("rb") as file:
        while data := file.read(PIECE_BYTES):
            yield datasets_pb2.UploadDatasetRequest(data=data)
            done += len(data)
            if sent is not None:
                sent(done)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal, by which the service sees whether all of it has come.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def column_type(column: datasets_pb2.DatasetColumn) -> str:
    """Returns the name of a column's type, with a question mark when it may be missing.

    Args:
        column: The column.
    """
    name = datasets_pb2.ColumnType.Name(column.type).removeprefix("COLUMN_TYPE_").lower()
    return f"{name}?" if column.nullable else name


def format_name(number: datasets_pb2.DatasetFormat.ValueType) -> str:
    """Returns the name of what rows are for; empty when it is not said.

    Args:
        number: The format.
    """
    return datasets_pb2.DatasetFormat.Name(number).removeprefix("DATASET_FORMAT_").lower() if number else ""


def _source(rows: Iterable[Mapping[str, Any] | str] | None, parameters: SourceParameters) -> datasets_pb2.DatasetSource:
    url, file, huggingface = parameters.get("url"), parameters.get("file"), parameters.get("huggingface")
    given = [value for value in (rows, url, file, huggingface) if value is not None]
    if len(given) != 1:
        raise InvalidInputError("give exactly one of rows, url, file and huggingface")
    if rows is not None:
        return datasets_pb2.DatasetSource(rows=datasets_pb2.InlineRows(rows_json=texts(rows)))
    if url is not None:
        return datasets_pb2.DatasetSource(uri=types_pb2.URL(uri=url))
    if file is not None:
        return datasets_pb2.DatasetSource(file=datasets_pb2.FileSource(path=file))
    facts = {"path": huggingface} if isinstance(huggingface, str) else dict(huggingface or {})
    unknown = sorted(facts.keys() - {"path", "name", "split", "revision"})
    if unknown:
        raise InvalidInputError(f"unknown {unknown[0]!r}; there are path, name, split and revision", "huggingface")
    return datasets_pb2.DatasetSource(huggingface=datasets_pb2.HuggingFaceSource(**facts))


def _check_names(given: Mapping[str, Any], parameters: type) -> None:
    known = sorted(get_type_hints(parameters))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidInputError(f"unknown parameter {unknown[0]!r}; there are {', '.join(known)}")


def _text(row: Mapping[str, Any] | str, path: str) -> str:
    if isinstance(row, str):
        return row
    try:
        return json.dumps(dict(row), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"is no JSON: {error}", path) from error


def _column(kind: ColumnLike, path: str) -> datasets_pb2.DatasetColumn:
    if isinstance(kind, datasets_pb2.DatasetColumn):
        return kind
    name = kind.removesuffix("?")
    number = _enum(datasets_pb2.ColumnType, "COLUMN_TYPE_", name, path)
    return datasets_pb2.DatasetColumn(type=datasets_pb2.ColumnType.ValueType(number), nullable=kind.endswith("?"))


def _enum(kind: Any, prefix: str, name: str | None, path: str) -> int:
    if name is None:
        return 0
    names = [key.removeprefix(prefix).lower() for key, number in kind.items() if number]
    if name.lower() not in names:
        raise InvalidInputError(f"{name!r} is none of {', '.join(names)}", path)
    return int(kind.Value(prefix + name.upper()))
