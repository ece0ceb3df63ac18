"""Preference optimisation and reward models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.post_training.spec import RowsSource
from services.post_training.trainer.preference import preference_loss
from services.post_training.trainer.recipe import Preference
from tests.services.post_training.trainer.trainings import Training, training

CHOSEN, REJECTED = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 1.0, -3.0])
LENGTHS = (torch.tensor([4, 5, 6]), torch.tensor([2, 5, 9]))


def optimised(
    folder: Path, model: Path, rows: RowsSource, finetuning: dict[str, Any] | None = None, **algorithm: Any
) -> Training:
    request = {"finetuning_config": finetuning or {"lora": {"rank": 4}}, "algorithm_config": algorithm}
    return training(
        folder, model, rows, kind="preference_optimize", data={"batch_size": 4}, request=request, n_epochs=2
    ).run()


def loss(name: Any, **numbers: Any) -> torch.Tensor:
    return preference_loss(Preference(loss=name, beta=0.5, **numbers), CHOSEN, REJECTED, LENGTHS)


def test_the_losses_are_those_of_their_papers() -> None:
    margin = 0.5 * (CHOSEN - REJECTED)
    torch.testing.assert_close(loss("sigmoid"), -torch.log(torch.sigmoid(margin)))
    torch.testing.assert_close(loss("hinge"), torch.relu(1 - margin))
    torch.testing.assert_close(loss("ipo"), (CHOSEN / LENGTHS[0] - REJECTED / LENGTHS[1] - 1) ** 2)
    drift = (0.5 * CHOSEN.mean().clamp(min=0), 0.5 * REJECTED.mean().clamp(min=0))
    expected = torch.cat((1 - torch.sigmoid(0.5 * CHOSEN - drift[1]), 1 - torch.sigmoid(drift[0] - 0.5 * REJECTED)))
    torch.testing.assert_close(loss("kto_pair"), expected)


def test_the_first_forms_numbers_smooth_and_clip() -> None:
    margin = 0.5 * (CHOSEN - REJECTED)
    smooth = -0.8 * torch.log(torch.sigmoid(margin)) - 0.2 * torch.log(torch.sigmoid(-margin))
    torch.testing.assert_close(loss("sigmoid", label_smoothing=0.2), smooth)
    clipped = (0.5 * CHOSEN).clamp(-0.4, 0.4) - (0.5 * REJECTED).clamp(-0.4, 0.4)
    torch.testing.assert_close(loss("sigmoid", reward_clip=0.4), -torch.log(torch.sigmoid(clipped)))


@pytest.mark.parametrize("name", ["SIGMOID", "HINGE", "IPO", "KTO_PAIR"])
def test_every_loss_makes_the_better_ends_likelier(
    tmp_path: Path, tiny: Path, pair_rows: RowsSource, name: str
) -> None:
    trained = optimised(tmp_path, tiny, pair_rows, loss_type=f"DPO_LOSS_TYPE_{name}", beta=0.3)
    margins = trained.metrics("rewards/margins")
    # At the beginning the model is its own reference.
    assert margins[1] == 0.0
    assert margins[4] > margins[1]
    assert trained.metrics("loss")[4] < trained.metrics("loss")[1]
    assert {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen"} <= set(
        next(event.metrics.metrics for event in trained.events if event.HasField("metrics"))
    )


def test_the_losses_that_trl_has_are_the_same_there(tmp_path: Path, tiny: Path, pair_rows: RowsSource) -> None:
    from trl import DPOTrainer

    from services.post_training.trainer.preference import PreferenceTrainer

    ours = optimised(tmp_path / "ours", tiny, pair_rows, loss_type="DPO_LOSS_TYPE_HINGE").metrics("loss")
    with pytest.MonkeyPatch.context() as patch:

        def theirs(self: Any, model: Any, inputs: Any, outputs: bool) -> Any:
            self.loss_types = ["hinge"]
            return DPOTrainer._compute_loss(self, model, inputs, outputs)

        patch.setattr(PreferenceTrainer, "_compute_loss", theirs)
        bare = optimised(tmp_path / "theirs", tiny, pair_rows, loss_type="DPO_LOSS_TYPE_HINGE").metrics("loss")
    assert ours == pytest.approx(bare, rel=1e-6)


def test_the_first_form_is_mapped(tmp_path: Path, tiny: Path, pair_rows: RowsSource) -> None:
    old = optimised(tmp_path / "old", tiny, pair_rows, reward_scale=0.3)
    new = optimised(tmp_path / "new", tiny, pair_rows, beta=0.3)
    assert old.metrics("loss") == new.metrics("loss")
    shared = optimised(tmp_path / "shared", tiny, pair_rows, reward_scale=0.3, gamma=0.5)
    # The likelihood of the better ends, 8.3 a token at the beginning, has half a share.
    assert shared.metrics("loss")[1] == pytest.approx(old.metrics("loss")[1] + 0.5 * 8.3, rel=0.02)


def test_all_weights_are_compared_with_the_model_as_it_was(tmp_path: Path, tiny: Path, pair_rows: RowsSource) -> None:
    trained = optimised(tmp_path, tiny, pair_rows, finetuning={"full": {}})
    assert trained.metrics("rewards/margins")[1] == 0.0
    assert trained.metrics("rewards/margins")[4] > 0.1


def test_dropout_is_not_switched_off(tmp_path: Path, tiny: Path, pair_rows: RowsSource) -> None:
    plain = optimised(tmp_path / "plain", tiny, pair_rows)
    dropped = optimised(tmp_path / "dropped", tiny, pair_rows, finetuning={"lora": {"rank": 4, "dropout": 0.5}})
    assert plain.metrics("loss")[4] != dropped.metrics("loss")[4]


@pytest.mark.parametrize("request_", [{}, {"algorithm_config": {"lora": {"rank": 4}}}], ids=["full", "lora"])
def test_a_reward_model_learns_which_end_is_better(
    tmp_path: Path, tiny: Path, pair_rows: RowsSource, request_: dict[str, Any]
) -> None:
    trained = training(
        tmp_path,
        tiny,
        pair_rows,
        kind="train_reward_model",
        data={"batch_size": 4},
        request=request_,
        n_epochs=3,
        validation=pair_rows,
        optimizer={"lr": 0.01},
    ).run()
    assert trained.metrics("loss")[6] < 0.5 < trained.metrics("loss")[1]
    assert trained.metrics("validation_accuracy", evaluation=True)[6] == 1.0
    names = load_file(next(trained.final.glob("*.safetensors")))
    assert any("score" in name for name in names)
