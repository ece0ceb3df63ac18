"""How texts become words: cut, stop words left out, stemmed. The same rules as `services.memory.ports.Store.search_words` names."""

import re
import sys
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import Stemmer

LONGEST_WORD = 255
"""Code points of a word that count."""
_ASCII_SPACES = str.maketrans({code: " " for code in range(128) if not chr(code).isalnum()})
_ALGORITHMS = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}


def cut(text: str) -> list[str]:
    """Returns the words of a text, runs of letters, digits and marks, in lower case and in their order."""
    lowered = text.lower()
    # Where it will do, splitting is quicker than an expression.
    is_plain = lowered.isascii()
    words = lowered.translate(_ASCII_SPACES).split() if is_plain else _word().findall(lowered.replace("_", " "))
    if len(text) > LONGEST_WORD and len(max(words, key=len, default="")) > LONGEST_WORD:
        return [word[:LONGEST_WORD] for word in words]
    return words


class Language:
    """Stems and stop words of one language."""

    def __init__(self, code: str) -> None:
        """Takes the language of an ISO 639-1 code."""
        self._stemmer = Stemmer.Stemmer(_ALGORITHMS[code])
        self.stop_words = _stop_words().get(code, frozenset())

    def stem(self, word: str) -> str:
        """Returns the stem of a word in lower case."""
        stemmed: str = self._stemmer.stemWord(word)
        return stemmed


@cache
def language(code: str) -> Language:
    """Returns a language by its ISO 639-1 code."""
    return Language(code)


@cache
def _word() -> re.Pattern[str]:
    r"""A run of letters, digits and marks; Python's `\w` has no marks."""
    marks = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("M"))
    return re.compile(f"[\\w{''.join(marks)}]+")


@cache
def _stop_words() -> Mapping[str, frozenset[str]]:
    lines = (Path(__file__).parent / "stop_words.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(": ", 1) for line in lines if not line.startswith("#"))
    return {code: frozenset(words.split()) for code, words in pairs}
