"""Page tokens: opaque, and good for the request that they were given for only."""

import base64
import binascii
import hashlib
import json
from typing import Any

from services.core.errors import InvalidArgumentError

DEFAULT_PAGE = 100


def page_size(request: Any) -> int:
    """Returns how many entries a page has."""
    return int(request.page_size) or DEFAULT_PAGE


def token_after(request: Any, last: list[str]) -> str:
    """Returns the token of the page that follows.

    Args:
        request: The list request.
        last: By what the last entry of this page is found again.
    """
    text = json.dumps([_fingerprint(request), *last], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode()


def last_of(request: Any) -> list[str]:
    """Returns by what the last entry of the page before is found; empty for the first page.

    Raises:
        InvalidArgumentError: The token is not one, or another request's.
    """
    if not request.page_token:
        return []
    last: list[str]
    try:
        fingerprint, *last = json.loads(base64.urlsafe_b64decode(request.page_token.encode("ascii", "replace")))
    except (binascii.Error, ValueError, TypeError):
        fingerprint, last = "", []
    if fingerprint != _fingerprint(request) or not last or not all(isinstance(part, str) for part in last):
        raise InvalidArgumentError.of(
            "page_token", "must be the next_page_token of a page of the same list", reason="PAGE_TOKEN"
        )
    return last


def _fingerprint(request: Any) -> str:
    """Returns what tells the list from others: the request without what differs from page to page."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_token")
    same.ClearField("page_size")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).hexdigest()[:16]
