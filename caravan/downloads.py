"""Files of checkpoints as they come in: written as they come, checked by their digests, gone on with after a break."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from caravan.errors import CaravanError, InvalidInputError
from caravan.post_training.v1 import checkpoints_pb2, post_training_pb2


class DownloadedFiles:
    """The folder that a checkpoint is downloaded into."""

    def __init__(self, folder: Path, job_uuid: str, identifier: str) -> None:
        """Begins with nothing.

        Args:
            folder: Where files go; it is made.
            job_uuid: The checkpoint's job.
            identifier: The checkpoint.
        """
        self._folder = folder
        self._job_uuid = job_uuid
        self._identifier = identifier
        self._file: BinaryIO | None = None
        self._current = checkpoints_pb2.CheckpointFile()
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.received = 0
        """Bytes that have come."""
        self.complete = False
        """All of it is here."""

    def __enter__(self) -> Self:
        """Returns it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the file that is being written."""
        if self._file is not None:
            self._file.close()

    def request(self) -> post_training_pb2.DownloadCheckpointRequest:
        """The request for what is not here yet."""
        return post_training_pb2.DownloadCheckpointRequest(
            job_uuid=self._job_uuid, identifier=self._identifier, from_path=self._current.path, offset=self._bytes
        )

    def add(self, event: post_training_pb2.DownloadCheckpointResponse) -> None:
        """Takes what has come.

        Raises:
            CaravanError: A file is not what it should be.
            InvalidInputError: A file cannot be written here.
        """
        match event.WhichOneof("event"):
            case "file":
                self._begin(event.file)
            case "data" if self._file is not None:
                self._file.write(event.data)
                self._digest.update(event.data)
                self._bytes += len(event.data)
                self.received += len(event.data)
            case "complete":
                self._end()
                self.complete = True

    def _begin(self, file: checkpoints_pb2.CheckpointFile) -> None:
        if self._file is not None and file.path == self._current.path:
            return  # The rest of what broke off.
        self._end()
        path = self._folder / file.path
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise CaravanError(f"the service names a file outside of the checkpoint: {file.path!r}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        except OSError as error:
            raise InvalidInputError(f"cannot write {path}: {error.strerror}") from error
        self._current, self._digest, self._bytes = file, hashlib.sha256(), 0

    def _end(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if self._digest.hexdigest() != self._current.sha256:
            path = self._folder / self._current.path
            raise CaravanError(f"{path} came damaged: its SHA-256 is not the checkpoint's; download it again")
