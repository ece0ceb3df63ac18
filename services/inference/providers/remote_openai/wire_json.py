"""JSON as servers send it, fit for protobuf's strings."""

import json
import re
from typing import Any

# Only an escape can bring a surrogate into JSON; two that make a pair are read as one character.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read(data: bytes) -> Any:
    """Returns the value of a JSON text, with U+FFFD in the place of surrogates without a partner.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    value = json.loads(data)
    return _mended(value) if _ESCAPED_SURROGATE.search(data) else value


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value
