"""The parts of a chunk's text that fit a query's words."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from caravan.memory.v1 import query_pb2
from services.memory import analysis
from services.memory.records import WordQuery

_WORD = re.compile(r"[^\W_]+")
_MOST = 100


def highlights(query: WordQuery, texts: Sequence[str], language: str) -> list[list[query_pb2.TextSpan]]:
    """Finds a query's words in texts; takes a while with many, so call it in a thread.

    Words count as in the search: without regard to case, by their stem; those of a phrase only where the phrase stands.

    Args:
        query: The query.
        texts: The texts.
        language: ISO 639-1 code.

    Returns:
        The spans of each text in their order, at most a hundred.
    """
    rules = analysis.language(language)

    def stem(word: str) -> str:
        return rules.stem(_folded(word))

    wanted = (word.text for word in query.words if not word.prefix and _folded(word.text) not in rules.stop_words)
    stems = {stem(word) for word in wanted}
    prefixes = tuple(_folded(word.text) for word in query.words if word.prefix)
    phrases = [tuple(stem(word) for word in phrase) for phrase in query.phrases]
    return [_spans(text, stem, stems, prefixes, phrases) for text in texts]


def _spans(
    text: str, stem: Callable[[str], str], stems: set[str], prefixes: tuple[str, ...], phrases: list[tuple[str, ...]]
) -> list[query_pb2.TextSpan]:
    words = [(found.start(), found.end(), stem(found[0])) for found in _WORD.finditer(text)]
    fitting = {
        place
        for place, (start, end, its_stem) in enumerate(words)
        if its_stem in stems or (prefixes and _folded(text[start:end]).startswith(prefixes))
    }
    spans = [(words[place][0], words[place][1]) for place in fitting]
    for phrase in phrases:
        length = len(phrase)
        places = range(len(words) - length + 1)
        standing = (at for at in places if all(words[at + step][2] == phrase[step] for step in range(length)))
        spans.extend((words[at][0], words[at + length - 1][1]) for at in standing)
    return [query_pb2.TextSpan(start=start, end=end) for start, end in _merged(spans)[:_MOST]]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).lower()
