"""What messages in rows must be: `{role, content}`, as chat models and the contract's columns know them."""

from collections.abc import Sequence
from typing import Any

from services.post_training.datasets.canonical import RowError, parsed

ROLES = ("system", "user", "assistant", "tool", "ipython")


def message_fault(message: Any) -> str:
    """Returns what is wrong with a message; empty when nothing is.

    Args:
        message: What should be one. Keys beside role and content are not looked at.
    """
    if not isinstance(message, dict):
        return "is no object with role and content"
    role = message.get("role")
    if role not in ROLES:
        return f"has no role of {', '.join(ROLES)}"
    # A call of tools may stand alone.
    if message.get("content") is None and role == "assistant" and message.get("tool_calls"):
        return ""
    if "content" not in message:
        return "has no content"
    return content_fault(message["content"])


def content_fault(content: Any) -> str:
    """Returns what is wrong with content: a text, a piece, or a list of both; empty when nothing is."""
    pieces = content if isinstance(content, list) else [content]
    if isinstance(content, list) and not content:
        return "has an empty list as its content"
    for piece in pieces:
        if isinstance(piece, str):
            continue
        if not isinstance(piece, dict) or not isinstance(piece.get("type"), str):
            return "has content that is neither a text nor a list of texts and images"
        if piece["type"] == "text" and not isinstance(piece.get("text"), str):
            return "has a piece of content of type text without its text"
    return ""


def messages_fault(value: Any, *, roles: Sequence[str] = ROLES, as_text: bool = False) -> str:
    """Returns what is wrong with a list of messages; empty when nothing is.

    Args:
        value: What should be one.
        roles: Roles that they may have.
        as_text: Its JSON text will do as well.
    """
    if as_text and isinstance(value, str):
        try:
            value = parsed(value)
        except RowError as error:
            return f"is a text that {error.description}"
    if not isinstance(value, list):
        return "is no list of messages"
    if not value:
        return "is an empty list; give at least one message"
    for place, message in enumerate(value):
        fault = message_fault(message)
        if fault:
            return f"message {place} {fault}"
        if message["role"] not in roles:
            return f"message {place} is not of role {' or '.join(roles)}"
    return ""


def dialog_fault(value: Any) -> str:
    """Returns what is wrong with a dialog: at least two messages, the user's first but for the system's; empty when nothing is."""
    fault = messages_fault(value)
    if fault:
        return fault
    said = [message["role"] for message in value if message["role"] != "system"]
    first = next((place for place, message in enumerate(value) if message["role"] != "system"), 0)
    if len(said) < 2:
        return "has fewer than two messages beside the system's"
    if said[0] != "user":
        return f"message {first} must be the user's: a dialog begins with what the user says"
    return ""
