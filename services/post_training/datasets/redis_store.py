"""What is known of data sets, in Redis. One script a command; keys as in `services.post_training.keys`."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from caravan.datasets.v1 import datasets_pb2
from services.core.errors import InternalError
from services.core.redis.connection import Connection
from services.core.redis.scripts import Argument, load_scripts
from services.post_training import keys
from services.post_training.datasets.idempotency import reused
from services.post_training.datasets.ports import Appended, Created, DatasetStore, Deleted, Receipt, Record, Revision
from services.post_training.storage import new_name

_DAY_MILLISECONDS = 24 * 3600 * 1000
# How long a call without a request id can be sent again when its outcome is not known.
_RETRY_MILLISECONDS = 15 * 60 * 1000
# What a script unpacks at a time.
_BATCH = 1000


class RedisDatasetStore(DatasetStore):
    """Data sets in Redis."""

    def __init__(self, connection: Connection) -> None:
        """Takes the connection.

        Args:
            connection: To Redis.
        """
        self._connection = connection
        self._scripts = load_scripts("services.post_training.datasets")

    async def answer(self, receipt: Receipt) -> bytes | None:
        """See DatasetStore."""
        reply = await self._run("answer", [keys.request(receipt.rpc, receipt.request_id)], [receipt.digest])
        if not reply:
            return None
        if reply[0] == b"reused":
            raise reused()
        answer: bytes = reply[1]
        return answer

    async def create(self, record: Record, receipt: Receipt, answer: bytes) -> Created:
        """See DatasetStore."""
        dataset_id = record.dataset.dataset_id
        request, lifetime = _request(receipt)
        names = [
            keys.dataset(dataset_id),
            keys.dataset_revisions(dataset_id),
            keys.DATASETS,
            keys.datasets_of_format(record.dataset.format),
            keys.DATASET_FOLDERS,
            request,
        ]
        kept = record.dataset.SerializeToString(deterministic=True)
        arguments: list[Argument] = [dataset_id, kept, record.folder, record.fingerprint, _text(record.current)]
        outcome, *rest = await self._run(
            "create", names, [*arguments, receipt.digest, _kept(receipt, answer), lifetime]
        )
        match outcome:
            case b"repeated" if receipt.request_id:
                return Created("repeated", answer=rest[0])
            case b"created" | b"repeated":
                return Created("created")
            case b"same":
                return Created("same", record=_record(rest))
            case b"taken":
                return Created("taken")
            case _:
                return Created("reused")

    async def append(self, record: Record, revision: Revision, receipt: Receipt, answer: bytes) -> Appended:
        """See DatasetStore."""
        dataset_id = record.dataset.dataset_id
        request, lifetime = _request(receipt)
        names = [keys.dataset(dataset_id), keys.dataset_revisions(dataset_id), request]
        arguments: list[Argument] = [
            record.folder,
            record.current.number,
            _text(revision),
            receipt.digest,
            _kept(receipt, answer),
            lifetime,
        ]
        outcome, *rest = await self._run("append", names, arguments)
        match outcome:
            case b"repeated" if receipt.request_id:
                return Appended("repeated", answer=rest[0])
            case b"appended" | b"repeated":
                return Appended("appended")
            case b"stale":
                return Appended("stale", current=int(rest[0]))
            case b"absent":
                return Appended("absent")
            case _:
                return Appended("reused")

    async def delete(self, record: Record, revision: int | None, receipt: Receipt) -> Deleted:
        """See DatasetStore."""
        dataset_id = record.dataset.dataset_id
        request, lifetime = _request(receipt)
        names = [
            keys.dataset(dataset_id),
            keys.dataset_revisions(dataset_id),
            keys.dataset_users(dataset_id),
            keys.DATASETS,
            keys.datasets_of_format(record.dataset.format),
            keys.DATASET_FOLDERS,
            request,
        ]
        arguments: list[Argument] = [
            dataset_id,
            record.folder,
            "" if revision is None else revision,
            receipt.digest,
            lifetime,
        ]
        outcome, *rest = await self._run("delete", names, arguments)
        match outcome:
            case b"deleted":
                return Deleted("deleted")
            case b"repeated":
                return Deleted("repeated" if receipt.request_id else "deleted")
            case b"stale":
                return Deleted("stale", rest[0].decode())
            case b"used":
                return Deleted("used", rest[0].decode())
            case b"absent":
                return Deleted("absent")
            case _:
                return Deleted("reused")

    async def find(self, dataset_id: str) -> Record | None:
        """See DatasetStore."""
        reply = await self._run("find", [keys.dataset(dataset_id)])
        return _record(reply) if reply[0] is not None else None

    async def list(self, format_number: int, after: str, limit: int) -> Sequence[Record]:
        """See DatasetStore."""
        key = keys.datasets_of_format(format_number) if format_number else keys.DATASETS
        found = await self._run("list", [key], [after, limit, keys.dataset("")])
        return [_record(reply) for reply in found]

    async def revisions(self, record: Record, first: int, last: int) -> Sequence[Revision] | None:
        """See DatasetStore."""
        dataset_id = record.dataset.dataset_id
        names = [keys.dataset(dataset_id), keys.dataset_revisions(dataset_id)]
        found: list[Revision] = []
        for begin in range(first, last + 1, _BATCH):
            end = min(last, begin + _BATCH - 1)
            reply = await self._run("revisions", names, [record.folder, begin, end])
            if reply is None:
                return None
            found += [_revision(number, text) for number, text in zip(range(begin, end + 1), reply, strict=True)]
        return found

    async def owners(self, folders: Sequence[str]) -> Mapping[str, str]:
        """See DatasetStore."""
        found: dict[str, str] = {}
        for begin in range(0, len(folders), _BATCH):
            batch = folders[begin : begin + _BATCH]
            reply = await self._run("owners", [keys.DATASET_FOLDERS], batch)
            found |= {name: owner.decode() for name, owner in zip(batch, reply, strict=True) if owner is not None}
        return found

    async def claim_storage(self, identity: str) -> str:
        """See DatasetStore."""
        known: bytes = await self._run("claim_storage", [keys.STORAGE], [identity])
        return known.decode()

    async def _run(self, script: str, names: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        return await self._connection.run(self._scripts[script], names, arguments)


def _request(receipt: Receipt) -> tuple[str, int]:
    """Returns where the answer is kept, and for how many milliseconds."""
    if receipt.request_id:
        return keys.request(receipt.rpc, receipt.request_id), _DAY_MILLISECONDS
    return keys.request(f"{receipt.rpc}.once", new_name()), _RETRY_MILLISECONDS


def _kept(receipt: Receipt, answer: bytes) -> bytes:
    """Returns the answer, when somebody may ask for it again."""
    return answer if receipt.request_id else b""


def _text(revision: Revision) -> str:
    fields = (revision.created, revision.segment, revision.row_count, revision.size_bytes, revision.sha256)
    return " ".join(map(str, fields))


def _revision(number: int, text: bytes) -> Revision:
    try:
        created, segment, row_count, size_bytes, sha256 = text.decode().split(" ")
        return Revision(number, int(created), segment, int(row_count), int(size_bytes), sha256)
    except (ValueError, AttributeError) as error:
        raise _damaged() from error


def _record(reply: Sequence[bytes]) -> Record:
    kept, folder, fingerprint, revision, current = reply
    try:
        dataset = datasets_pb2.Dataset.FromString(kept)
    except (DecodeError, TypeError) as error:
        raise _damaged() from error
    return Record(dataset, folder.decode(), fingerprint.decode(), _revision(int(revision), current))


def _damaged() -> InternalError:
    return InternalError("the store holds a damaged data set", reason="POST_TRAINING_STORE")
