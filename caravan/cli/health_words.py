"""Words and colours for health."""

from caravan.inspect.v1 import inspect_pb2

_STYLES = {"ok": "green", "degraded": "yellow", "error": "red"}


def health_word(status: inspect_pb2.HealthStatus.ValueType) -> str:
    """A health status as a word.

    Args:
        status: The status.
    """
    word = inspect_pb2.HealthStatus.Name(status).removeprefix("HEALTH_STATUS_").lower()
    return "unknown" if word == "unspecified" else word


def health_markup(status: inspect_pb2.HealthStatus.ValueType) -> str:
    """A health status as a word in its colour, in Rich's markup.

    Args:
        status: The status.
    """
    word = health_word(status)
    style = _STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word
