"""Searching words: BM25, stems, stop words, phrases, prefixes."""

import pytest

from services.memory.ports import WORD_LANGUAGES, Store
from tests.conformance.memory.building import (
    chunk,
    chunk_ids,
    comparison,
    document,
    keyword_spec,
    loose,
    vector_spec,
    with_vectors,
    words,
)

query = words


async def fill(store: Store, bank_id: str, *texts: str) -> None:
    chunks = [chunk(text, f"d{place}", f"{place}") for place, text in enumerate(texts)]
    await store.insert_chunks(bank_id, loose(*chunks), None)


async def found(store: Store, bank_id: str, *texts: str, **parts: list[str]) -> list[int]:
    matches = await store.search_words(bank_id, query(*texts, **parts), 100)
    assert all(match.score > 0 for match in matches)
    assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)
    return [int(name) for name in await chunk_ids(store, bank_id, matches)]


async def test_chunks_that_hold_one_of_the_words_are_found(store: Store, words: str) -> None:
    await fill(store, words, "red apples", "green pears", "red cherries and green apples", "blue plums")
    assert sorted(await found(store, words, "red", "green")) == [0, 1, 2]
    assert await found(store, words, "yellow") == []


async def test_more_and_rarer_words_score_higher(store: Store, words: str) -> None:
    await fill(store, words, "common rare", "common other", "common third", "common fourth fifth", "rare thing")
    names = await found(store, words, "common", "rare")
    assert names[0] == 0
    assert names[1] == 4


async def test_a_word_that_comes_more_often_scores_higher(store: Store, words: str) -> None:
    await fill(store, words, "whale ship sea sky", "whale whale whale sea", "harbour ship sea sky")
    assert await found(store, words, "whale") == [1, 0]


async def test_a_shorter_chunk_scores_higher_than_a_longer_one(store: Store, words: str) -> None:
    await fill(store, words, "whale " + "water " * 50, "whale water")
    assert await found(store, words, "whale") == [1, 0]


async def test_scores_are_those_of_bm25(store: Store, words: str) -> None:
    """k1 = 1.2, b = 0.75, idf = ln(1 + (N - n + 0.5) / (n + 0.5)), lengths without stop words."""
    await fill(store, words, "whale ship", "the whale and the whale", "harbour")
    (twice, once) = await store.search_words(words, query("whale"), 5)
    # N = 3, n = 2, idf = ln(1.6); lengths 2, 2, 1, so 5 / 3 on average.
    norm = 1.2 * (1 - 0.75 + 0.75 * 2 / (5 / 3))
    idf = 0.47000362924573563
    assert once.score == pytest.approx(idf * 2.2 / (1 + norm), rel=1e-3)
    assert twice.score == pytest.approx(idf * 2 * 2.2 / (2 + norm), rel=1e-3)


async def test_words_are_found_by_their_stem_and_without_regard_to_case(store: Store, words: str) -> None:
    await fill(store, words, "She was RUNNING fast", "he runs", "a runner", "CONNECTIONS", "Élan vital")
    assert sorted(await found(store, words, "run")) == [0, 1]
    assert await found(store, words, "Connected") == [3]
    assert await found(store, words, "éLAN") == [4]


async def test_stop_words_find_nothing(store: Store, words: str) -> None:
    await fill(store, words, "the cat and the dog", "of mice")
    assert await found(store, words, "the", "and", "of") == []
    assert await found(store, words, "the", "cat") == [0]
    assert await store.search_words(words, query(), 5) == []


@pytest.mark.parametrize(
    ("language", "text", "asked", "stop"),
    [
        ("de", "Die Häuser der Stadt", "haus", "der"),
        ("fr", "Les chevaux mangent dans les prairies", "prairie", "dans"),
        ("es", "Las canciones de los niños", "canción", "los"),
        ("ru", "Красивые книги на столе", "книга", "на"),
    ],
)
async def test_each_language_has_its_stems_and_stop_words(
    store: Store, language: str, text: str, asked: str, stop: str
) -> None:
    spec = keyword_spec(language=language)
    await store.open_bank(spec)
    await fill(store, spec.bank_id, text, "zzz")
    assert await found(store, spec.bank_id, asked) == [0]
    assert await found(store, spec.bank_id, stop) == []


