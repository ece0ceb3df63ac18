import pytest

from caravan.memory.v1 import query_pb2
from caravan.types.v1 import types_pb2
from services.memory.bank_queries import merged
from services.memory.content import of_text
from services.memory.highlights import highlights
from services.memory.keywords import MOST_WORDS, parsed
from services.memory.queries import Hit
from services.memory.ranking import fused, reciprocal_ranks
from services.memory.records import Match, Word


def matches(*scores):
    return [Match(key, score) for key, score in scores]


def test_reciprocal_ranks_are_summed():
    scores = reciprocal_ranks([[1, 2], [2, 3]], 60)
    assert scores == {1: 1 / 61, 2: 1 / 62 + 1 / 61, 3: 1 / 62}


def test_a_hit_of_both_stages_comes_before_one_of_either():
    found = fused(matches((1, 0.9), (2, 0.8)), matches((2, 7.0), (3, 5.0)), query_pb2.Ranker())
    assert [one.key for one in found] == [2, 1, 3]
    assert found[0].vector == (2, 0.8)
    assert found[0].words == (1, 7.0)
    assert (found[1].words, found[2].vector) == (None, None)


def test_weights_go_over_scores_that_were_scaled():
    ranker = query_pb2.Ranker(weighted={"alpha": 0.75})
    found = {one.key: one.score for one in fused(matches((1, 0.9), (2, 0.5)), matches((2, 10.0), (3, 2.0)), ranker)}
    assert found == {1: 0.75, 2: 0.25, 3: 0.0}


def test_scores_that_are_all_equal_are_as_good_as_it_gets():
    ranker = query_pb2.Ranker(weighted={})
    assert {one.score for one in fused(matches((1, 0.3), (2, 0.3)), [], ranker)} == {0.5}
    assert fused([], [], query_pb2.Ranker()) == []


def hit(name, score, **details):
    return Hit(query_pb2.Chunk(chunk_id=name), score, query_pb2.HitDetails(**details))


def test_scores_of_one_meaning_are_compared_between_banks():
    one = [hit("a", 0.9, vector_score=0.9), hit("b", 0.2, vector_score=0.2)]
    two = [hit("c", 0.5, vector_score=0.5)]
    assert [found.chunk.chunk_id for found in merged([one, two])] == ["a", "c", "b"]


def test_scores_of_several_meanings_are_merged_by_rank():
    one = [hit("a", 0.9, vector_score=0.9), hit("b", 0.8, vector_score=0.8)]
    two = [hit("c", 20.0, keyword_score=20.0)]
    found = merged([one, two])
    assert [each.chunk.chunk_id for each in found] == ["a", "c", "b"]
    assert found[0].score == found[0].details.fused_score == pytest.approx(1 / 61)


@pytest.mark.parametrize(
    ("text", "words", "phrases"),
    [
        ("cats and dogs", ["cats", "and", "dogs"], []),
        ('"black cat" sleeps', ["sleeps"], [("black", "cat")]),
        ('say "', ["say"], []),
        ('""', [], []),
        ("foo_bar C++ x-ray", ["foo", "bar", "C", "x", "ray"], []),
        ("naïve café", ["naïve", "café"], []),
        ("日本 привет", ["日本", "привет"], []),
        ("?! ...", [], []),
    ],
)
def test_keyword_queries_are_words_and_phrases(text, words, phrases):
    query = parsed(text)
    assert [word.text for word in query.words] == words
    assert list(query.phrases) == phrases


def test_a_star_makes_a_prefix_only_at_the_end_of_a_word():
    assert list(parsed("pre* mid*dle *").words) == [Word("pre", prefix=True), Word("mid"), Word("dle")]


def test_a_query_has_a_bounded_number_of_words():
    query = parsed('"' + "a " * 200 + '" ' + "b " * 1000)
    assert len(query.phrases[0]) + len(query.words) == MOST_WORDS


def spans(query, text, language="en"):
    return [text[span.start : span.end] for span in highlights(parsed(query), [text], language)[0]]


def test_highlights_are_the_words_of_the_query_in_whatever_form():
    assert spans("running", "He runs; she ran. RUN!") == ["runs", "RUN"]
    assert spans("hou*", "Houses and a mouse") == ["Houses"]
    assert spans("the cat", "The cat") == ["cat"]
    assert spans("Häusern", "Die Häuser", "de") == ["Häuser"]


def test_a_phrase_is_highlighted_only_where_it_stands():
    assert spans('"black cat"', "A cat, a black dog, a black cat.") == ["black cat"]


def test_highlights_count_code_points():
    (found,) = highlights(parsed("cat"), ["😀 cat"], "en")
    assert (found[0].start, found[0].end) == (2, 5)


def test_content_is_text_without_images():
    content = of_text("words")
    content.items.add(image=types_pb2.Image(data=b"x"))
    assert content.items[0].text == "words"
