"""What a caller brings along for the provider that answers: the JSON object in the call's `caravan-provider-data` metadata.

It may hold credentials: it belongs to one call and its tasks, is never logged, and never goes into an error message.
"""

import json
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from services.core.errors import InvalidArgumentError

PROVIDER_DATA_KEY = "caravan-provider-data"

_current: ContextVar[str | None] = ContextVar("caravan_provider_data", default=None)


def enter_provider_data(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Makes the provider data in a call's metadata the current one for the rest of this task, and for tasks that it starts.

    Args:
        metadata: The call's metadata. Without the key there is no provider data, whatever was current before.
    """
    value = next((value for key, value in metadata or () if key == PROVIDER_DATA_KEY), None)
    _current.set(value.decode(errors="replace") if isinstance(value, bytes) else value)


def provider_data_text() -> str | None:
    """Returns the provider data as it came, for a call to another service on behalf of this one; None: there is none."""
    return _current.get()


def current_provider_data() -> Mapping[str, Any]:
    """Returns the provider data of the call that runs now; empty when there is none.

    Raises:
        InvalidArgumentError: It is not a JSON object.
    """
    text = _current.get()
    if text is None:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        # The text may hold a key: neither it nor the parser's message, which quotes it, goes any further.
        raise InvalidArgumentError.of(
            PROVIDER_DATA_KEY, "this metadata must be a JSON object", reason="PROVIDER_DATA"
        ) from None
    return data
