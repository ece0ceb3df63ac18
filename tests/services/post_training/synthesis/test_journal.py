"""What has been made, on disk, after whatever ended the process."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.types.v1 import types_pb2
from services.post_training.synthesis.journal import Journal

TOKENS = [types_pb2.MetricInResponse(metric="total_tokens", value=3, unit="tokens")]


def said(text: str) -> types_pb2.CompletionMessage:
    return types_pb2.CompletionMessage(content={"items": [{"text": text}]})


async def reopened(path: Path) -> Journal:
    journal = Journal(path, 3, 2, is_scored=True)
    await journal.open()
    return journal


async def test_what_was_made_is_there_after_the_file_is_opened_again(tmp_path: Path) -> None:
    journal = await reopened(tmp_path / "j")
    journal.add_answer(2, 1, said("zwölf\n\u2028"), TOKENS)
    journal.add_answer(2, 0, said(""), TOKENS)
    assert not journal.is_complete(2)
    journal.add_scores(2, [0.5, -1])
    journal.add_seconds(1.5)
    await journal.close()
    again = await reopened(tmp_path / "j")
    assert again.is_complete(2)
    assert (again.missing(1), again.made, again.seconds, again.usage["total_tokens"]) == ([0, 1], 2, 1.5, 6)
    assert list(again.scores_of(2)) == [0.5, -1]
    assert await again.messages([5, 4]) == [said("zwölf\n\u2028"), said("")]
    await again.close()


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 400))
async def test_a_file_that_is_cut_anywhere_loses_its_end_and_takes_more(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "j"
    journal = await reopened(path)
    for dialog in range(2):
        for answer in range(2):
            journal.add_answer(dialog, answer, said(f"{dialog}{answer}"), TOKENS)
    await journal.close()
    path.write_bytes(path.read_bytes()[:cut])
    again = await reopened(path)
    whole = again.made
    again.add_answer(2, 0, said("new"), TOKENS)
    assert await again.messages([4]) == [said("new")]
    await again.close()
    last = await reopened(path)
    assert last.made == whole + 1
    await last.close()
