"""Calls to other services through the gateway: one channel, a deadline on every call, errors as the core's own.

Request id and trace context travel by the channel's interceptors; the caller's provider data travels too, since the provider that answers
in the end may be the one it is meant for.
"""

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import grpc
from pydantic import BaseModel, ConfigDict, Field

from services.core.channels import DEFAULT_TIMEOUT, ClientTlsSettings, call_timeout, open_channel
from services.core.provider_data import PROVIDER_DATA_KEY, provider_data_text
from services.core.settings import ServiceSettings
from services.core.status import error_from_rpc

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = Sequence[tuple[str, str]]


class GatewaySettings(BaseModel):
    """Where the gateway is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(default="127.0.0.1:8321", description="gRPC target of the gateway, for instance host:port.")
    tls: ClientTlsSettings | None = Field(default=None, description="TLS of the connection. Unset: plain text.")


class CallingSettings(ServiceSettings):
    """Settings of a service that calls other services."""

    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="How other services are reached.")


class Gateway:
    """Calls RPCs of other services through the gateway.

    Stubs are made over `channel`, calls go through `call` and `stream`. Cancelling the task that awaits a call, or closing a stream's
    iterator, cancels the call.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Connects with the first call.

        Args:
            settings: Where the gateway is.
        """
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to make stubs over; it belongs to the event loop that first asks for it."""
        if self._channel is None:
            self._channel = open_channel(self._settings.address, self._settings.tls)
        return self._channel

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        *,
        timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - becomes the call's deadline
        metadata: Metadata = (),
    ) -> Response:
        """Calls an RPC that answers once.

        Args:
            method: The stub's method.
            request: The request.
            timeout: Most seconds that the call may take; the deadline of the call that runs now counts too.
            metadata: Request metadata beside what always travels.

        Raises:
            CaravanError: What the other service answered, with its reason and details.
        """
        try:
            return await method(request, timeout=call_timeout(timeout), metadata=_outgoing(metadata))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Request, Response]",
        request: Request,
        *,
        timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - gRPC's own deadline
        metadata: Metadata = (),
    ) -> AsyncIterator[Response]:
        """Calls an RPC that answers with a stream, and yields its messages.

        Args:
            method: The stub's method.
            request: The request.
            timeout: Most seconds that the whole stream may take; the deadline of the call that runs now counts too.
            metadata: Request metadata beside what always travels.

        Raises:
            CaravanError: What the other service answered, with its reason and details.
        """
        async for response in _responses(method(request, timeout=call_timeout(timeout), metadata=_outgoing(metadata))):
            yield response

    async def exchange(
        self,
        method: "grpc.aio.StreamStreamMultiCallable[Request, Response]",
        requests: AsyncIterator[Request],
        *,
        timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - becomes the call's deadline
        metadata: Metadata = (),
    ) -> AsyncIterator[Response]:
        """Calls an RPC with a stream of requests, and yields the messages that it answers with.

        Args:
            method: The stub's method.
            requests: The requests; read as fast as the other side takes them.
            timeout: Most seconds that the whole call may take; the deadline of the call that runs now counts too.
            metadata: Request metadata beside what always travels.

        Raises:
            CaravanError: What the other service answered, with its reason and details.
        """
        async for response in _responses(method(requests, timeout=call_timeout(timeout), metadata=_outgoing(metadata))):
            yield response

    async def close(self) -> None:
        """Ends the connection and every call on it."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


async def _responses(
    call: "grpc.aio.UnaryStreamCall[Request, Response] | grpc.aio.StreamStreamCall[Request, Response]",
) -> AsyncIterator[Response]:
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    finally:
        call.cancel()


def _outgoing(metadata: Metadata) -> Metadata:
    text = provider_data_text()
    return [*metadata, (PROVIDER_DATA_KEY, text)] if text is not None else list(metadata)
