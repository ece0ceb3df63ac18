"""Lists whose members are "created:identifier", microseconds in sixteen digits: the order of the members is the order in time."""

import re

from services.core.redis.scripts import Command

_MEMBER = re.compile(r"[0-9]{16}:[A-Za-z0-9_-]{1,64}")


def is_member(token: str) -> bool:
    """Tells whether a page token is a member of such a list."""
    return _MEMBER.fullmatch(token) is not None


def newest_first(key: str, before: str, limit: int) -> Command:
    """Returns the command that lists members, newest first.

    Args:
        key: Of the list.
        before: The last member of the page before. Empty: from the newest on.
        limit: Most to return.
    """
    return ("ZRANGE", key, f"({before}" if before else "+", "-", "BYLEX", "REV", "LIMIT", 0, limit)
