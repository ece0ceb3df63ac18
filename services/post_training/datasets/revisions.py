"""The segments of revisions, kept in memory: what was once read never changes."""

from collections import OrderedDict
from collections.abc import Sequence

from services.core.errors import NotFoundError
from services.post_training.datasets.appending import no_dataset
from services.post_training.datasets.ports import DatasetStore, Record, Revision

_MOST_KEPT = 200_000


class Revisions:
    """Reads revisions from the store, each once."""

    def __init__(self, store: DatasetStore) -> None:
        """Knows none yet.

        Args:
            store: Has them.
        """
        self._store = store
        self._known: OrderedDict[str, list[Revision]] = OrderedDict()
        self._count = 0

    async def until(self, record: Record, last: int) -> Sequence[Revision]:
        """Returns the revisions from the first to a given one: each added one segment, and together they are its rows.

        Args:
            record: The data set.
            last: Number of the revision; 1 at least, and not beyond the record's current one.

        Raises:
            NotFoundError: The data set is gone.
            UnavailableError: The store does not answer.
        """
        known = self._known.get(record.folder, [])
        if len(known) < last:
            begin = len(known) + 1
            # The newest comes with the record.
            more = list(await self._read(record, begin, last)) if (begin, last) != (record.current.number,) * 2 else []
            known = self._keep(record.folder, [*known, *(more or [record.current])])
        self._known[record.folder] = known
        self._known.move_to_end(record.folder)
        return known[:last]

    async def _read(self, record: Record, first: int, last: int) -> Sequence[Revision]:
        found = await self._store.revisions(record, first, last)
        if found is None:
            raise no_dataset(record.dataset.dataset_id)
        return found

    def _keep(self, folder: str, revisions: list[Revision]) -> list[Revision]:
        # Somebody else may have read them meanwhile.
        before = self._known.pop(folder, [])
        longest = max(before, revisions, key=len)
        self._known[folder] = longest
        self._count += len(longest) - len(before)
        while self._count > _MOST_KEPT and len(self._known) > 1:
            _, gone = self._known.popitem(last=False)
            self._count -= len(gone)
        return longest


def missing_revision(dataset_id: str, number: int, current: int) -> NotFoundError:
    """Returns the error for a revision that does not exist."""
    message = f"data set {dataset_id!r} has the revisions 1 to {current}, and not {number}"
    return NotFoundError(message, resource_type="dataset revision", resource_name=f"{dataset_id}@{number}")
