"""What travels on with the calls that a judgement makes: whether it judges a model's input or output already, and the guards' password.

A shield that always guards a model asks, through this service, for a guard model's answer. Should that model be guarded too, its shields
would ask again, without end: `caravan-shield-hops` tells the inference service that this is such a call, and the token that it comes from a
guard.
"""

from contextvars import ContextVar
from typing import Any

HOPS_KEY = "caravan-shield-hops"
TOKEN_KEY = "caravan-shield-token"  # noqa: S105 - the name of a header

_current: ContextVar[str | None] = ContextVar("caravan_shield_hops", default=None)


def enter_hops(metadata: Any) -> None:
    """Keeps a call's hops for the calls that are made on its behalf.

    Args:
        metadata: The call's metadata.
    """
    _current.set(next((str(value)[:8] for key, value in metadata or () if key == HOPS_KEY), None))


def hops_metadata() -> list[tuple[str, str]]:
    """Metadata to send with calls on behalf of this one."""
    hops = _current.get()
    return [] if hops is None else [(HOPS_KEY, hops)]
