"""Words: what fits, and BM25 as the books have it."""

import math

import pytest

from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import Word, WordQuery
from tests.services.memory.providers.postgres.building import chunks, condition, keyword_bank, texts_of, write

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A dog barks; dogs bark at foxes, and the fox runs.",
    "Running is what runners do: run, run, run!",
    "State of the union, union of states.",
    "naïve café résumé — ÀÉÎ",
    "नमस्ते दुनिया",
    "x" * 3000 + " end",
]


@pytest.fixture
async def bank(store: PostgresStore) -> PostgresStore:
    await store.open_bank(keyword_bank("b"))
    await store.write_documents("b", [write("d", TEXTS, metadata={"n": 1}), write("e", ["run fox"], metadata={"n": 2})])
    return store


async def found(store: PostgresStore, *words: str, phrases: tuple[tuple[str, ...], ...] = ()) -> list[str]:
    query = WordQuery([Word(word.removesuffix("*"), word.endswith("*")) for word in words], phrases)
    matches = await store.search_words("b", query, 10)
    return await texts_of(store, "b", [match.key for match in matches])


async def test_words_fit_by_their_stems_without_regard_to_case(bank: PostgresStore) -> None:
    assert set(await found(bank, "FOXES")) == {TEXTS[0], TEXTS[1], "run fox"}
    assert await found(bank, "ÀÉÎ") == [TEXTS[4]]
    assert await found(bank, "नमस्ते") == [TEXTS[5]]


async def test_stop_words_find_nothing_by_themselves(bank: PostgresStore) -> None:
    assert await found(bank, "the", "of") == []
    assert await found(bank, phrases=(("of", "the"),)) == []


async def test_a_phrase_stands_together_and_a_stop_word_keeps_its_place(bank: PostgresStore) -> None:
    assert await found(bank, phrases=(("quick", "brown"),)) == [TEXTS[0]]
    assert await found(bank, phrases=(("brown", "quick"),)) == []
    assert await found(bank, phrases=(("state", "of", "the", "union"),)) == [TEXTS[3]]
    assert await found(bank, phrases=(("state", "union"),)) == []
    assert await found(bank, phrases=(("union", "of", "states"), ("state", "of"))) == [TEXTS[3]]


async def test_prefixes_are_of_words_as_they_were_written(bank: PostgresStore) -> None:
    assert await found(bank, "runn*") == [TEXTS[2]]
    assert set(await found(bank, "run*")) == {TEXTS[1], TEXTS[2], "run fox"}
    # "lazy" has the stem "lazi".
    assert await found(bank, "lazi*") == []
    assert await found(bank, "laz*") == [TEXTS[0]]
    assert await found(bank, "=*", "'*") == []


async def test_a_word_longer_than_a_lexeme_is_found(bank: PostgresStore) -> None:
    assert await found(bank, "x" * 3000) == [TEXTS[6]]


@pytest.mark.parametrize(
    "word", ["fox' | 'dog", "a\\", "a:*", "!run", "\x00", "1 & 2", "(", "'); DROP TABLE banks; --"]
)
async def test_hostile_words_are_only_words(bank: PostgresStore, word: str) -> None:
    await found(bank, word, f"{word}*", phrases=((word, word),))
    assert await found(bank, "quick") == [TEXTS[0]]


async def test_scores_are_those_of_bm25(bank: PostgresStore) -> None:
    lengths = [6, 7, 5, 4, 4, 2, 2, 2]
    average = sum(lengths) / len(lengths)

    def bm25(often: int, length: int, holding: int) -> float:
        idf = math.log(1 + (len(lengths) - holding + 0.5) / (holding + 0.5))
        return idf * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * length / average))

    statistics = await bank.statistics("b")
    assert statistics.chunk_count == len(lengths)
    matches = await bank.search_words("b", WordQuery([Word("run"), Word("fox")]), 10)
    shown = await texts_of(bank, "b", [match.key for match in matches])
    scores = dict(zip(shown, (match.score for match in matches), strict=True))
    assert scores == {
        "run fox": pytest.approx(bm25(1, 2, 3) + bm25(1, 2, 3)),
        TEXTS[0]: pytest.approx(bm25(1, 6, 3)),
        TEXTS[1]: pytest.approx(bm25(1, 7, 3) + bm25(2, 7, 3)),
        TEXTS[2]: pytest.approx(bm25(4, 5, 3)),
    }


async def test_every_occurrence_up_to_255_counts(store: PostgresStore) -> None:
    await store.open_bank(keyword_bank("b"))
    counts = [1, 2, 3, 9, 50, 120, 254, 255]
    await store.insert_chunks(
        "b", chunks("d", [" ".join(["word"] * count + ["filler"] * (300 - count)) for count in counts]), None
    )
    matches = await store.search_words("b", WordQuery([Word("word")]), 10)
    idf = math.log(1 + 0.5 / (len(counts) + 0.5))
    expected = sorted((idf * count * 2.2 / (count + 1.2) for count in counts), reverse=True)
    assert [match.score for match in matches] == pytest.approx(expected)


async def test_a_filter_leaves_the_scores_as_they_are(bank: PostgresStore) -> None:
    query = WordQuery([Word("fox")])
    everywhere = {match.key: match.score for match in await bank.search_words("b", query, 10)}
    where = condition({"equal": {"key": "n", "value": 2}})
    filtered = await bank.search_words("b", query, 10, where=where)
    assert await texts_of(bank, "b", [match.key for match in filtered]) == ["run fox"]
    assert filtered[0].score == everywhere[filtered[0].key]


async def test_a_text_too_long_for_the_index_is_kept_and_found_by_its_first_words(store: PostgresStore) -> None:
    await store.open_bank(keyword_bank("b"))
    text = " ".join(f"w{number}" for number in range(300_000))
    await store.insert_chunks("b", chunks("d", [text]), None)
    assert await texts_of(store, "b", [m.key for m in await store.search_words("b", WordQuery([Word("w17")]), 1)]) == [
        text
    ]


async def test_a_query_of_thousands_of_words_is_answered(bank: PostgresStore) -> None:
    query = WordQuery([Word("fox"), *(Word(f"w{number}") for number in range(5000))])
    assert len(await bank.search_words("b", query, 10)) == 3
