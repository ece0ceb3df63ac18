"""What a reader of a masked text sees."""

from services.safety.ports import TextShield
from services.safety.texts import Text


def masked(shield: TextShield, text: str) -> str:
    """The text with what the shield replaces replaced."""
    for found in sorted(shield.scan(Text(text)), key=lambda found: -found.start):
        if found.replacement is not None:
            text = text[: found.start] + found.replacement + text[found.end :]
    return text


def found(shield: TextShield, text: str) -> list[tuple[str, str]]:
    """Category and text of what the shield finds, in the order of the text."""
    ordered = sorted(shield.scan(Text(text)), key=lambda one: (one.start, one.end))
    return [(one.category, text[one.start : one.end]) for one in ordered]
