"""What the user asked for, and whether it can be had."""

import errno
import importlib.util
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import caravan
from caravan.local.problems import StackError

DEMO_MODEL = "caravan-chat"
# An address to listen on is not always one to dial.
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - it is what the user asked for


@dataclass(frozen=True)
class Wish:
    """What the user asked for."""

    model: str | None = None
    """Hugging Face id, or folder. None: the demo model."""
    listen: str = "127.0.0.1:8321"
    """Address of the gateway."""
    workers: int | None = None
    """Processes of the gateway. None: its default."""
    data: Path = Path(".caravan")
    """Data directory."""
    redis_url: str | None = None
    """A Redis server that runs already. None: one of the stack's own."""
    allow_insecure: bool = False
    """Listen without encryption on an address that other machines reach."""

    @property
    def target(self) -> str:
        """Address at which this machine reaches the gateway."""
        host, _, port = self.listen.rpartition(":")
        return f"{_THIS_MACHINE.get(host, host)}:{port}"


@dataclass(frozen=True)
class Model:
    """The model to serve."""

    source: str
    """Absolute path, or Hugging Face id."""
    local: bool
    """It is on this machine."""


def find_model(wish: str | None) -> Model:
    """Finds the model to serve.

    Args:
        wish: What the user named. None: the demo model.

    Raises:
        StackError: It is not there.
    """
    if wish is None:
        found = shipped_model(DEMO_MODEL)
        if found is None:
            message = f"this installation has no demo model ({DEMO_MODEL}): name one with --model, a folder or a Hugging Face id"
            raise StackError(message)
        return Model(str(found), local=True)
    path = Path(wish).expanduser()
    if not path.exists() and not _looks_like_path(wish):
        return Model(wish, local=False)
    if not path.exists():
        message = f"there is no model at {path}: give the folder of a checkpoint, or a Hugging Face id"
        raise StackError(message)
    if not (path / "config.json").is_file():
        message = f"{path} holds no model: a folder in Hugging Face format has a config.json"
        raise StackError(message)
    return Model(str(path.resolve()), local=True)


def require_packages() -> None:
    """Makes sure that what the stack runs is installed.

    Raises:
        StackError: It is not.
    """
    for module, remedy in (("services", "install Caravan with its services"), ("vllm", "pip install 'caravan[vllm]'")):
        if importlib.util.find_spec(module) is None:
            message = f"the Python package {module} is not installed: {remedy}"
            raise StackError(message)


def require_free(listen: str, *, allow_insecure: bool) -> None:
    """Makes sure that the gateway can listen, before anything is started.

    Args:
        listen: Its address.
        allow_insecure: Others may reach it without encryption.

    Raises:
        StackError: The address is none, taken, or reachable by others.
    """
    host, separator, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not separator or not bare or not port.isdigit() or not 0 < int(port) < 65_536:
        message = f"--listen: {listen!r} is not host:port, for instance 127.0.0.1:8321"
        raise StackError(message)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bare, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = "is in use; stop what listens there, or choose another address with --listen"
        if error.errno != errno.EADDRINUSE:
            why = f"is no address to listen on here ({error.strerror or error}); choose another with --listen"
        message = f"{listen} {why}"
        raise StackError(message) from error
    if not allow_insecure and not _is_loopback(str(address[0])):
        message = (
            f"{listen} can be reached from other machines, without encryption: add --allow-insecure if that is meant"
        )
        raise StackError(message)


def shipped_model(name: str) -> Path | None:
    """Finds one of the models that come with Caravan; None: this installation lacks it.

    Args:
        name: Its name.
    """
    root = Path(caravan.__file__).resolve().parent.parent
    candidates = (root / "models" / name, Path(sys.prefix) / "share" / "caravan" / "models" / name)
    return next((path for path in candidates if (path / "config.json").is_file()), None)


def _looks_like_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
