"""Parquet files, a small batch at a time: what a file unpacks to may be thousands of times its size."""

from pathlib import Path
from typing import Any

from services.post_training.datasets.readers import arrow
from services.post_training.datasets.readers.numbered import Rows, UnreadableError

# Bounds of the file's own description of itself, which is read whole.
_MOST_TEXT, _MOST_ITEMS = 64 << 20, 10_000_000
_BATCH_BYTES, _LEAST_ROWS = 8 << 20, 8


def read(path: Path, max_rows: int, max_columns: int) -> Rows:
    """Yields the rows of a file.

    Args:
        path: The file.
        max_rows: Most rows; a file that has more is refused before any is read.
        max_columns: Most columns.

    Raises:
        UnreadableError: It is no such file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    pa.set_cpu_count(1)
    number = 0
    try:
        with parquet.ParquetFile(
            path, thrift_string_size_limit=_MOST_TEXT, thrift_container_size_limit=_MOST_ITEMS
        ) as file:
            _check(file, max_rows, max_columns)
            for batch in file.iter_batches(batch_size=_batch_rows(file.metadata), use_threads=False):
                for row in arrow.rows_of(batch):
                    yield number, row
                    number += 1
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableError(f"cannot be read as Parquet: {_first_line(error)}") from error


def _check(file: Any, max_rows: int, max_columns: int) -> None:
    names = file.schema_arrow.names
    if file.metadata.num_rows > max_rows:
        raise UnreadableError(f"has {file.metadata.num_rows} rows; a data set has at most {max_rows}")
    if len(names) > max_columns:
        raise UnreadableError(f"has {len(names)} columns; a data set has at most {max_columns}")
    if len(set(names)) < len(names):
        raise UnreadableError("has a column twice")


def _batch_rows(metadata: Any) -> int:
    """Returns how many rows to read at a time: few when they are long."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    return max(_LEAST_ROWS, min(arrow.BATCH_ROWS, _BATCH_BYTES // max(1, longest)))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
