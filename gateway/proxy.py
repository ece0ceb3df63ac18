"""The data path's door: takes the streams that clients open and makes a call of each."""

from collections.abc import Mapping

from gateway.call import Call, Relay
from gateway.contract import Method
from gateway.http2.connection import Stream
from gateway.http2.hpack import Headers
from gateway.requests import NoGrpcError, RequestReader
from services.core.errors import CaravanError


class Proxy:
    """Takes the streams that clients open."""

    def __init__(self, methods: Mapping[str, Method], relay: Relay, *, scheme: bytes = b"http") -> None:
        """Makes a proxy.

        Args:
            methods: The contract's RPCs by path.
            relay: Where calls go.
            scheme: `:scheme` towards replicas: http, or https with TLS.
        """
        self._relay = relay
        self._reader = RequestReader(methods, scheme)

    def accept(self, stream: Stream, headers: Headers | None, end: bool) -> None:
        """Begins a call.

        Args:
            stream: The client's.
            headers: The request's; None: they were too large to keep.
            end: Whether the request ends with them.
        """
        call = Call(self._relay, stream)
        self._relay.calls.add(call)
        try:
            request = self._reader.read(headers)
        except CaravanError as error:
            call.fail(error)
        except NoGrpcError:
            call.refuse_other_protocol()
        else:
            call.begin(request, end=end)
