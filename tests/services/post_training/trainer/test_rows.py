"""Rows, read and encoded."""

import json
from pathlib import Path
from typing import Any

import pytest

from caravan.post_training.v1 import training_pb2
from services.post_training.trainer.chat import ChatTokenizer
from services.post_training.trainer.encoding import IGNORED, EncodedDialog, EncodedPair, Encoder
from services.post_training.trainer.packing import pack
from services.post_training.trainer.problems import RowError
from services.post_training.trainer.recipe import recipe_of
from services.post_training.trainer.rows import dialog_of, pair_of, read_rows
from tests.services.post_training.trainer.trainings import DEMO, rows_source

INSTRUCT = {
    "chat_completion_input": json.dumps(
        [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "Two?"},
        ]
    ),
    "expected_answer": "2",
}


def encoder(max_length: int = 512, *, train_on_input: bool = False, preference: bool = False) -> Encoder:
    data = training_pb2.DataConfig(dataset_id="rows", train_on_input=train_on_input)
    training = training_pb2.TrainingConfig(data_config=data)
    if preference:
        request: Any = training_pb2.PreferenceOptimizeRequest(finetuned_model="tiny", training_config=training)
        return Encoder(recipe_of("preference_optimize", request), ChatTokenizer(DEMO, "2026-11-20"), max_length)
    request = training_pb2.SupervisedFineTuneRequest(model="tiny", training_config=training)
    return Encoder(recipe_of("supervised_fine_tune", request), ChatTokenizer(DEMO, "2026-11-20"), max_length)


def learnt(row: EncodedDialog) -> str:
    return ChatTokenizer(DEMO).decode([label for label in row.labels if label != IGNORED])


def encoded(tmp_path: Path, made: Encoder, rows: list[dict[str, Any]], rows_format: str) -> list[Any]:
    return list(made.rows(rows_source(tmp_path / "rows.jsonl", rows, rows_format)))


def test_of_an_instruct_row_only_the_expected_answer_is_learnt(tmp_path: Path) -> None:
    (row,) = encoded(tmp_path, encoder(), [INSTRUCT], "DATASET_FORMAT_INSTRUCT")
    assert learnt(row) == "2<|eot_id|>"


def test_of_a_dialog_every_answer_is_learnt(tmp_path: Path) -> None:
    dialog = [*json.loads(INSTRUCT["chat_completion_input"]), {"role": "assistant", "content": "2"}]
    (row,) = encoded(tmp_path, encoder(), [{"dialog": dialog}], "DATASET_FORMAT_DIALOG")
    assert learnt(row) == "1<|eot_id|>2<|eot_id|>"


def test_with_train_on_input_everything_is_learnt(tmp_path: Path) -> None:
    (row,) = encoded(tmp_path, encoder(train_on_input=True), [INSTRUCT], "DATASET_FORMAT_INSTRUCT")
    assert row.labels == row.ids


def test_a_long_row_is_cut_at_its_end_and_left_out_when_nothing_is_left_to_learn(tmp_path: Path) -> None:
    (whole,) = encoded(tmp_path, encoder(), [INSTRUCT], "DATASET_FORMAT_INSTRUCT")
    (cut,) = encoded(tmp_path, encoder(len(whole.ids) - 1), [INSTRUCT], "DATASET_FORMAT_INSTRUCT")
    assert (cut.ids, cut.full_length, cut.learnt) == (whole.ids[:-1], len(whole.ids), True)
    (prompt,) = encoded(tmp_path, encoder(16), [INSTRUCT], "DATASET_FORMAT_INSTRUCT")
    assert not prompt.learnt


def test_both_ends_of_a_pair_follow_the_same_prompt(tmp_path: Path) -> None:
    row = {"prompt": "One?", "chosen": "It is 1.", "rejected": "It is 2."}
    (pair,) = encoded(tmp_path, encoder(preference=True), [row], "DATASET_FORMAT_PREFERENCE")
    assert isinstance(pair, EncodedPair)
    decode = ChatTokenizer(DEMO).decode
    assert decode(pair.prompt).endswith("One?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    assert (decode(pair.chosen), decode(pair.rejected)) == ("It is 1.<|eot_id|>", "It is 2.<|eot_id|>")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({}, "no chat_completion_input"),
        ({**INSTRUCT, "expected_answer": " "}, "expected_answer"),
        ({**INSTRUCT, "chat_completion_input": "{"}, "JSON text"),
        ({**INSTRUCT, "chat_completion_input": [{"role": "friend", "content": "x"}]}, r"\[0\]\.role"),
        ({**INSTRUCT, "chat_completion_input": [{"role": "user", "content": ""}]}, "content must not be empty"),
        ({**INSTRUCT, "chat_completion_input": [{"role": "user", "content": [{"type": "image"}]}]}, "images"),
    ],
)
def test_an_instruct_row_that_does_not_fit_says_what_is_wrong(row: dict[str, Any], what: str) -> None:
    with pytest.raises(RowError, match=what):
        dialog_of(row, "DATASET_FORMAT_INSTRUCT")


def test_a_dialog_begins_with_the_user_and_has_an_answer() -> None:
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    with pytest.raises(RowError, match="user"):
        dialog_of({"dialog": [answer, user]}, "DATASET_FORMAT_DIALOG")
    with pytest.raises(RowError, match="assistant"):
        dialog_of({"dialog": [user, user]}, "DATASET_FORMAT_DIALOG")
    with pytest.raises(RowError, match="two"):
        dialog_of({"dialog": [user]}, "DATASET_FORMAT_DIALOG")


def test_equal_ends_teach_nothing() -> None:
    with pytest.raises(RowError, match="differ"):
        pair_of({"prompt": "a", "chosen": "b", "rejected": "b"})


def test_an_end_that_repeats_the_prompt_is_read_without_it() -> None:
    prompt = [{"role": "user", "content": "a"}]
    pair = pair_of({"prompt": prompt, "chosen": [*prompt, {"role": "assistant", "content": "b"}], "rejected": "c"})
    assert [message["content"] for message in pair.chosen] == ["b"]


def test_a_wrong_row_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="row 1: the row has no dialog") as raised:
        encoded(
            tmp_path,
            encoder(),
            [{"dialog": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, {"dialog": None}],
            "DATASET_FORMAT_DIALOG",
        )
    assert raised.value.metadata == {"row": "1"}


def test_rows_of_later_revisions_are_not_read(tmp_path: Path) -> None:
    source = rows_source(tmp_path / "rows.jsonl", [{"a": number} for number in range(5)], "")
    from dataclasses import replace

    assert [row["a"] for row in read_rows(replace(source, row_count=3))] == [0, 1, 2]
    with pytest.raises(RowError, match="5 rows, not 6"):
        list(read_rows(replace(source, row_count=6)))


def test_packing_keeps_every_row_once_and_fills_sequences_well() -> None:
    import random

    chance = random.Random(1)
    lengths = [chance.randint(5, 120) for _ in range(5000)]
    sequences = pack(lengths, 512)
    assert sorted(row for sequence in sequences for row in sequence) == list(range(5000))
    assert max(sum(lengths[row] for row in sequence) for sequence in sequences) <= 512
    assert sum(lengths) / (512 * len(sequences)) > 0.99
    assert pack(lengths, 512) == sequences
