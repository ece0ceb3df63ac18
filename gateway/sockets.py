"""TCP sockets of the gateway."""

import socket

from services.core.errors import FailedPreconditionError
from services.core.settings import split_address

# A host that vanishes without a word is noticed within about twenty seconds.
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2), ("TCP_USER_TIMEOUT", 20_000))


def bind(address: str, *, alone: bool = False) -> socket.socket:
    """Returns a socket that is bound to `host:port` and does not listen; the gateway's other processes may bind it too.

    Args:
        address: Where to bind. Port 0: a free one.
        alone: Make sure that nobody has the port yet: processes that share a port do not notice one another.

    Raises:
        FailedPreconditionError: The address is taken, or is not this machine's.
    """
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if alone:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(where)
    except OSError as error:
        why = error.strerror or error
        message = f"cannot listen on {address}: is the port taken, or the address not this machine's? ({why})"
        raise FailedPreconditionError(message, reason="CANNOT_LISTEN") from error
    return bound


def keep_alive(sock: socket.socket | None) -> None:
    """Makes the kernel notice a peer that vanished."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
