"""Finds the replicas of a provider: a fixed list, or all addresses of a DNS name (a headless Service)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from services.core.settings import split_address

_DNS = "dns:///"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the IP addresses of a host name; raises OSError."""


class UnresolvedError(Exception):
    """A name has no addresses; the message says which and why."""


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Returns the IP addresses that the system's resolver gives for a host name.

    Args:
        host: The name.
        port: Port to be dialled.

    Raises:
        OSError: The name does not resolve.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def replica_addresses(configured: str | tuple[str, ...], resolve: Resolve = resolve_by_system) -> list[str]:
    """Returns the addresses of a provider's replicas, `host:port` each, sorted and without repetition.

    Args:
        configured: Addresses as in the settings; `dns:///name:port` stands for all addresses of the name.
        resolve: Looks names up.

    Raises:
        UnresolvedError: A name does not resolve.
    """
    found: set[str] = set()
    for address in (configured,) if isinstance(configured, str) else configured:
        if address.startswith(_DNS):
            found.update(await _resolved(address, resolve))
        else:
            found.add(address)
    return sorted(found)


def check_address(address: str) -> None:
    """Checks an address of the settings.

    Raises:
        ValueError: It is none of `host:port`, `unix:/path` and `dns:///name:port`.
    """
    if not address.startswith("unix:"):
        split_address(address.removeprefix(_DNS))


async def _resolved(address: str, resolve: Resolve) -> list[str]:
    host, port = split_address(address.removeprefix(_DNS))
    try:
        hosts = await resolve(host, port)
    except OSError as error:
        message = f"{host} does not resolve: {error.strerror or error}"
        raise UnresolvedError(message) from error
    if not hosts:
        message = f"{host} has no addresses"
        raise UnresolvedError(message)
    return [f"[{found}]:{port}" if ":" in found else f"{found}:{port}" for found in hosts]
