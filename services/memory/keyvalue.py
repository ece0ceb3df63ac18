"""Values by key."""

import time
from collections.abc import Callable

from caravan.memory.v1 import keyvalue_pb2
from services.core.errors import InvalidArgumentError, NotFoundError
from services.core.paging import last_of, page_size, token_after
from services.memory.banks import Bank
from services.memory.checks import check_name
from services.memory.idempotency import Once
from services.memory.ports import Store
from services.memory.records import Receipt
from services.memory.responses import Responses

_MOST_JSON_BYTES = 4 << 20


class Values:
    """The values of all key-value banks."""

    def __init__(self, store: Store, once: Once, responses: Responses, clock: Callable[[], float] = time.time) -> None:
        """Keeps the parts.

        Args:
            store: Where they are kept.
            once: Runs mutations with receipts.
            responses: How large responses may be.
            clock: Seconds since the epoch.
        """
        self._store = store
        self._once = once
        self._responses = responses
        self._clock = clock

    async def get(self, bank: Bank, request: keyvalue_pb2.GetValueRequest) -> keyvalue_pb2.GetValueResponse:
        """Gets the value of a key.

        Raises:
            NotFoundError: There is none.
        """
        check_name(request.key, "key")
        entry = (await self._store.get_values(bank.store_id, [request.key])).get(request.key)
        if entry is None:
            message = f"memory bank {bank.bank_id!r} has no key {request.key!r}"
            raise NotFoundError(message, resource_type="key", resource_name=request.key, reason="KEY_NOT_FOUND")
        return keyvalue_pb2.GetValueResponse(entry=entry)

    async def batch_get(
        self, bank: Bank, request: keyvalue_pb2.BatchGetValuesRequest
    ) -> keyvalue_pb2.BatchGetValuesResponse:
        """Gets the values of several keys."""
        for place, key in enumerate(request.keys):
            check_name(key, f"keys[{place}]")
        keys = list(dict.fromkeys(request.keys))
        found = await self._responses.every(
            keys,
            lambda some: self._store.get_values(bank.store_id, some),
            keyvalue_pb2.KeyValueEntry.ByteSize,
            "ask for fewer keys at a time",
        )
        return keyvalue_pb2.BatchGetValuesResponse(entries=[found[key] for key in keys if key in found])

    async def put(self, bank: Bank, request: keyvalue_pb2.PutValueRequest) -> keyvalue_pb2.PutValueResponse:
        """Sets the value of a key.

        Raises:
            AbortedError: It has another revision.
        """
        check_name(request.key, "key")
        if request.value.json.ByteSize() > _MOST_JSON_BYTES:
            raise InvalidArgumentError.of("value.json", f"must have at most {_MOST_JSON_BYTES} bytes")
        ttl = request.ttl_seconds if request.HasField("ttl_seconds") else bank.default_ttl

        async def work(receipt: Receipt | None) -> keyvalue_pb2.KeyValueEntry:
            return await self._store.put_value(
                bank.store_id,
                request.key,
                request.value,
                expires_at=self._clock() + ttl if ttl is not None else None,
                expected_revision=request.revision if request.HasField("revision") else None,
                receipt=receipt,
            )

        return await self._once.run(
            bank,
            request,
            keyvalue_pb2.PutValueResponse,
            lambda entry: keyvalue_pb2.PutValueResponse(entry=entry),
            work,
        )

    async def delete(self, bank: Bank, request: keyvalue_pb2.DeleteValueRequest) -> keyvalue_pb2.DeleteValueResponse:
        """Deletes a key.

        Raises:
            AbortedError: It has another revision.
        """
        check_name(request.key, "key")
        revision = request.revision if request.HasField("revision") else None

        async def work(receipt: Receipt | None) -> bool:
            return await self._store.delete_value(
                bank.store_id, request.key, expected_revision=revision, receipt=receipt
            )

        return await self._once.run(
            bank,
            request,
            keyvalue_pb2.DeleteValueResponse,
            lambda deleted: keyvalue_pb2.DeleteValueResponse(deleted=deleted),
            work,
        )

    async def list(self, bank: Bank, request: keyvalue_pb2.ListValuesRequest) -> keyvalue_pb2.ListValuesResponse:
        """Lists keys."""
        check_name(request.prefix, "prefix")
        first = (last_of(request.page_token, request, str) or [""])[0]

        async def read(last: keyvalue_pb2.KeyValueEntry | None, limit: int) -> list[keyvalue_pb2.KeyValueEntry]:
            after = first if last is None else last.key
            return await self._store.list_values(
                bank.store_id, prefix=request.prefix, after=after, limit=limit, keys_only=request.keys_only
            )

        found, more = await self._responses.page(read, page_size(request), keyvalue_pb2.KeyValueEntry.ByteSize)
        page = keyvalue_pb2.ListValuesResponse(data=found)
        if more:
            page.next_page_token = token_after(request, page.data[-1].key)
        return page
