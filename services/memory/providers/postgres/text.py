"""Texts as PostgreSQL can hold them: it knows no U+0000."""

import hashlib

INDEXED = 256
"""Code points of a long text by which it is ordered first; more would not fit into an index entry."""


def quoted(text: str) -> str:
    """Returns the text without U+0000, by escapes that keep the order of texts and what they begin with."""
    if "\x00" not in text and "\x01" not in text:
        return text
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def plain(text: str) -> str:
    """Undoes `quoted`."""
    if "\x01" not in text:
        return text
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01")


def digest(*parts: str) -> bytes:
    """Returns a key for texts that may be too long for an index entry."""
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(8))
        hashed.update(encoded)
    return hashed.digest()[:16]


def after_prefix(prefix: str) -> str | None:
    """Returns the least text that is greater than all that begin with `prefix`. None: there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < 0x10FFFF:
            # Surrogates are no characters.
            return prefix[:at] + chr(0xE000 if code + 1 == 0xD800 else code + 1)
    return None
