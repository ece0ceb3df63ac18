"""Calls of tools that run once, however often they are asked for."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from caravan.agents.v1 import tool_runtime_pb2
from services.agents.invocations import Claim, InvocationStore, Kept, Underway
from services.agents.state import Request
from services.core.errors import AbortedError, CaravanError, FailedPreconditionError
from services.core.provider_data import provider_data_text
from services.core.status import error_from_status, status_of

_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0
_RENEWALS_A_LEASE = 3
_log = structlog.get_logger(__name__)

Call = Callable[[], Awaitable[tool_runtime_pb2.InvokeToolResponse]]


def request_of(request: tool_runtime_pb2.InvokeToolRequest) -> Request | None:
    """What makes a call repeatable, the caller's credentials included: nobody gets the answer that another one's were good for.

    Args:
        request: The call.
    """
    asked = Request.of(request)
    if asked is None:
        return None
    whole = f"{asked.digest} {provider_data_text() or ''}"
    return Request(asked.request_id, hashlib.sha256(whole.encode()).hexdigest())


class CallingOnce:
    """Makes calls once: what came of one is the answer to all that repeat it."""

    def __init__(self, store: InvocationStore) -> None:
        """Makes them known to all replicas.

        Args:
            store: Keeps what came of them.
        """
        self._store = store

    async def result(
        self, request: Request, call: Call, *, idempotent: bool, patience: float
    ) -> tool_runtime_pb2.InvokeToolResponse:
        """Makes a call, or waits for whoever makes it now, and returns what came of it.

        Args:
            request: What makes it repeatable.
            call: Makes it.
            idempotent: It may be made twice without harm.
            patience: Seconds to wait for somebody else who makes it.

        Raises:
            AbortedError: It is still being made (CALL_RUNS).
            FailedPreconditionError: Whoever made it died, so that it may have had its effect (TOOL_CALL_INTERRUPTED), or its result was too
                large to keep (RESULT_NOT_KEPT).
            CaravanError: The call's own error, also the one of a call that was made before.
        """
        found = await self._claim(request, patience)
        if isinstance(found, Kept):
            return _told(found)
        if found.attempts > 1 and not idempotent:
            await self._store.release_invocation(found, forget=False)
            message = (
                "the process that made this call died before its end was recorded; it may or may not have had its effect. "
                "Find out, then call with a new request_id"
            )
            raise FailedPreconditionError(message, reason="TOOL_CALL_INTERRUPTED")
        return await self._made(found, call, idempotent=idempotent)

    async def _claim(self, request: Request, patience: float) -> Claim | Kept:
        delay = _FIRST_LOOK
        ends = asyncio.get_running_loop().time() + patience
        while True:
            found = await self._claimed(request)
            if isinstance(found, Claim | Kept):
                return found
            if asyncio.get_running_loop().time() + delay > ends:
                message = f"the call with request_id {request.request_id!r} still runs; repeat it later for its result"
                raise AbortedError(message, reason="CALL_RUNS")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_LOOK, max(found.seconds, _FIRST_LOOK))

    async def _claimed(self, request: Request) -> Claim | Kept | Underway:
        claiming = asyncio.ensure_future(self._store.claim_invocation(request))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Nothing was called: whoever comes next is the first.
            with contextlib.suppress(CaravanError):
                found = await claiming
                if isinstance(found, Claim):
                    await self._store.release_invocation(found, forget=found.attempts == 1)
            raise

    async def _made(self, claim: Claim, call: Call, *, idempotent: bool) -> tool_runtime_pb2.InvokeToolResponse:
        async with self._kept_alive(claim):
            try:
                response = await call()
            except CaravanError as error:
                await self._failed(claim, error, idempotent=idempotent)
                raise
            except asyncio.CancelledError:
                # The tool was stopped somewhere on its way.
                await asyncio.shield(self._store.release_invocation(claim, forget=idempotent))
                raise
            await self._settled(claim, Kept(response))
            return response

    async def _failed(self, claim: Claim, error: CaravanError, *, idempotent: bool) -> None:
        if idempotent:
            await self._store.release_invocation(claim, forget=True)
        else:
            await self._settled(claim, Kept(error=status_of(error)))

    async def _settled(self, claim: Claim, kept: Kept) -> None:
        # Also when the caller goes away just now: the call was made.
        if not await asyncio.shield(self._store.settle_invocation(claim, kept)):
            _log.warning("invocation_lost", request_id=claim.request.request_id)

    @contextlib.asynccontextmanager
    async def _kept_alive(self, claim: Claim) -> AsyncIterator[None]:
        async def renew() -> None:
            held = True
            while held:
                await asyncio.sleep(self._store.lease_seconds / _RENEWALS_A_LEASE)
                try:
                    held = await self._store.renew_invocation(claim)
                except CaravanError as error:
                    _log.warning("renewal_failed", why=error.message)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)


def _told(kept: Kept) -> tool_runtime_pb2.InvokeToolResponse:
    if kept.response is not None:
        return kept.response
    if kept.error is not None:
        raise error_from_status(kept.error)
    message = "the call was made, and its result was too large to keep; it is not made again"
    raise FailedPreconditionError(message, reason="RESULT_NOT_KEPT")
