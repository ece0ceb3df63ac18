"""Calls that may come again: known by Redis, what they have made kept in folders of the service's storage.

`request:<rpc>:<id>` holds the digest and the folder of a call for 24 hours, `request:<rpc>:<id>:holder` who works on it, under a lease.
A call that comes again while the first one runs waits for it, goes on where it was when that died, and finds everything made when it ended.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import structlog

from services.core.errors import AbortedError, CaravanError, InvalidArgumentError
from services.core.redis.connection import Connection
from services.core.redis.scripts import load_scripts
from services.post_training import keys
from services.post_training.storage import Storage, full_disk_told, new_name, remove

KEPT_MILLISECONDS = 24 * 3600 * 1000

_LEASE_MILLISECONDS = 15_000
_POLL_SECONDS = 0.2
# Longer than Redis remembers them.
_SWEPT_SECONDS = 26 * 3600.0

_log = structlog.get_logger(__name__)


class CallsInRedis:
    """Folders for calls."""

    def __init__(self, connection: Connection, storage: Storage) -> None:
        """Uses these.

        Args:
            connection: To Redis.
            storage: The service's folder.
        """
        self._connection = connection
        self._root = storage.root / "generations"
        self._scripts = load_scripts("services.post_training.synthesis")

    def folder(self, rpc: str, request_id: str, digest: str) -> AbstractAsyncContextManager[Path]:
        """A folder for a call: the same one when the call comes again, for nobody else as long as it is held.

        Args:
            rpc: Name of the RPC.
            request_id: The caller's. Empty: the call does not come again, and the folder goes when it is left.
            digest: Of what the call asks for, hexadecimal.

        Raises:
            InvalidArgumentError: The request id was used for something else.
            UnavailableError: Redis does not answer.
        """
        return self._shared(keys.request(rpc, request_id), digest) if request_id else self._own()

    async def sweep(self) -> int:
        """Removes folders of calls that are no longer remembered; returns how many."""
        return await asyncio.to_thread(self._sweep)

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Path]:
        folder = self._root / new_name()
        try:
            yield await asyncio.to_thread(_made, folder)
        finally:
            await asyncio.to_thread(remove, folder)

    @asynccontextmanager
    async def _shared(self, request: str, digest: str) -> AsyncIterator[Path]:
        token = new_name()
        name = await self._claim(request, digest, token)
        lease = asyncio.create_task(self._keep(request, digest, token, asyncio.current_task()), name="keep-call")
        try:
            yield await asyncio.to_thread(_made, self._root / name)
        except asyncio.CancelledError:
            if not lease.done() or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            message = "another process has taken this call over; send it again"
            raise AbortedError(message, reason="CALL_TAKEN_OVER") from None
        finally:
            lease.cancel()
            await asyncio.gather(lease, return_exceptions=True)
            await asyncio.shield(self._release(request, token))

    async def _claim(self, request: str, digest: str, token: str) -> str:
        proposed = new_name()
        while True:
            outcome, *name = await self._try(request, digest, proposed, token)
            match outcome:
                case b"held":
                    return str(name[0].decode())
                case b"reused":
                    what = "was used for a different call in the last 24 hours; take a new one"
                    raise InvalidArgumentError.of("request_id", what, reason="REQUEST_ID_REUSED")
            await asyncio.sleep(_POLL_SECONDS)

    async def _try(self, request: str, digest: str, folder: str, token: str) -> list[bytes]:
        arguments = (digest, folder, token, _LEASE_MILLISECONDS, KEPT_MILLISECONDS)
        outcome: list[bytes] = await self._connection.run(
            self._scripts["claim"], (request, f"{request}:holder"), arguments
        )
        return outcome

    async def _keep(self, request: str, digest: str, token: str, owner: "asyncio.Task[object] | None") -> None:
        """Renews the lease; calls the owner off when somebody else has taken over, for instance after a pause of this process."""
        since = time.monotonic()
        while True:
            await asyncio.sleep(_LEASE_MILLISECONDS / 3000)
            try:
                outcome, *_ = await self._try(request, digest, new_name(), token)
            except CaravanError as error:
                _log.warning("call_not_renewed", why=error.message)
                continue
            if outcome != b"held":
                _log.warning("call_lost", seconds=round(time.monotonic() - since))
                if owner is not None:
                    owner.cancel()
                return

    async def _release(self, request: str, token: str) -> None:
        try:
            await self._connection.run(self._scripts["release"], (f"{request}:holder",), (token,))
        except CaravanError as error:
            _log.warning("call_not_released", why=error.message)

    def _sweep(self) -> int:
        removed = 0
        before = time.time() - _SWEPT_SECONDS
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            # Another replica may be quicker.
            with contextlib.suppress(FileNotFoundError):
                if max(path.stat().st_mtime for path in (folder, *folder.iterdir())) < before:
                    remove(folder)
                    removed += 1
        return removed


def _made(folder: Path) -> Path:
    with full_disk_told():
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return folder
