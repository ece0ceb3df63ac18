"""Keyword queries: words, phrases in double quotes, prefixes that end in `*`."""

import re

from services.core.errors import InvalidArgumentError
from services.memory.records import Word, WordQuery

MOST_WORDS = 256
"""Most words of a query, those of phrases included; longer texts are cut there, since they are documents rather than questions."""
_PHRASE = re.compile(r'"([^"]*)"')
# Letters, digits and marks; the underscore parts words.
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f][^\W_]*)*")
_TERM = re.compile(rf"({_WORD.pattern})(\*(?!\w))?")


def parsed(text: str) -> WordQuery:
    """Parses a keyword query. Any text is one; a quote that nobody closes is no phrase.

    Args:
        text: What the user wrote.
    """
    room = MOST_WORDS
    phrases = []
    for found in _PHRASE.finditer(text):
        words = tuple(_WORD.findall(found[1]))[:room]
        room -= len(words)
        if words:
            phrases.append(words)
    # A word between phrases does not run into its neighbours.
    terms = _TERM.findall(_PHRASE.sub(" ", text))[:room]
    return WordQuery([Word(word, bool(star)) for word, star in terms], phrases)


def required(text: str, field: str) -> WordQuery:
    """Parses a query that must hold words.

    Args:
        text: What the user wrote.
        field: Path of the request's field, for errors.

    Raises:
        InvalidArgumentError: It holds none.
    """
    query = parsed(text)
    if not query.words and not query.phrases:
        raise InvalidArgumentError.of(field, "must hold at least one word to search for")
    return query
