"""Words of chunks in memory, and BM25 over them.

Postings are kept by word as it was written; a query's word fits all words with its stem. They lie in segments, sorted by word: a write
makes one, and segments of like size become one, so that there are few. A segment never changes, so reading needs no lock.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the idf of Lucene, which is above 0.
"""

import bisect
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.memory.analysis import Language, cut
from services.memory.providers.embedded.growing import Growing
from services.memory.records import WordQuery

K1 = 1.2
B = 0.75
_STOP = -1
_MOST_COUNT = 65_535
_MERGED_UP_TO = 2_000_000
_MERGE_FACTOR = 4

Texts = Callable[[Sequence[int]], list[str]]
"""Returns the texts of chunks by their ordinals; an empty one for what is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """The chunks that exist."""

    exists: NDArray[np.bool_]
    """Whether the chunk exists, by ordinal."""
    count: int
    """Number of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Postings of some chunks."""

    words: NDArray[np.int32]
    """Numbers of the words, ascending, each once."""
    starts: NDArray[np.int64]
    """Where each word's postings begin, and the end of the last."""
    ordinals: NDArray[np.int32]
    """Chunks."""
    counts: NDArray[np.uint16]
    """How often the word is in the chunk."""


class _Vocabulary(dict[str, int]):
    """Numbers of words; a word that is not there yet gets one."""

    def __init__(self, language: Language) -> None:
        super().__init__(dict.fromkeys(language.stop_words, _STOP))
        self.language = language
        self.words: list[str] = []
        self.stems = Growing(np.uint64)

    def restore(self, lines: str, stems: NDArray[Any]) -> None:
        """Takes the words of a snapshot, one a line, with their stems."""
        self.words = lines.split("\n") if lines else []
        self.update(zip(self.words, range(len(self.words)), strict=True))
        self.stems.append(stems)

    def __missing__(self, word: str) -> int:
        number = len(self.words)
        self.stems.append(np.array([_hashed(self.language.stem(word))], np.uint64))
        self.words.append(word)
        self[word] = number
        return number


