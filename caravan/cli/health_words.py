"""Words and colours for health."""

from rich.text import Text

from caravan.inspect.v1 import inspect_pb2

_STYLES = {"ok": "green", "degraded": "yellow", "error": "red"}


def health_word(status: inspect_pb2.HealthStatus.ValueType) -> str:
    """A health status as a word.

    Args:
        status: The status.
    """
    word = inspect_pb2.HealthStatus.Name(status).removeprefix("HEALTH_STATUS_").lower()
    return "unknown" if word == "unspecified" else word


def health_text(status: inspect_pb2.HealthStatus.ValueType) -> Text:
    """A health status as a word in its colour.

    Args:
        status: The status.
    """
    word = health_word(status)
    return Text(word, style=_STYLES.get(word, ""))
