"""What SQLite's and the file system's failures mean to a caller."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from services.core.errors import AbortedError, CaravanError, NotFoundError, ResourceExhaustedError, UnavailableError

_NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
}
_NO_ROOM_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def translated() -> Iterator[None]:
    """Turns failures of the database and of files into errors for the caller."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(error) from error
    except OSError as error:
        if error.errno in _NO_ROOM_ERRNO:
            raise no_room() from error
        message = f"the memory store cannot use its folder: {error.strerror}"
        raise UnavailableError(message, reason="STORE_UNAVAILABLE") from error


def _of_sqlite(error: sqlite3.Error) -> CaravanError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in _NO_ROOM:
        return no_room()
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return UnavailableError(f"the memory store's database does not answer ({name})", reason="STORE_UNAVAILABLE")


def no_room() -> ResourceExhaustedError:
    """The error for a full disk."""
    message = (
        "the disk of the memory store is full; nothing was written. Give it more room, or unregister a bank: deleting documents needs "
        "room too"
    )
    return ResourceExhaustedError(message, subject="disk", reason="NO_ROOM")


def not_open(bank_id: str) -> NotFoundError:
    """The error for a bank that is not open here."""
    message = f"memory bank {bank_id!r} is not open here"
    return NotFoundError(message, resource_type="memory_bank", resource_name=bank_id, reason="BANK_NOT_OPEN")


def dropped(bank_id: str) -> AbortedError:
    """The error for a bank that was dropped while the call ran."""
    return AbortedError(f"memory bank {bank_id!r} was dropped meanwhile", reason="BANK_DROPPED")
