"""How the processes of a stack are started: their commands, settings files and environments."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caravan.local import store, toml
from caravan.local.child import Program
from caravan.local.layout import Layout, told_apart
from caravan.local.parts import Part
from caravan.local.plan import Wish

# Settings of all processes that the user may give through the environment; everything else is the plan's.
_PASSED_ON = ("CARAVAN_LOG_LEVEL", "CARAVAN_OTLP_ENDPOINT", "CARAVAN_TRACE_SAMPLE_RATIO")
_DRAIN_SECONDS = 5.0
_GRACE_SECONDS = 16.0


@dataclass(frozen=True)
class Programs:
    """Makes the programs of a stack."""

    wish: Wish
    """What the user asked for."""
    layout: Layout
    """The data directory."""
    offline: bool
    """Nothing is to be fetched from the Hugging Face hub."""

    def store(self) -> tuple[Program, str]:
        """The store, and its URL."""
        config, url = store.write_config(self.layout)
        return self._program("store", [str(store.server_binary()), str(config)]), url

    def provider(self, part: Part, listen: str) -> Program:
        """One provider.

        Args:
            part: Which.
            listen: Address it had before; empty: any.
        """
        own = {
            "provider_id": part.name,
            "listen": listen or "127.0.0.1:0",
            "log_format": "console",
            "drain_seconds": _DRAIN_SECONDS,
        }
        return self._service(part.name, part.module, {**own, **part.settings})

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
        return self._program(name, [sys.executable, "-P", "-m", module, "--config", str(config)])

    def _program(self, name: str, command: list[str]) -> Program:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("CARAVAN_") or key in _PASSED_ON
        }
        environment["PYTHONUNBUFFERED"] = "1"
        if self.offline:
            environment.setdefault("HF_HUB_OFFLINE", "1")
        return Program(name, command, environment, self.layout.logs / f"{name}.log", _GRACE_SECONDS)
