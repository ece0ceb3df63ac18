"""The Lua scripts: one a command, each documented at its head; `prelude.lua` stands before each."""

from functools import cache

from services.core.redis.scripts import Script, load_scripts


@cache
def scripts() -> dict[str, Script]:
    """Returns all scripts by name."""
    return load_scripts("services.agents.store")
