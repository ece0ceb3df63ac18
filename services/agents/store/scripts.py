"""The Lua scripts: one a command, each documented at its head; `prelude.lua` stands before each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Returns the command that runs it."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)


@cache
def scripts() -> dict[str, Script]:
    """Returns all scripts by name."""
    texts = {
        path.name.removesuffix(".lua"): path.read_text()
        for path in files("services.agents.store").joinpath("scripts").iterdir()
        if path.name.endswith(".lua")
    }
    prelude = texts.pop("prelude")
    found = {}
    for name, text in texts.items():
        whole = f"{prelude}\n{text}"
        found[name] = Script(whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())
    return found
