"""Where rows come from: each source becomes a file or folder in the spool, from which they are read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caravan.datasets.v1 import datasets_pb2
from services.core.errors import InvalidArgumentError
from services.core.fetch import fetch as fetch_small
from services.post_training.datasets.allowed_files import AllowedFiles
from services.post_training.datasets.fetching import fetch
from services.post_training.datasets.importing import HuggingFaceFacts
from services.post_training.datasets.readers.huggingface import MOST_FILES, REPOSITORY, is_wanted
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.spooling import SpoolFile, in_thread, remove_in_thread
from services.post_training.storage import Storage

_DATA = "data:"
_SPLIT = "train"


@dataclass(frozen=True, slots=True)
class Material:
    """Something to read rows from."""

    kind: Literal["file", "huggingface", "create_request", "append_request"]
    """What it is; see `importing.Import`."""
    path: Path
    """Where it is."""
    field: str
    """Path of the request's field that names it."""
    content: bytes | None = None
    """The request's message with the rows. None: they are at the path."""
    file_name: str = ""
    """Name that the file came with."""
    file_format: int = 0
    """Form of the file; 0: to be told from it."""
    huggingface: HuggingFaceFacts | None = None
    """For a data set of Hugging Face's."""


class Sources:
    """Brings sources to the spool."""

    def __init__(self, settings: DatasetsSettings, storage: Storage) -> None:
        """Reads nothing yet.

        Args:
            settings: What may be read.
            storage: Has the spool.
        """
        self._settings = settings
        self._storage = storage
        self._allowed = AllowedFiles(settings.folders, settings.max_bytes, MOST_FILES)

    @asynccontextmanager
    async def brought(self, source: datasets_pb2.DatasetSource) -> AsyncIterator[Material]:
        """Yields what is to be read, and removes it afterwards.

        Args:
            source: The source.

        Raises:
            CaravanError: It must not, or cannot, be read; see the RPC.
        """
        path = self._storage.new_spool()
        try:
            yield await self._brought(source, path)
        finally:
            await remove_in_thread(path, path.with_name(f"{path.name}.cache"))

    async def _brought(self, source: datasets_pb2.DatasetSource, path: Path) -> Material:
        match source.WhichOneof("source"):
            case "rows":
                content = await in_thread(source.rows.SerializeToString)
                return Material("create_request", path, "source.rows", content)
            case "uri":
                return await self._from_address(source, path)
            case "file":
                field = "source.file.path"
                await in_thread(self._allowed.copy_file, source.file.path, path, field)
                name = source.file.path.rpartition("/")[2]
                return Material("file", path, field, file_name=name, file_format=source.file_format)
            case _:
                return await self._from_huggingface(source.huggingface, path)

    async def _from_address(self, source: datasets_pb2.DatasetSource, path: Path) -> Material:
        field, uri, limits = "source.uri", source.uri.uri, self._settings.fetch_limits
        name = ""
        async with SpoolFile(path, self._settings.max_bytes) as spool:
            if uri.startswith(_DATA):
                await spool.write((await fetch_small(uri, limits, field)).content)
                await spool.flush()
            else:
                name = await fetch(uri, limits, spool, field)
        return Material("file", path, field, file_name=name, file_format=source.file_format)

    async def _from_huggingface(self, source: datasets_pb2.HuggingFaceSource, path: Path) -> Material:
        field = "source.huggingface.path"
        is_folder = source.path.startswith("/")
        if not is_folder and not REPOSITORY.fullmatch(source.path):
            raise InvalidArgumentError.of(field, "must be name, owner/name, or the absolute path of a folder")
        await in_thread(path.mkdir)
        if is_folder:
            await in_thread(self._allowed.copy_folder, source.path, path, is_wanted, field)
        facts = HuggingFaceFacts(
            repository="" if is_folder else source.path,
            name=source.name,
            split=source.split or _SPLIT,
            revision=source.revision,
            endpoint=self._settings.huggingface_endpoint,
            token=self._settings.huggingface_token.get_secret_value(),
        )
        return Material("huggingface", path, field, huggingface=facts)


def recorded(source: datasets_pb2.DatasetSource, commit: str) -> datasets_pb2.DatasetSource:
    """Returns a source as it is kept and shown: without rows, and with the commit that was read.

    Args:
        source: The source.
        commit: Commit on Hugging Face; empty: none.
    """
    kept = datasets_pb2.DatasetSource()
    if source.HasField("rows") or source.uri.uri.startswith(_DATA):
        kept.rows.SetInParent()
        return kept
    kept.CopyFrom(source)
    if commit:
        kept.huggingface.revision = commit
    return kept
