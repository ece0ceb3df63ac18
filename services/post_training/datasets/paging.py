"""Page tokens: opaque, and good for the request that they were given for only."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import TypeAlias

from services.core.errors import InvalidArgumentError

Mark: TypeAlias = str | int
DEFAULT_PAGE = 100


def token(request: Sequence[Mark], *last: Mark) -> str:
    """Returns the token of the page that follows.

    Args:
        request: What tells the list from others.
        last: By what the last entry of this page is found again.
    """
    text = json.dumps([_fingerprint(request), *last], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def read(page_token: str, request: Sequence[Mark], *kinds: type) -> list[Mark]:
    """Returns by what the last entry of the page before is found.

    Args:
        page_token: The token.
        request: What tells the list from others.
        kinds: Types of what `token` was given.

    Raises:
        InvalidArgumentError: The token is not one, or another request's.
    """
    try:
        fingerprint, *last = json.loads(base64.urlsafe_b64decode(page_token.encode("ascii", "replace")))
    except (binascii.Error, ValueError, TypeError):
        fingerprint, last = "", []
    if fingerprint != _fingerprint(request) or [type(mark) for mark in last] != list(kinds):
        raise InvalidArgumentError.of(
            "page_token", "must be the next_page_token of a page of the same list", reason="PAGE_TOKEN"
        )
    if any(isinstance(mark, int) and mark < 0 for mark in last):
        raise InvalidArgumentError.of("page_token", "must be a next_page_token as it was given", reason="PAGE_TOKEN")
    marks: list[Mark] = last
    return marks


def _fingerprint(request: Sequence[Mark]) -> str:
    return hashlib.sha256(json.dumps(list(request)).encode()).hexdigest()[:16]
