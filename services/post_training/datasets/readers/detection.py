"""Which form a file has, told from its content and its name."""

from pathlib import Path, PurePosixPath

from caravan.datasets.v1 import datasets_pb2
from services.post_training.datasets.readers.numbered import UnreadableError

_SUFFIXES = {
    ".jsonl": datasets_pb2.DATASET_FILE_FORMAT_JSONL,
    ".ndjson": datasets_pb2.DATASET_FILE_FORMAT_JSONL,
    ".parquet": datasets_pb2.DATASET_FILE_FORMAT_PARQUET,
    ".csv": datasets_pb2.DATASET_FILE_FORMAT_CSV,
    ".json": datasets_pb2.DATASET_FILE_FORMAT_JSON,
}
_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_PARQUET = b"PAR1"
_HEAD_BYTES = 4096


def detected(path: Path, name: str, told: int) -> int:
    """Returns the form of a file, a value of DatasetFileFormat.

    Args:
        path: The file.
        name: Name that it came with; may be empty.
        told: What the caller says; 0: nothing.

    Raises:
        UnreadableError: It is empty or compressed, or has no form that is read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
    if not head:
        raise UnreadableError("is empty")
    if head.startswith(_COMPRESSED):
        raise UnreadableError("is compressed; send it as it is")
    if told:
        return told
    if head.startswith(_PARQUET):
        return datasets_pb2.DATASET_FILE_FORMAT_PARQUET
    by_name = _SUFFIXES.get(PurePosixPath(name).suffix.lower())
    first = head.lstrip()[:1]
    # Many files of JSON Lines are called .json.
    if by_name in (None, datasets_pb2.DATASET_FILE_FORMAT_JSON) and first in b"{[" and first:
        return datasets_pb2.DATASET_FILE_FORMAT_JSON if first == b"[" else datasets_pb2.DATASET_FILE_FORMAT_JSONL
    if by_name is None:
        raise UnreadableError("is neither Parquet nor JSON, and its name tells no form; set file_format")
    return by_name
