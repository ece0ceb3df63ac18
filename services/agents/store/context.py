"""What all parts of the store share."""

import os
from dataclasses import dataclass, field
from datetime import timedelta

from services.agents.state import Request, SessionKey
from services.agents.store.commands import Commands
from services.agents.store.keys import Keys, is_identifier
from services.agents.store.records import Codec
from services.agents.store.scripts import scripts
from services.agents.store.settings import StoreSettings
from services.core.errors import InvalidArgumentError, NotFoundError
from services.core.redis.scripts import Script

DAY_MILLISECONDS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Context:
    """What all parts of the store share."""

    settings: StoreSettings
    """The store's settings."""

    commands: Commands
    """Sends commands."""

    keys: Keys
    """Names of keys."""

    holder: str
    """Names this process among those that run turns."""

    codec: Codec = field(default_factory=Codec)
    """How messages are kept."""

    scripts: dict[str, Script] = field(default_factory=scripts)
    """The scripts by name."""


def operation() -> str:
    """Returns what tells one write from all others."""
    return os.urandom(8).hex()


def digest_of(request: Request | None) -> str:
    """Returns what a script gets of a request: its digest, or nothing."""
    return request.digest if request else ""


def milliseconds(ttl: timedelta | None) -> int:
    """Returns a time to live; 0: for ever."""
    return max(1, int(ttl.total_seconds() * 1000)) if ttl is not None else 0


def reused() -> InvalidArgumentError:
    """Returns the error for a request id that was used for something else."""
    return InvalidArgumentError.of(
        "request_id", "was used for a different call in the last 24 hours; take a new one", reason="REQUEST_ID_REUSED"
    )


def bad_token() -> InvalidArgumentError:
    """Returns the error for a page token that is none of ours."""
    return InvalidArgumentError.of("page_token", "must be the next_page_token of a page of the same list")


def no_agent(agent_id: str) -> NotFoundError:
    """Returns the error for an agent that does not exist."""
    message = f"there is no agent {agent_id!r}; ListAgents names those that there are"
    return NotFoundError(message, resource_type="agent", resource_name=agent_id)


def no_session(key: SessionKey) -> NotFoundError:
    """Returns the error for a session that does not exist."""
    message = (
        f"agent {key.agent_id!r} has no session {key.session_id!r}: it was never created, was deleted, or has expired"
    )
    return NotFoundError(message, resource_type="session", resource_name=key.session_id)


def check_session(key: SessionKey) -> None:
    """Refuses a key that cannot name a session.

    Raises:
        NotFoundError: It cannot.
    """
    if not is_identifier(key.session_id) or (key.agent_id and not is_identifier(key.agent_id)):
        raise no_session(key)
