"""Finding names of entities in text."""

import re
from collections.abc import Iterable, Sequence

from services.memory.facts import entity_key

MOST_NAME_WORDS = 16
"""Longest name, in words, that is looked for in texts."""

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Returns the words of a text as names are compared: without case and accents."""
    return _WORD.findall(entity_key(text))


class Names:
    """Names by their words."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Reads the names.

        Args:
            keys: Keys of entities; they are found by their place.
        """
        self._places: dict[tuple[str, ...], list[int]] = {}
        for place, key in enumerate(keys):
            words = tuple(_WORD.findall(key))
            if 0 < len(words) <= MOST_NAME_WORDS:
                self._places.setdefault(words, []).append(place)
        self._longest = max((len(words) for words in self._places), default=0)

    def found_in(self, words: Sequence[str]) -> list[int]:
        """Returns the places of the names that stand in a text, each once.

        Where a name holds another one ("New York" and "York"), only the longer one counts.

        Args:
            words: The text by `words_of`.
        """
        found: dict[int, None] = {}
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                places = self._places.get(tuple(words[at : at + length]))
                if places is not None:
                    found.update(dict.fromkeys(places))
                    at += length
                    break
            else:
                at += 1
        return list(found)
