"""Data sets laid out as on Hugging Face: downloaded or copied to a folder of ours first, and then read by `datasets` from there alone.

A data set's own description may name any file of this machine and any address. So nothing is read before every pattern in it is known to
stay inside the folder, and only by builders of plain tables: others run code that the files bring along.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from services.core.errors import FailedPreconditionError, ResourceExhaustedError
from services.post_training.datasets.readers import arrow
from services.post_training.datasets.readers.numbered import Rows, UnreadableError

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".parquet", ".arrow")
"""Files that hold rows."""
DESCRIPTIONS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""Files that describe the data set."""
MOST_FILES = 10_000
_BUILDERS = ("json", "csv", "parquet", "text", "arrow")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_DESCRIPTION_BYTES = 4 << 20
_SECONDS = 60


def is_wanted(path: str) -> bool:
    """Tells whether a file belongs to what is read.

    Args:
        path: Its path in the data set's folder.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        return False
    return path in DESCRIPTIONS or (path.lower().endswith(SUFFIXES) and not pure.name.startswith("."))


def download(repository: str, revision: str, token: str, endpoint: str, folder: Path, max_bytes: int) -> str:
    """Downloads the files of a data set.

    Args:
        repository: Its identifier.
        revision: Commit, branch or tag; empty: the main branch.
        token: Token; empty: none.
        endpoint: Address of the hub.
        folder: Where to.
        max_bytes: Most bytes of all files.

    Returns:
        The commit.

    Raises:
        FailedPreconditionError: There is none, or the hub cannot be reached.
        ResourceExhaustedError: It is larger.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    api = HfApi(endpoint=endpoint, token=token or False)
    try:
        found = api.dataset_info(repository, revision=revision or None, files_metadata=True, timeout=_SECONDS)
        wanted = [file for file in found.siblings or () if is_wanted(file.rfilename)]
        _check_size(repository, sum(file.size or 0 for file in wanted), len(wanted), max_bytes)
        for file in wanted:
            api.hf_hub_download(
                repository,
                file.rfilename,
                repo_type="dataset",
                revision=found.sha,
                local_dir=folder,
                etag_timeout=_SECONDS,
            )
    except (RepositoryNotFoundError, GatedRepoError) as error:
        message = (
            f"Hugging Face has no data set {repository!r} that this service may read: check the name, and for a private or gated one "
            "the service's setting datasets.huggingface_token"
        )
        raise FailedPreconditionError(message, reason="SOURCE_UNREADABLE") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        message = (
            f"Hugging Face answers for {repository!r} at revision {revision or 'main'!r} with HTTP status {status}"
        )
        raise FailedPreconditionError(message, reason="SOURCE_UNREADABLE") from error
    except (OfflineModeIsEnabled, HTTPError, ConnectionError) as error:
        message = (
            "Hugging Face cannot be reached from this service: give a folder laid out like the data set as huggingface.path, "
            "upload a file, or let the service reach datasets.huggingface_endpoint"
        )
        raise FailedPreconditionError(message, reason="SOURCE_UNREACHABLE") from error
    return str(found.sha)


def read(folder: Path, name: str, split: str, cache: Path, max_columns: int) -> Rows:
    """Yields the rows of a data set in a folder.

    Args:
        folder: The folder; nobody else changes it.
        name: Name of the configuration; empty: the only one.
        split: Split, with slices.
        cache: Folder for what is made on the way.
        max_columns: Most columns.

    Raises:
        UnreadableError: It cannot be read.
    """
    for description in ("README.md", ".huggingface.yaml"):
        _check_description(folder / description)
    import datasets

    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(str(folder), name=name or None, cache_dir=str(cache))
        _check_builder(builder, folder.resolve())
        builder.download_and_prepare()
        table = builder.as_dataset(split=split).with_format("arrow")
    except UnreadableError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableError(f"cannot be read: {_first_line(error)}") from error
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableError(f"cannot be read: {_first_line(error, folder)}") from error
    if len(table.column_names) > max_columns:
        raise UnreadableError(f"has {len(table.column_names)} columns; a data set has at most {max_columns}")
    number = 0
    for part in table.iter(batch_size=arrow.BATCH_ROWS):
        for batch in part.to_batches():
            for row in arrow.rows_of(batch):
                yield number, row
                number += 1


def _check_size(repository: str, size: int, count: int, max_bytes: int) -> None:
    if not count:
        message = f"the data set {repository!r} on Hugging Face has no file of rows ({', '.join(SUFFIXES)})"
        raise FailedPreconditionError(message, reason="SOURCE_UNREADABLE")
    if size > max_bytes or count > MOST_FILES:
        message = f"the data set {repository!r} has {size} bytes in {count} files; at most {max_bytes} in {MOST_FILES} are read"
        raise ResourceExhaustedError(message, subject="datasets.max_bytes", reason="DATASET_TOO_LARGE")


def _check_description(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("rb") as file:
        text = file.read(_DESCRIPTION_BYTES).decode(errors="replace")
    if path.suffix == ".md":
        found = _FRONT_MATTER.match(text)
        text = found.group(1) if found else ""
    try:
        described = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableError(f"has a {path.name} whose description is no YAML") from error
    configurations = described.get("configs") if isinstance(described, dict) else None
    for pattern in _texts(configurations, 0):
        pure = PurePosixPath(pattern)
        if (
            "://" in pattern
            or "::" in pattern
            or "\\" in pattern
            or pattern.startswith("~")
            or pure.is_absolute()
            or ".." in pure.parts
        ):
            raise UnreadableError(
                f"describes its files in {path.name} by {pattern[:100]!r}, which leads out of its folder"
            )


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and depth < 16:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, depth + 1)


def _check_builder(builder: Any, folder: Path) -> None:
    kind = type(builder).__module__.split(".")[-1]
    if kind not in _BUILDERS:
        raise UnreadableError(
            f"is read by the builder {kind!r} of Hugging Face; this service reads {', '.join(_BUILDERS)}"
        )
    for files in (builder.config.data_files or {}).values():
        for file in files:
            if not Path(os.path.realpath(file)).is_relative_to(folder):
                raise UnreadableError("names files outside its folder")


def _first_line(error: BaseException, folder: Path | None = None) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return (line.replace(str(folder), "the folder") if folder else line)[:200]
