"""The questions of `make eval-memory`, and how answers to them are counted."""

import pytest

from benchmarks.processes import ROOT
from benchmarks.retrieval import corpus
from benchmarks.retrieval.questions import Quality, Question, read


def test_questions_are_many_and_their_passages_stand_in_the_pages() -> None:
    questions, texts = read(), corpus.documents(ROOT)
    assert sum(question.hops == 1 for question in questions) >= 60
    assert sum(question.hops == 2 for question in questions) >= 25
    assert len({question.text for question in questions}) == len(questions)
    # A page that is written anew may leave a few behind; the evaluation leaves these out and says so.
    mended = [question.text for question in questions if corpus.missing(question.passages, texts)]
    assert len(mended) < len(questions) / 10, f"mend benchmarks/retrieval/questions.toml: {mended}"


def test_pages_are_searched_without_figures_and_the_contract_by_its_comments() -> None:
    texts = corpus.documents(ROOT)
    assert "docs/api.md" not in texts
    assert "<!-- /memory -->" not in texts["docs/memory.md"]
    graph = texts["protos/caravan/memory/v1/graph.proto"]
    assert "GetEntity: Gets one entity. Errors: NOT_FOUND." in graph
    assert "buf.validate" not in graph


def test_entities_are_names_that_join_passages() -> None:
    names = corpus.entities(
        {"a": "`WatchTurn` goes on.\n\nOnce: `alone`.", "b": "WatchTurn ends. NO_ROOM.\n\nNO_ROOM again."}
    )
    assert names == {"a": ["WatchTurn"], "b": ["NO_ROOM", "WatchTurn"]}


def test_recall_and_rank_are_of_passages() -> None:
    question = Question("?", [("a.md", "the  first"), ("b.md", "the second")])
    places = question.places([("c.md", "the first"), ("b.md", "here is\nthe second"), ("a.md", "the\nfirst")])
    assert places == [3, 2]
    quality = Quality([places, [None, 1]], [0.1, 0.3])
    assert quality.recall(1) == 0.25
    assert quality.recall(2) == 0.5
    assert quality.complete(3) == 0.5
    assert quality.reciprocal_rank == pytest.approx(((1 / 3 + 1 / 2) / 2 + 1 / 2) / 2)
    assert quality.median_ms == pytest.approx(200)
