"""Lua scripts: one a command, each documented at its head."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeAlias

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A script that servers know by the digest of its text."""

    text: str
    """What it does."""

    digest: str
    """Name by which a server that has it runs it."""

    @classmethod
    def of(cls, text: str) -> "Script":
        """Returns the script with this text."""
        # Redis's own choice; nothing is kept secret or signed by it.
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Returns the command that runs it."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)


def load_scripts(package: str) -> dict[str, Script]:
    """Reads the scripts of a package's folder `scripts` by name; `prelude.lua`, if there, stands before each.

    Args:
        package: The package, for instance `gateway.registry`.
    """
    folder = files(package).joinpath("scripts")
    texts = {
        path.name.removesuffix(".lua"): path.read_text() for path in folder.iterdir() if path.name.endswith(".lua")
    }
    prelude = texts.pop("prelude", None)
    return {name: Script.of(text if prelude is None else f"{prelude}\n{text}") for name, text in texts.items()}
