"""Calls in which both sides stream: what gRPC's own iterators lose is kept.

When the caller's requests cannot be made (a file cannot be read), gRPC cancels the call and swallows the exception: here it is raised. And
gRPC's asyncio API replaces the status of a server that ends the call while requests are being sent by "Internal error from Core"
(https://github.com/grpc/grpc/issues/36066): here the server's status arrives.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc._cython import cygrpc  # type: ignore[attr-defined]

# How long a status may take that follows a write which failed.
_STATUS_SECONDS = 5.0


class Exchange:
    """A call on a sync channel."""

    def __init__(
        self,
        begin: Callable[..., Any],
        requests: Iterable[Message],
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> None:
        """Begins the call.

        Args:
            begin: The channel's `stream_stream` callable.
            requests: The requests, asked for in a thread of gRPC's.
            timeout: Seconds until it fails; None: never.
            metadata: Request metadata.
        """
        self._failure: Exception | None = None
        self._call = begin(self._watched(requests), timeout=timeout, metadata=metadata)

    def __iter__(self) -> Generator[Any, None, None]:
        """Yields the responses.

        Raises:
            grpc.RpcError: The call failed.
        """
        try:
            yield from self._call
        except grpc.RpcError:
            if self._failure is not None:
                raise self._failure from None
            raise

    def cancel(self) -> None:
        """Ends the call if it runs."""
        self._call.cancel()

    def _watched(self, requests: Iterable[Message]) -> Iterator[Message]:
        try:
            yield from requests
        except Exception as error:
            self._failure = error
            raise


class AsyncExchange:
    """A call on an asyncio channel."""

    def __init__(
        self,
        begin: Callable[..., Any],
        requests: Iterable[Message],
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> None:
        """Begins the call.

        Args:
            begin: The channel's `stream_stream` callable.
            requests: The requests, asked for one by one as they are sent.
            timeout: Seconds until it fails; None: never.
            metadata: Request metadata.
        """
        self._failure: Exception | None = None
        self._call = begin(timeout=timeout, metadata=metadata)
        self._sending = asyncio.create_task(self._send(requests))

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        """Yields the responses.

        Raises:
            grpc.aio.AioRpcError: The call failed.
        """
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                yield response
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            if self._failure is not None:
                raise self._failure from None
            raise

    def cancel(self) -> None:
        """Ends the call if it runs."""
        self._call.cancel()
        self._sending.cancel()

    async def _send(self, requests: Iterable[Message]) -> None:
        try:
            await self._call.wait_for_connection()
            for request in requests:
                await self._call._cython_call.send_serialized_message(request.SerializeToString())  # noqa: SLF001 - `write` loses the status
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended; its status tells why.
            return
        except cygrpc.InternalError:
            # Ended too, or about to.
            await asyncio.sleep(_STATUS_SECONDS)
            self._call.cancel()
        except Exception as error:  # noqa: BLE001 - the caller's own, raised where the responses are read
            self._failure = error
            self._call.cancel()
