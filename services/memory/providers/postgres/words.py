"""Words as PostgreSQL's `tsvector` and `tsquery` hold them.

Cut and stemmed they are by `analysis`, as every store does it. A lexeme is a stem. Prefixes are of words as they were written: where the
word is its own stem, its positions have weight A (others have D); other words are lexemes too, after an equals sign, which no word has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.memory.analysis import Language, cut
from services.memory.records import WordQuery

LAST_POSITION = 16_383
"""Positions that a `tsvector` tells apart; later ones count as this one, once a word."""
MOST_POSITIONS = 255
"""Occurrences of one word that a `tsvector` keeps."""
MOST_BYTES = 900_000
"""Size that a text's words may take; a `tsvector` has less than 1 MiB."""

_WRITTEN = "="
_WEIGHT_A = 3 << 14


def vector(text: str, language: Language) -> tuple[bytes, int]:
    """Returns a text's words as a `tsvector` in the form it is received in, and how many they are without stop words.

    Of a text that is too long for one, the words that come last are left out. Takes time with long texts.
    Source: `tsvectorrecv` in PostgreSQL's src/backend/utils/adt/tsvector.c.
    """
    lexemes: dict[str, list[int]] = {}
    stop_words, stems = language.stop_words, dict[str, str]()
    size = length = 0
    for position, word in enumerate(cut(text), 1):
        if word in stop_words:
            continue
        if (stem := stems.get(word)) is None:
            stem = stems[word] = language.stem(word)
            size += 8 * len(word) + 32
            if size > MOST_BYTES:
                break
        length += 1
        size += 4
        if stem == word:
            _place(lexemes, stem, position, _WEIGHT_A)
        else:
            _place(lexemes, stem, position, 0)
            _place(lexemes, _WRITTEN + word, position, 0)
    parts = [len(lexemes).to_bytes(4)]
    for lexeme, places in lexemes.items():
        parts += (lexeme.encode(), b"\x00", len(places).to_bytes(2), *(place.to_bytes(2) for place in places))
    return b"".join(parts), length


def _place(lexemes: dict[str, list[int]], lexeme: str, position: int, weight: int) -> None:
    places = lexemes.setdefault(lexeme, [])
    if len(places) < MOST_POSITIONS and (
        position < LAST_POSITION or not places or places[-1] & LAST_POSITION < LAST_POSITION
    ):
        places.append(min(position, LAST_POSITION) | weight)


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
