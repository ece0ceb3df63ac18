"""What data sets need of others."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from caravan.datasets.v1 import datasets_pb2


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision as it is kept."""

    number: int
    """Number, from 1."""
    created: int
    """When it was made, in microseconds since the epoch."""
    segment: str
    """The segment that it added."""
    row_count: int
    """Rows, those of the revisions before included."""
    size_bytes: int
    """Bytes of all rows."""
    sha256: str
    """Digest of all rows."""

    def message(self) -> datasets_pb2.DatasetRevision:
        """Returns it as the contract shows it."""
        shown = datasets_pb2.DatasetRevision(
            revision=self.number, row_count=self.row_count, sha256=self.sha256, size_bytes=self.size_bytes
        )
        shown.created_at.FromMicroseconds(self.created)
        return shown


@dataclass(frozen=True, slots=True)
class Record:
    """A data set as it is kept."""

    dataset: datasets_pb2.Dataset
    """What never changes of it."""
    folder: str
    """Name of its folder: tells it from an earlier one of the same name."""
    fingerprint: str
    """Of what made it: another with the same is the same."""
    current: Revision
    """Its newest revision."""

    def message(self) -> datasets_pb2.Dataset:
        """Returns it as the contract shows it."""
        shown = datasets_pb2.Dataset()
        shown.CopyFrom(self.dataset)
        shown.current.CopyFrom(self.current.message())
        return shown


@dataclass(frozen=True, slots=True)
class Receipt:
    """By what a repeated call is known."""

    rpc: str
    """Name of the RPC."""
    request_id: str
    """The caller's. Empty: none; a call whose outcome is not known is still done once."""
    digest: str
    """Of the call, 64 characters."""


@dataclass(frozen=True, slots=True)
class Created:
    """What became of an attempt to create a data set."""

    outcome: Literal["created", "repeated", "same", "taken", "reused"]
    """It is there now; was answered before; is there already, the same; another has its name; or the request id was another call's."""
    answer: bytes = b""
    """What was answered before."""
    record: Record | None = None
    """The data set that is there already."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an attempt to append a revision."""

    outcome: Literal["appended", "repeated", "stale", "absent", "reused"]
    """It is there now; was answered before; the data set has moved on; it is gone; or the request id was another call's."""
    answer: bytes = b""
    """What was answered before."""
    current: int = 0
    """Its revision, when it has moved on."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of an attempt to delete a data set."""

    outcome: Literal["deleted", "repeated", "stale", "used", "absent", "reused"]
    """Gone now; was answered before; has another revision; a job uses it; is not there; or the request id was another call's."""
    detail: str = ""
    """The revision that it has, or the job."""


class DatasetStore(ABC):
    """Keeps what is known of data sets; every change happens whole or not at all. All methods raise UnavailableError when it is away."""

    @abstractmethod
    async def answer(self, receipt: Receipt) -> bytes | None:
        """Returns what a call with this request id was answered, or None.

        Raises:
            InvalidArgumentError: It was another call.
        """

    @abstractmethod
    async def create(self, record: Record, receipt: Receipt, answer: bytes) -> Created:
        """Creates a data set with its first revision.

        Args:
            record: The data set.
            receipt: The call.
            answer: What a repeated call is answered.
        """

    @abstractmethod
    async def append(self, record: Record, revision: Revision, receipt: Receipt, answer: bytes) -> Appended:
        """Adds a revision.

        Args:
            record: The data set as it was read; its current revision must still be that.
            revision: The new revision.
            receipt: The call.
            answer: What a repeated call is answered.
        """

    @abstractmethod
    async def delete(self, record: Record, revision: int | None, receipt: Receipt) -> Deleted:
        """Deletes a data set.

        Args:
            record: The data set as it was read.
            revision: Revision that it must have. None: any.
            receipt: The call.
        """

    @abstractmethod
    async def find(self, dataset_id: str) -> Record | None:
        """Returns a data set, or None."""

    @abstractmethod
    async def list(self, format_number: int, after: str, limit: int) -> Sequence[Record]:
        """Returns data sets in the order of their identifiers.

        Args:
            format_number: Only those of this format; 0: all.
            after: Identifier that they come after; empty: from the first on.
            limit: Most to return.
        """

    @abstractmethod
    async def revisions(self, record: Record, first: int, last: int) -> Sequence[Revision] | None:
        """Returns revisions in ascending order; None when the data set is gone.

        Args:
            record: The data set.
            first: Number of the first.
            last: Number of the last.
        """

    @abstractmethod
    async def owners(self, folders: Sequence[str]) -> Mapping[str, str]:
        """Returns of which data sets folders are, by folder; those of none are left out."""

    @abstractmethod
    async def claim_storage(self, identity: str) -> str:
        """Notes that the store knows a folder on disk, unless it knows one already; returns the one that it knows.

        Args:
            identity: Of the folder. Empty: only look.
        """
