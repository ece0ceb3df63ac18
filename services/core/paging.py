"""Page tokens: opaque, and good for the list that they were given for only."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from google.protobuf.message import Message

from services.core.errors import InvalidArgumentError

Mark: TypeAlias = str | int
Listing: TypeAlias = Message | Sequence[Mark]
"""What tells a list from others: its request, or as much of it as counts."""
DEFAULT_PAGE = 100


def page_size(request: Any) -> int:
    """Returns how many entries a page has."""
    return int(request.page_size) or DEFAULT_PAGE


def token_after(listing: Listing, *last: Mark) -> str:
    """Returns the token of the page that follows.

    Args:
        listing: The list.
        last: By what the last entry of this page is found again.
    """
    text = json.dumps([_fingerprint(listing), *last], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def last_of(page_token: str, listing: Listing, *kinds: type) -> list[Any]:
    """Returns by what the last entry of the page before is found; empty for the first page.

    Args:
        page_token: The token. Empty: the first page.
        listing: The list.
        kinds: Types of what `token_after` was given.

    Raises:
        InvalidArgumentError: The token is not one, or another list's.
    """
    if not page_token:
        return []
    last: list[Any]
    try:
        fingerprint, *last = json.loads(base64.urlsafe_b64decode(page_token.encode("ascii", "replace")))
    except (binascii.Error, ValueError, TypeError):
        fingerprint, last = "", []
    fits = [type(mark) for mark in last] == list(kinds) and all(mark >= 0 for mark in last if isinstance(mark, int))
    if fingerprint != _fingerprint(listing) or not fits:
        raise InvalidArgumentError.of(
            "page_token", "must be the next_page_token of a page of the same list", reason="PAGE_TOKEN"
        )
    return last


def _fingerprint(listing: Listing) -> str:
    if not isinstance(listing, Message):
        return hashlib.sha256(json.dumps(list(listing)).encode()).hexdigest()[:16]
    # The request without what differs from page to page.
    same: Any = type(listing)()
    same.CopyFrom(listing)
    same.ClearField("page_token")
    same.ClearField("page_size")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).hexdigest()[:16]
