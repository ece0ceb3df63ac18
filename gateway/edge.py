"""The port that clients dial: HTTP/2 connections whose streams go to the proxy."""

import asyncio
import ssl

from gateway.http2.server import Accept, ServerConnection
from gateway.sockets import bind, keep_alive
from services.core.errors import FailedPreconditionError
from services.core.settings import TlsSettings

_BACKLOG = 1024
_LAST_CALLS_SECONDS = 0.1


class Edge:
    """Listens on one address and owns the clients' connections."""

    def __init__(self, accept: Accept, *, tls: ssl.SSLContext | None = None) -> None:
        """Makes an edge that does not listen yet.

        Args:
            accept: Takes each new stream.
            tls: TLS towards clients. None: plain text.
        """
        self._accept = accept
        self._tls = tls
        self._connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str) -> None:
        """Begins to take connections; other processes may share the address.

        Raises:
            FailedPreconditionError: It cannot listen there.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _ClientConnection(loop, self._accept, self._connections),
            sock=bind(address),
            ssl=self._tls,
            backlog=_BACKLOG,
        )

    async def stop_listening(self) -> None:
        """Takes no more connections, and asks clients to open streams elsewhere."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.announce_shutdown()
        # Streams that were under way to us when we said so have arrived by then.
        await asyncio.sleep(_LAST_CALLS_SECONDS)
        for connection in list(self._connections):
            connection.refuse_new_streams()

    async def close(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close_now()
        await asyncio.sleep(0)


class _ClientConnection(ServerConnection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        keep_alive(transport.get_extra_info("socket"))


def server_context(tls: TlsSettings) -> ssl.SSLContext:
    """Returns TLS towards clients.

    Raises:
        FailedPreconditionError: The files are wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        message = f"the TLS files are wrong: {error}"
        raise FailedPreconditionError(message, reason="TLS_FILES") from error
    return context