@pytest.mark.parametrize("language", sorted(WORD_LANGUAGES))
async def test_every_language_can_be_searched(store: Store, language: str) -> None:
    spec = keyword_spec(language=language)
    await store.open_bank(spec)
    await fill(store, spec.bank_id, "internet 42 παράδειγμα пример مثال")
    assert await found(store, spec.bank_id, "internet") == [0]
    assert await found(store, spec.bank_id, "42") == [0]


async def test_words_are_runs_of_letters_digits_and_marks(store: Store, words: str) -> None:
    await fill(store, words, "snake_case-name x2y, e-mail", "हिन्दी भाषा", "cafe\u0301 noir")
    assert await found(store, words, "snake") == [0]
    assert await found(store, words, "x2y") == [0]
    assert await found(store, words, "mail") == [0]
    assert await found(store, words, "हिन्दी") == [1]
    assert await found(store, words, "cafe\u0301") == [2]


async def test_the_words_of_a_phrase_stand_one_after_the_other(store: Store, words: str) -> None:
    await fill(store, words, "the quick brown fox", "the brown quick fox", "quick and brown", "quick brown")
    assert sorted(await found(store, words, phrases=["quick brown"])) == [0, 3]
    assert await found(store, words, phrases=["brown quick"]) == [1]
    assert await found(store, words, phrases=["quick fox"]) == [1]


async def test_a_chunk_must_hold_every_phrase_and_words_only_add(store: Store, words: str) -> None:
    await fill(store, words, "red apple green pear", "red apple only", "green pear only", "red apple green pear whale")
    assert await found(store, words, "whale", phrases=["red apple", "green pear"]) == [3, 0]


async def test_a_stop_word_in_a_phrase_keeps_its_place(store: Store, words: str) -> None:
    await fill(store, words, "the state of the art", "the state art", "state art of things")
    assert await found(store, words, phrases=["state of the art"]) == [0]
    assert await found(store, words, phrases=["of the"]) == []


async def test_a_phrase_fits_by_stems(store: Store, words: str) -> None:
    await fill(store, words, "connected graphs", "graph connection", "connecting a graph")
    assert await found(store, words, phrases=["connect graph"]) == [0]


async def test_a_prefix_finds_the_words_that_begin_with_it(store: Store, words: str) -> None:
    await fill(store, words, "connection lost", "they connected", "reconnect", "con artist")
    assert sorted(await found(store, words, prefixes=["connec"])) == [0, 1]
    assert sorted(await found(store, words, prefixes=["CON"])) == [0, 1, 3]
    assert await found(store, words, prefixes=["connectio"]) == [0]
    assert await found(store, words, prefixes=["xyz"]) == []


async def test_words_are_found_where_metadata_fit(store: Store, words: str) -> None:
    writes = [document(f"d{place}", ["whale"], metadata={"n": place}) for place in range(30)]
    await store.write_documents(words, writes)
    matches = await store.search_words(words, query("whale"), 4, where=comparison("greater_or_equal", "n", 26))
    assert sorted(await chunk_ids(store, words, matches)) == [f"d{place}#0" for place in (26, 27, 28, 29)]


async def test_no_more_than_asked_for_are_found(store: Store, words: str) -> None:
    await fill(store, words, *(f"whale {place}" for place in range(50)))
    assert len(await store.search_words(words, query("whale"), 7)) == 7


async def test_vector_banks_can_be_searched_by_words(store: Store) -> None:
    spec = vector_spec()
    await store.open_bank(spec)
    await store.write_documents(spec.bank_id, [with_vectors("a", 2), with_vectors("b", 1)])
    matches = await store.search_words(spec.bank_id, query("pieces"), 10)
    assert sorted(await chunk_ids(store, spec.bank_id, matches)) == ["a#0", "a#1", "b#0"]


async def test_what_is_gone_does_not_count_as_a_holder_of_a_word(store: Store, words: str) -> None:
    await fill(store, words, *(["whale ship"] * 3), "harbour ship")
    before = (await store.search_words(words, query("harbour"), 5))[0].score
    await store.delete_chunks(words, ["0", "1", "2"])
    after = (await store.search_words(words, query("harbour"), 5))[0].score
    assert after < before


async def test_a_text_may_be_long_or_empty(store: Store, words: str) -> None:
    await fill(store, words, "", "whale " * 20_000, "x" * 100_000 + " needle")
    assert await found(store, words, "whale") == [1]
    assert await found(store, words, "needle") == [2]
