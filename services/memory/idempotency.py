"""Doing a mutation once: a repeated `request_id` gets the first call's response."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from services.core.errors import AbortedError, InvalidArgumentError
from services.core.keyed_locks import KeyedLocks
from services.memory.banks import Bank
from services.memory.ports import Store
from services.memory.records import Receipt

# A request of which a digest is made at once, without a thread.
_SMALL = 65_536

Response = TypeVar("Response", bound=Message)


class Once:
    """Runs mutations with receipts. A repetition that comes while the first call runs waits for it."""

    def __init__(self, store: Store) -> None:
        """Begins with nothing running.

        Args:
            store: Keeps the receipts.
        """
        self._store = store
        self._locks = KeyedLocks()

    async def run(
        self,
        bank: Bank,
        request: Any,
        response_class: type[Response],
        respond: Callable[[Any], Response],
        work: Callable[[Receipt | None], Awaitable[Any]],
    ) -> Response:
        """Runs a mutation, or returns what it returned before.

        Args:
            bank: The bank that it changes.
            request: The request; its `request_id` may be empty.
            response_class: Class of the response.
            respond: Makes the response of what the store's method returns.
            work: Calls the store's method with the receipt to keep, if any, and returns what that returns.

        Raises:
            InvalidArgumentError: The request_id was used for another request.
        """
        if not request.request_id:
            return respond(await work(None))
        rpc = request.DESCRIPTOR.name.removesuffix("Request")
        is_small = request.ByteSize() <= _SMALL
        fingerprint = _fingerprint(request) if is_small else await asyncio.to_thread(_fingerprint, request)
        receipt = Receipt(rpc, request.request_id, fingerprint, respond)
        async with self._locks.held((bank.store_id, rpc, request.request_id)):
            return await self._kept(bank, receipt, response_class) or await self._first(
                bank, receipt, response_class, work
            )

    async def _first(
        self,
        bank: Bank,
        receipt: Receipt,
        response_class: type[Response],
        work: Callable[[Receipt], Awaitable[Any]],
    ) -> Response:
        try:
            result = await work(receipt)
        except AbortedError as error:
            # Another replica was faster.
            kept = await self._kept(bank, receipt, response_class) if error.reason == "RECEIPT_EXISTS" else None
            if kept is None:
                raise
            return kept
        response = receipt.respond(result)
        assert isinstance(response, response_class)
        return response

    async def _kept(self, bank: Bank, receipt: Receipt, response_class: type[Response]) -> Response | None:
        kept = await self._store.find_receipt(bank.store_id, receipt.rpc, receipt.request_id)
        if kept is None:
            return None
        if kept.fingerprint != receipt.fingerprint:
            raise InvalidArgumentError.of(
                "request_id", "was used for a different request; take a new one", reason="REQUEST_ID_REUSED"
            )
        return response_class.FromString(kept.response)


def _fingerprint(request: Any) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
