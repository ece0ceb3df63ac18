"""Words as PostgreSQL's `tsvector` and `tsquery` hold them.

Cut and stemmed they are by `analysis`, as every store does it. A lexeme is a stem. Prefixes are of words as they were written: where the
word is its own stem, its positions have weight A (others have D); other words are lexemes too, after an equals sign, which no word has.
"""

import struct
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from services.memory.analysis import Language, cut
from services.memory.records import WordQuery

LAST_POSITION = 16_383
"""Positions that a `tsvector` tells apart; later ones count as this one, once a word."""
MOST_POSITIONS = 255
"""Occurrences of one word that a `tsvector` keeps."""
MOST_BYTES = 900_000
"""Size that a text's words may take; a `tsvector` has less than 1 MiB."""

MOST_KEPT = 65_536
"""Words whose lexemes are kept, of each language."""

_WRITTEN = "="
_WEIGHT_A = 3 << 14


class _Lexemes(dict[str, tuple[bytes, bytes | None] | None]):
    """By word, as they are received: its stem, and the word itself unless that is its stem. None: a stop word."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, word: str) -> tuple[bytes, bytes | None] | None:
        if len(self) >= MOST_KEPT:
            self.clear()
        found = None
        if word not in self._language.stop_words:
            stem = self._language.stem(word)
            found = (f"{stem}\0".encode(), None if stem == word else f"{_WRITTEN}{word}\0".encode())
        self[word] = found
        return found


_lexemes = cache(_Lexemes)


def vector(text: str, language: Language) -> tuple[bytes, int]:
    """Returns a text's words as a `tsvector` in the form it is received in, and how many they are without stop words.

    Of a text that is too long for one, the words that come last are left out. Takes time with long texts.
    Source: `tsvectorrecv` in PostgreSQL's src/backend/utils/adt/tsvector.c.
    """
    words = cut(text)
    if 8 * len(text) + 36 * len(words) > MOST_BYTES:
        words = _first(words, language)
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for position, word in enumerate(words, 1):
        positions[word].append(position)
    known, length = _lexemes(language), 0
    # By lexeme: position times two, and one more where it is of weight A.
    places: dict[bytes, list[int]] = {}
    for word, found in positions.items():
        lexemes = known[word]
        if lexemes is None:
            continue
        length += len(found)
        stem, written = lexemes
        if written is None:
            marked = [2 * position + 1 for position in found]
        else:
            marked = places[written] = [2 * position for position in found]
        there = places.get(stem)
        places[stem] = marked if there is None else sorted(there + marked)
    parts = [len(places).to_bytes(4)]
    for lexeme, marked in places.items():
        parts += (lexeme, _received(marked) if len(marked) > 1 else _one(marked[0]))
    return b"".join(parts), length


def _first(words: list[str], language: Language) -> list[str]:
    """Returns the first of a text's words, as many as a `tsvector` holds."""
    seen, size = set[str](), 0
    for place, word in enumerate(words):
        if word in language.stop_words:
            continue
        size += 4
        if word not in seen:
            seen.add(word)
            size += 8 * len(word) + 32
        if size > MOST_BYTES:
            return words[:place]
    return words


@lru_cache(maxsize=4096)
def _one(marked: int) -> bytes:
    return _received([marked])


def _received(marked: list[int]) -> bytes:
    """Returns the positions of a lexeme, which rise, as they are received."""
    end = bisect_left(marked, 2 * LAST_POSITION)
    # What comes later stands at the last position, once.
    last = [2 * LAST_POSITION + marked[end] % 2] if end < len(marked) else []
    kept = (marked[:end] + last)[:MOST_POSITIONS]
    return struct.pack(f">{len(kept) + 1}H", len(kept), *(one >> 1 | _WEIGHT_A * (one & 1) for one in kept))


@dataclass(slots=True)
class Terms:
    """A keyword query in PostgreSQL's terms."""

    weights: dict[str, int] = field(default_factory=dict)
    """Each word as a `tsquery`, and how often the query has it."""
    prefixes: dict[str, str] = field(default_factory=dict)
    """What the words begin with that fit a `tsquery` of `weights` which is of a prefix."""
    phrases: list[str] = field(default_factory=list)
    """What must stand together, each as a `tsquery`."""


def terms_of(query: WordQuery, language: Language) -> Terms:
    """Translates a query."""
    terms = Terms()
    for word in query.words:
        for text in cut(word.text):
            if word.prefix:
                prefix = f"{_quoted(text)}:*A | {_quoted(_WRITTEN + text)}:*"
                terms.prefixes[prefix] = text
                _add(terms, prefix)
            elif text not in language.stop_words:
                _add(terms, _quoted(language.stem(text)))
    for phrase in query.phrases:
        _add_phrase(terms, [word for text in phrase for word in cut(text)], language)
    return terms


def _add_phrase(terms: Terms, phrase: Sequence[str], language: Language) -> None:
    """A stop word keeps its place in a phrase, but may be any word."""
    joined, last = "", 0
    for place, stem in _kept(phrase, language):
        joined = f"{joined} <{place - last}> {_quoted(stem)}" if joined else _quoted(stem)
        last = place
        _add(terms, _quoted(stem))
    if joined:
        terms.phrases.append(joined)


def _kept(phrase: Sequence[str], language: Language) -> Iterable[tuple[int, str]]:
    return ((at, language.stem(word)) for at, word in enumerate(phrase) if word not in language.stop_words)


def _add(terms: Terms, term: str) -> None:
    terms.weights[term] = terms.weights.get(term, 0) + 1


def _quoted(lexeme: str) -> str:
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
