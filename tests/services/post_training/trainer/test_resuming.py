"""Interrupted trainings: the curve of the losses is the uninterrupted one's, to the last bit."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from services.post_training.spec import RowsSource
from services.post_training.trainer.checkpoints import Checkpoints
from services.post_training.trainer.problems import CheckpointError
from tests.services.post_training.trainer.trainings import Training, training

LORA = {"algorithm_config": {"lora": {"rank": 4, "dropout": 0.2}}}
CASES: dict[str, dict[str, Any]] = {
    "rows": {
        "data": {"batch_size": 2},
        "request": LORA,
        "optimizer": {"lr_min": 1e-4, "num_warmup_steps": 2},
        "n_epochs": 2,
        "stop": 3,
    },
    "packed rows": {
        "data": {"batch_size": 1, "packed": True, "max_sequence_length": 128},
        "request": LORA,
        "n_epochs": 3,
        "stop": 5,
    },
    "the end of an epoch": {"data": {"batch_size": 2}, "request": LORA, "n_epochs": 2, "stop": 4},
    "all weights": {"data": {"batch_size": 2}, "n_iters": 4, "stop": 2},
    "pairs": {
        "kind": "preference_optimize",
        "data": {"batch_size": 2},
        "request": {"finetuning_config": LORA["algorithm_config"]},
        "n_epochs": 2,
        "stop": 4,
    },
}


def curves(*parts: Training) -> list[tuple[int, dict[str, float]]]:
    """What was measured, the speed left out."""
    return [
        (event.metrics.step, {name: value for name, value in event.metrics.metrics.items() if "per_second" not in name})
        for part in parts
        for event in part.events
        if event.HasField("metrics")
    ]


@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource, pair_rows: RowsSource, name: str
) -> None:
    case = dict(CASES[name])
    stop = case.pop("stop")
    rows = pair_rows if "kind" in case else dialog_rows
    whole = training(tmp_path / "whole", tiny, rows, validation=rows, **case).run()
    first = training(tmp_path / "parts", tiny, rows, validation=rows, **case)
    first.run(stop_at=stop)
    assert first.completed is False
    assert first.checkpoints[-1].iters == stop
    assert first.checkpoints[-1].resumable
    second = training(tmp_path / "parts", tiny, rows, validation=rows, **case).run()
    assert second.completed
    assert curves(first, second) == curves(whole)
    assert second.checkpoints[-1].identifier == "final"
    assert "goes on from checkpoint" in second.lines


def test_what_was_summed_between_two_metrics_is_not_lost(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    case: dict[str, Any] = {
        "request": LORA | {"logger_config": {"log_interval_steps": 2}},
        "gradient_accumulation_steps": 2,
        "n_epochs": 2,
        "checkpoint_interval_steps": 3,
    }
    whole = training(tmp_path, tiny, dialog_rows, **case).run()
    for identifier in ("step-000006", "final"):
        shutil.rmtree(tmp_path / "checkpoints" / identifier)
    again = training(tmp_path, tiny, dialog_rows, **case).run()
    assert [step for step, _ in curves(again)] == [4, 6, 8]
    assert curves(again) == curves(whole)[1:]


def test_a_restart_says_what_is_there_and_leaves_what_was_not_finished(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    case: dict[str, Any] = {"data": {"batch_size": 4}, "request": LORA, "n_epochs": 2}
    training(tmp_path, tiny, dialog_rows, **case).run(stop_at=2)
    half = tmp_path / "checkpoints" / ".unfinished-step-000003"
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    again = training(tmp_path, tiny, dialog_rows, **case).run()
    assert [checkpoint.identifier for checkpoint in again.checkpoints] == ["step-000002", "final"]
    assert not half.exists()
    # What is done is done: it is said once more, and nothing is trained.
    third = training(tmp_path, tiny, dialog_rows, **case).run()
    assert third.completed
    assert [checkpoint.identifier for checkpoint in third.checkpoints] == ["step-000002", "final"]
    assert not third.metrics("loss")


def test_metrics_that_nobody_heard_are_said_again(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    case: dict[str, Any] = {"data": {"batch_size": 2}, "request": LORA, "validation": dialog_rows}
    first = training(tmp_path, tiny, dialog_rows, **case).run(stop_at=3)
    again = training(tmp_path, tiny, dialog_rows, spec={"told_step": 1}, **case).run()
    assert curves(again)[:2] == curves(first)[1:]
    assert [step for step, _ in curves(again)] == [2, 3, 4, 4]


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    spec = {"resume_from": str(tmp_path / "nothing")}
    with pytest.raises(CheckpointError, match="nothing"):
        training(tmp_path, tiny, dialog_rows, request=LORA, spec=spec).run()


def test_checkpoints_are_listed_oldest_first(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).all() == []
    assert Checkpoints(tmp_path).resumable() is None