class WordIndex:
    """The words of a bank's chunks. One thread at a time adds; any number search."""

    def __init__(self, language: Language) -> None:
        """Begins empty."""
        self._language = language
        self._vocabulary = _Vocabulary(language)
        self._segments: tuple[Segment, ...] = ()
        self._lengths = Growing(np.int32)
        self._sorted: tuple[int, list[str]] = (0, [])

    @property
    def size(self) -> int:
        """Number of chunks."""
        return self._lengths.size

    @property
    def memory_bytes(self) -> int:
        """Size in memory, about."""
        postings = sum(part.words.nbytes + part.starts.nbytes + 6 * len(part.ordinals) for part in self._segments)
        return postings + self._lengths.nbytes + 200 * len(self._vocabulary.words)

    def add(self, texts: Iterable[str]) -> None:
        """Adds chunks with the next ordinals. Searches do not see them while their corpus does not."""
        words = [cut(text) for text in texts]
        every = np.fromiter(map(self._vocabulary.__getitem__, chain.from_iterable(words)), np.int64)
        places = np.repeat(np.arange(len(words)), np.fromiter(map(len, words), np.int64, len(words)))
        kept = every != _STOP
        numbers, places = every[kept], places[kept]
        first = self._lengths.size
        self._lengths.append(np.bincount(places, minlength=len(words)))
        if len(numbers):
            pairs, counts = np.unique((numbers << 32) | (first + places), return_counts=True)
            segment = _segment((pairs >> 32).astype(np.int32), (pairs & 0xFFFFFFFF).astype(np.int32), counts)
            self._segments = _tidied([*self._segments, segment])

    def search(
        self, query: WordQuery, k: int, corpus: Corpus, fitting: NDArray[np.bool_] | None, texts: Texts
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Finds the best chunks.

        Args:
            query: What to look for.
            k: Most chunks.
            corpus: The chunks that exist.
            fitting: Which of them may be found. None: all.
            texts: Reads chunks, to see where phrases stand.

        Returns:
            Ordinals and scores, best first.
        """
        phrases = [phrase for phrase in map(self._places, query.phrases) if phrase]
        required = [[number_of for _, number_of in phrase] for phrase in phrases]
        asked = (self._fitting_words(word.text, prefix=word.prefix) for word in query.words)
        terms = [term for term in asked if term is not None]
        terms += [self._of_stem(stem) for phrase in required for stem in phrase]
        if not terms:
            return np.empty(0, np.int64), np.empty(0)
        scores, held = self._scored(terms, len(terms) - sum(map(len, required)), corpus)
        allowed = scores > 0
        if held is not None:
            allowed &= held
        if fitting is not None:
            allowed &= fitting
        ordinals = np.flatnonzero(allowed)
        if phrases:
            return self._with_phrases(ordinals, scores, phrases, k, texts)
        best = ordinals
        if len(ordinals) > k:
            best = ordinals[np.argpartition(scores[ordinals], len(ordinals) - k)[-k:]]
        best = best[np.lexsort((best, -scores[best]))]
        return best, scores[best]

    def _scored(
        self, terms: list[NDArray[np.int64]], optional: int, corpus: Corpus
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Returns each chunk's score, and which hold all terms from number `optional` on. None: there is none of these."""
        total = len(corpus.exists)
        lengths = self._lengths.view()[:total]
        average = max(1.0, float(np.dot(lengths, corpus.exists)) / max(1, corpus.count))
        scores = np.zeros(total)
        held = np.ones(total, np.bool_) if optional < len(terms) else None
        for place, numbers in enumerate(terms):
            ordinals, counts = self._postings(numbers, corpus.exists)
            if len(ordinals):
                idf = np.log1p((corpus.count - len(ordinals) + 0.5) / (len(ordinals) + 0.5))
                norm = K1 * (1 - B + B * lengths[ordinals] / average)
                scores[ordinals] += idf * counts * (K1 + 1) / (counts + norm)
            if held is not None and place >= optional:
                holding = np.zeros(total, np.bool_)
                holding[ordinals] = True
                held &= holding
        return scores, held

    def _postings(
        self, numbers: NDArray[np.int64], exists: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the chunks that hold one of some words, each once, with how often."""
        parts, counts = [], []
        for segment in self._segments:
            places = np.searchsorted(segment.words, numbers)
            inside = places < len(segment.words)
            places = places[inside]
            places = places[segment.words[places] == numbers[inside]]
            for place in places.tolist():
                chosen = slice(segment.starts[place], segment.starts[place + 1])
                parts.append(segment.ordinals[chosen])
                counts.append(segment.counts[chosen])
        if not parts:
            return np.empty(0, np.int64), np.empty(0)
        ordinals = np.concatenate(parts).astype(np.int64)
        often = np.concatenate(counts).astype(np.float64)
        inside = ordinals < len(exists)
        inside[inside] = exists[ordinals[inside]]
        ordinals, often = ordinals[inside], often[inside]
        if len(numbers) > 1 and len(ordinals):
            ordinals, inverse = np.unique(ordinals, return_inverse=True)
            often = np.bincount(inverse, often).astype(np.float64)
        return ordinals, often

    def _fitting_words(self, text: str, *, prefix: bool) -> NDArray[np.int64] | None:
        """Returns the words that fit a query's word; None for a stop word."""
        word = text.lower()[:255]
        if prefix:
            return self._with_prefix(word)
        return None if word in self._language.stop_words else self._of_stem(_hashed(self._language.stem(word)))

    def _of_stem(self, stem: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._vocabulary.stems.view() == np.uint64(stem))

    def _with_prefix(self, prefix: str) -> NDArray[np.int64]:
        size, words = self._sorted
        known = len(self._vocabulary.words)
        if size != known:
            words = sorted([*words, *self._vocabulary.words[size:known]])
            self._sorted = (known, words)
        first = bisect.bisect_left(words, prefix)
        last = bisect.bisect_right(words, prefix + "\U0010ffff" * 2, lo=first)
        numbers = (self._vocabulary[word] for word in words[first:last])
        return np.sort(np.fromiter(numbers, np.int64))

    def _places(self, phrase: Sequence[str]) -> list[tuple[int, int]]:
        """Returns the place and the stem of a phrase's words; stop words only keep their places."""
        words = [word.lower()[:255] for word in phrase]
        stop = self._language.stop_words
        kept = [(place, word) for place, word in enumerate(words) if word not in stop]
        return [(place - kept[0][0], _hashed(self._language.stem(word))) for place, word in kept]

    def _with_phrases(
        self,
        ordinals: NDArray[np.int64],
        scores: NDArray[np.float64],
        phrases: Sequence[list[tuple[int, int]]],
        k: int,
        texts: Texts,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Keeps the best of the chunks in which all phrases stand."""
        ordered = ordinals[np.lexsort((ordinals, -scores[ordinals]))]
        if all(len(phrase) == 1 for phrase in phrases):
            found = ordered[:k].tolist()
        else:
            found = []
            for begin in range(0, len(ordered), 256):
                page = ordered[begin : begin + 256].tolist()
                standing = (one for one, text in zip(page, texts(page), strict=True) if self._stand(text, phrases))
                found += standing
                if len(found) >= k:
                    break
        best = np.array(found[:k], np.int64)
        return best, scores[best]

    def _stand(self, text: str, phrases: Sequence[list[tuple[int, int]]]) -> bool:
        number_of = self._vocabulary.get
        numbers = np.fromiter((number_of(word, _STOP) for word in cut(text)), np.int64)
        stems = self._vocabulary.stems.view()[numbers]
        stems[numbers == _STOP] = 0
        return all(_stands(stems, phrase) for phrase in phrases)

    # Snapshots.

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all there is as arrays, for `restored`."""
        whole = _merged(self._segments) if self._segments else None
        words = "\n".join(self._vocabulary.words).encode()
        state: dict[str, NDArray[Any]] = {
            "vocabulary": np.frombuffer(words, np.uint8),
            "stems": self._vocabulary.stems.view(),
            "lengths": self._lengths.view(),
        }
        if whole is not None:
            state |= {"words": whole.words, "starts": whole.starts, "ordinals": whole.ordinals, "counts": whole.counts}
        return state

    @classmethod
    def restored(cls, language: Language, state: dict[str, NDArray[Any]]) -> "WordIndex":
        """Returns the index that `state` was taken of."""
        index = cls(language)
        index._vocabulary.restore(state["vocabulary"].tobytes().decode(), state["stems"])
        index._lengths.append(state["lengths"])
        if "words" in state:
            index._segments = (
                Segment(
                    state["words"].astype(np.int32),
                    state["starts"].astype(np.int64),
                    state["ordinals"].astype(np.int32),
                    state["counts"].astype(np.uint16),
                ),
            )
        return index


def _hashed(stem: str) -> int:
    """A number for a stem, never 0."""
    digest = hashlib.blake2b(stem.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) or 1


def _stands(stems: NDArray[np.uint64], phrase: Sequence[tuple[int, int]]) -> bool:
    length = len(stems) - phrase[-1][0]
    if length <= 0:
        return False
    here = np.ones(length, np.bool_)
    for place, stem in phrase:
        here &= stems[place : place + length] == np.uint64(stem)
    return bool(here.any())


def _segment(words: NDArray[np.int32], ordinals: NDArray[np.int32], counts: NDArray[np.int64]) -> Segment:
    """Makes a segment of postings that are sorted by word and ordinal."""
    firsts = np.flatnonzero(np.concatenate(([True], words[1:] != words[:-1])))
    starts = np.append(firsts, len(words)).astype(np.int64)
    return Segment(words[firsts], starts, ordinals, np.minimum(counts, _MOST_COUNT).astype(np.uint16))


def _tidied(segments: list[Segment]) -> tuple[Segment, ...]:
    """Merges the last segments while they are of like size."""
    while len(segments) > 1:
        before, last = len(segments[-2].ordinals), len(segments[-1].ordinals)
        if before > _MERGE_FACTOR * last or before + last > _MERGED_UP_TO:
            break
        segments = [*segments[:-2], _merged(segments[-2:])]
    return tuple(segments)


def _merged(segments: Sequence[Segment]) -> Segment:
    words = np.concatenate([np.repeat(part.words, np.diff(part.starts)) for part in segments])
    # Runs that are sorted already: linear time.
    order = np.argsort(words, kind="stable")
    ordinals = np.concatenate([part.ordinals for part in segments])[order]
    counts = np.concatenate([part.counts for part in segments])[order]
    return _segment(words[order], ordinals, counts.astype(np.int64))
