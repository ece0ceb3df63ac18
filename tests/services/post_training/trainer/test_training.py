"""Trainings in this process: what each field of a request changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from services.post_training.spec import RowsSource
from services.post_training.trainer.problems import LossError, ModelError, RowError
from tests.services.post_training.trainer.trainings import Training, dialogs, rows_source, training

LORA: dict[str, Any] = {"algorithm_config": {"lora": {"rank": 4, "alpha": 8}}}


def lora(**fields: Any) -> dict[str, Any]:
    return {"algorithm_config": {"lora": {"rank": 4, **fields}}}


def weights(trained: Training, name: str = "adapter_model.safetensors") -> dict[str, Any]:
    return dict(load_file(trained.final / name))


def test_a_lora_training_says_what_it_does_and_leaves_an_adapter(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    request = LORA | {"logger_config": {"log_samples": True}}
    trained = training(
        tmp_path, tiny, dialog_rows, data={"batch_size": 4}, request=request, validation=dialog_rows, n_epochs=2, seed=7
    ).run()
    assert trained.completed
    losses = trained.metrics("loss")
    assert list(losses) == [1, 2, 3, 4]
    assert trained.metrics("learning_rate") == dict.fromkeys(range(1, 5), 0.001)
    assert {"grad_norm", "tokens_per_second", "tokens", "mean_token_accuracy"} <= set(_last_metrics(trained))
    validation = trained.metrics("validation_loss", evaluation=True)
    assert list(validation) == [2, 4]
    assert validation[4] < validation[2]
    assert "perplexity" in _last_metrics(trained, evaluation=True)
    assert "What is 0 and 0?" in trained.lines
    assert "«It is 0.<|eot_id|>»" in trained.lines
    last = [event.progress for event in trained.events if event.HasField("progress")][-1]
    assert (last.step, last.total_steps, last.total_epochs, last.epoch) == (4, 4, 2, 2.0)
    assert [checkpoint.identifier for checkpoint in trained.checkpoints] == ["step-000002", "final"]
    config = json.loads((trained.final / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], sorted(config["target_modules"])) == (4, 8, ["q_proj", "v_proj"])
    assert (trained.final / "chat_template.jinja").read_text() == (tiny / "chat_template.jinja").read_text()


def _last_metrics(trained: Training, *, evaluation: bool = False) -> dict[str, float]:
    events = [event.metrics for event in trained.events if event.HasField("metrics")]
    return dict(next(event.metrics for event in reversed(events) if event.evaluation == evaluation))


def test_a_checkpoint_tells_where_it_comes_from(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    import hashlib

    trained = training(tmp_path, tiny, dialog_rows, request=LORA, n_iters=1, seed=7).run()
    (checkpoint,) = trained.checkpoints
    lineage = checkpoint.lineage
    assert (lineage.base_model, lineage.dataset_id, lineage.dataset_revision) == ("tiny", "dialogs", 1)
    assert (lineage.dataset_sha256, lineage.seed) == (dialog_rows.sha256, 7)
    assert len(lineage.base_model_sha256) == len(lineage.config_sha256) == 64
    assert {"torch", "trl", "peft", "transformers"} <= set(lineage.versions)
    assert checkpoint.resumable
    assert checkpoint.is_final
    assert checkpoint.iters == 1
    for file in checkpoint.files:
        content = (trained.final / file.path).read_bytes()
        assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert checkpoint.size_bytes == sum(file.size_bytes for file in checkpoint.files)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"lora_attn_modules": ["q_proj", "output_proj"]}, {"q_proj", "o_proj"}),
        ({"lora_attn_modules": ["k_proj"], "apply_lora_to_mlp": True}, {"k_proj", "gate_proj", "up_proj", "down_proj"}),
        ({"lora_attn_modules": ["q_proj"], "apply_lora_to_output": True}, {"q_proj", "lm_head"}),
    ],
)
def test_an_adapter_is_where_it_is_asked_for_and_learns_there(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource, fields: dict[str, Any], parts: set[str]
) -> None:
    trained = training(tmp_path, tiny, dialog_rows, request=lora(**fields), n_iters=1).run()
    found = weights(trained)
    assert {name.split(".lora_")[0].split(".")[-1] for name in found} == parts
    # B begins as zeros: what is not zero has learnt.
    assert all(value.abs().sum() > 0 for name, value in found.items() if "lora_B" in name)


def test_dora_has_magnitudes(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    trained = training(tmp_path, tiny, dialog_rows, request=lora(use_dora=True), n_iters=1).run()
    assert any("magnitude" in name for name in weights(trained))


def test_qlora_trains_on_a_base_model_in_4_bits(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    rough = training(tmp_path / "4bit", tiny, dialog_rows, request=lora(quantize_base=True), n_iters=2).run()
    exact = training(tmp_path / "lora", tiny, dialog_rows, request=lora(), n_iters=2).run()
    assert rough.metrics("loss")[1] == pytest.approx(exact.metrics("loss")[1], rel=0.01)
    assert rough.metrics("loss")[1] != exact.metrics("loss")[1]
    assert {str(value.dtype) for value in weights(rough).values()} == {"torch.float32"}


def test_full_fine_tuning_changes_all_weights_and_keeps_the_models_own_tokens(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    trained = training(tmp_path, tiny, dialog_rows, n_iters=1).run()
    before, after = load_file(tiny / "model.safetensors"), weights(trained, "model.safetensors")
    assert set(before) == set(after)
    assert all((before[name] != after[name]).any() for name in before if "norm" not in name)
    config = json.loads((trained.final / "config.json").read_text())
    assert config["eos_token_id"] == json.loads((tiny / "config.json").read_text())["eos_token_id"]


def test_learning_rates_warm_up_and_fall_to_their_least(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    optimizer = {"lr": 0.01, "lr_min": 0.001, "num_warmup_steps": 2}
    rates = training(tmp_path, tiny, dialog_rows, optimizer=optimizer, request=LORA).run().metrics("learning_rate")
    assert [round(rate, 5) for rate in rates.values()] == [0.0, 0.005, 0.01, 0.0094, 0.00775, 0.0055, 0.00325, 0.0016]


def test_optimizers_decay_and_clipping_change_what_is_learnt(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    def learnt(name: str, **optimizer: Any) -> tuple[float, ...]:
        trained = training(tmp_path / name, tiny, dialog_rows, request=LORA, n_iters=2, optimizer=optimizer).run()
        return tuple(float(value.double().sum()) for _, value in sorted(weights(trained).items()))

    kinds = {
        "adamw": learnt("adamw", weight_decay=0),
        "adam": learnt("adam", optimizer_type="OPTIMIZER_TYPE_ADAM", weight_decay=0.5),
        "sgd": learnt("sgd", optimizer_type="OPTIMIZER_TYPE_SGD"),
        "decay": learnt("decay", weight_decay=0.5),
        "clipped": learnt("clipped", optimizer_type="OPTIMIZER_TYPE_SGD", max_grad_norm=1e-3),
    }
    assert len(set(kinds.values())) == len(kinds)
    # Adam without decay is AdamW without decay.
    assert learnt("plain", optimizer_type="OPTIMIZER_TYPE_ADAM") == kinds["adamw"]


def test_gradients_of_several_batches_make_the_step_of_one_large_batch(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    one = training(tmp_path / "one", tiny, dialog_rows, data={"batch_size": 4}, request=LORA).run()
    four = training(tmp_path / "four", tiny, dialog_rows, request=LORA, gradient_accumulation_steps=4).run()
    assert four.metrics("loss") == pytest.approx(one.metrics("loss"), rel=1e-5)
    assert four.metrics("tokens") == one.metrics("tokens")


def test_steps_are_limited_in_all_and_in_each_epoch(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    whole = training(tmp_path / "all", tiny, dialog_rows, request=LORA, n_iters=3, n_epochs=5).run()
    assert len(whole.metrics("loss")) == 3
    part = training(tmp_path / "part", tiny, dialog_rows, request=LORA, max_steps_per_epoch=2, n_epochs=2).run()
    assert len(part.metrics("loss")) == 4
    assert [checkpoint.identifier for checkpoint in part.checkpoints] == ["step-000002", "final"]


def test_the_seed_and_shuffling_decide_the_order_of_rows(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    def losses(name: str, seed: int, **data: Any) -> list[float]:
        made = training(tmp_path / name, tiny, dialog_rows, data=data, request=LORA, n_iters=2, seed=seed)
        return list(made.run().metrics("loss").values())

    assert losses("a", 1) == losses("b", 1)
    assert losses("c", 2) != losses("d", 1)
    assert losses("e", 1, shuffle=False)[0] == losses("f", 2, shuffle=False)[0]


def test_evaluations_and_checkpoints_come_when_they_are_asked_for(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    trained = training(
        tmp_path,
        tiny,
        dialog_rows,
        validation=dialog_rows,
        request=LORA | {"logger_config": {"log_interval_steps": 4}},
        validation_interval_steps=3,
        max_validation_steps=1,
        checkpoint_interval_steps=5,
    ).run()
    assert list(trained.metrics("validation_loss", evaluation=True)) == [3, 6, 8]
    assert list(trained.metrics("loss")) == [4, 8]
    assert [checkpoint.identifier for checkpoint in trained.checkpoints] == ["step-000005", "final"]
    short = training(tmp_path / "whole", tiny, dialog_rows, validation=dialog_rows, request=LORA, n_iters=3).run()
    # One batch of the eight tells another loss than all of them.
    limited = trained.metrics("validation_loss", evaluation=True)[3]
    assert limited != short.metrics("validation_loss", evaluation=True)[3]


def test_recomputed_activations_change_nothing_but_memory(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    plain = training(tmp_path / "plain", tiny, dialog_rows, n_iters=2).run()
    spared = training(
        tmp_path / "spared", tiny, dialog_rows, n_iters=2, efficiency={"enable_activation_checkpointing": True}
    ).run()
    assert spared.metrics("loss") == pytest.approx(plain.metrics("loss"), rel=1e-6)


def test_dropout_and_bf16_change_the_numbers(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    def second(name: str, request: dict[str, Any], **config: Any) -> float:
        return (
            training(tmp_path / name, tiny, dialog_rows, request=request, n_iters=2, **config).run().metrics("loss")[2]
        )

    plain = second("plain", lora())
    assert second("dropped", lora(dropout=0.5)) != plain
    assert second("bf16", lora(), dtype="TRAINING_DTYPE_BF16") == pytest.approx(plain, rel=0.01)
    assert second("bf16 again", lora(), dtype="TRAINING_DTYPE_BF16") != plain


def test_a_training_goes_on_from_an_adapter_with_its_optimizer(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    first = training(tmp_path / "first", tiny, dialog_rows, request=LORA, n_iters=4, data={"shuffle": False}).run()

    def continued(name: str, *, state: bool) -> Training:
        reference = {"checkpoint": {"job_uuid": "first"}, "with_optimizer_state": state}
        request = LORA | {"continue_from": reference}
        made = training(
            tmp_path / name,
            tiny,
            dialog_rows,
            request=request,
            n_iters=2,
            data={"shuffle": False},
            spec={"continue_from": str(first.final)},
        )
        return made.run()

    fresh, warm = continued("fresh", state=False), continued("warm", state=True)
    assert fresh.metrics("loss")[1] < first.metrics("loss")[1]
    assert warm.metrics("loss")[1] == fresh.metrics("loss")[1]
    assert warm.metrics("loss")[2] != fresh.metrics("loss")[2]
    assert warm.checkpoints[-1].lineage.continued_from.checkpoint.job_uuid == "first"


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_rows(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource
) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = load_file(tiny / "model.safetensors")
    weights["model.embed_tokens.weight"] *= float("inf")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    made = training(tmp_path / "job", broken, dialog_rows, request=LORA, data={"shuffle": False})
    with pytest.raises(LossError, match="step 1, rows 0") as raised:
        made.run()
    assert raised.value.metadata == {"step": "1", "rows": "0"}
    assert not made.checkpoints


def test_rows_that_leave_nothing_to_learn_are_refused(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    made = training(tmp_path, tiny, dialog_rows, data={"max_sequence_length": 8}, request=LORA)
    with pytest.raises(RowError, match="none of 8 rows"):
        made.run()


def test_a_damaged_model_is_told_as_such(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    for path in tiny.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: -1000 if path.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="cut off"):
        training(tmp_path / "job", tmp_path, dialog_rows, request=LORA).run()


def test_dora_trains_a_model_with_pruned_heads(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    """Rows that are zero have no direction: what is a 0 / 0 must not become the loss."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    pruned = shutil.copytree(tiny, tmp_path / "pruned")
    tensors = load_file(pruned / "model.safetensors")
    tensors["model.layers.0.self_attn.v_proj.weight"][:32] = 0.0
    tensors["model.layers.0.self_attn.o_proj.weight"][:, :32] = 0.0
    save_file(tensors, pruned / "model.safetensors", {"format": "pt"})
    request = lora(use_dora=True)
    trained = training(tmp_path / "job", pruned, dialog_rows, request=request, optimizer={"lr": 0.01}, n_epochs=2).run()
    losses = trained.metrics("loss")
    assert losses[16] < losses[1]
    plain = training(tmp_path / "plain", pruned, dialog_rows, request=lora(), n_iters=1).run()
    assert losses[1] == pytest.approx(plain.metrics("loss")[1], rel=1e-5)
    # Whoever reads the adapter computes numbers too.
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        logits = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(pruned), trained.final)(ids).logits
    assert logits.isfinite().all()


def test_packed_rows_do_not_see_each_other(tmp_path: Path, tiny: Path) -> None:
    """The first row's loss is the same alone, and packed behind any other row."""
    import torch
    from transformers import AutoModelForCausalLM

    from services.post_training.trainer.batches import PackedCollator

    model = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="sdpa").eval()
    first, second, third = torch.randint(10, 4000, (3, 20), generator=torch.Generator().manual_seed(0)).tolist()
    collate = PackedCollator(pad_token_id=4068)

    def logits(*rows: list[list[int]]) -> Any:
        batch = collate(
            [
                {"input_ids": sum(row, []), "labels": sum(row, []), "lengths": [len(part) for part in row]}  # noqa: RUF017
                for row in rows
            ]
        )
        with torch.no_grad():
            return model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits

    alone = logits([first])[0]
    packed = logits([second, first, third], [third, first[:5]])
    torch.testing.assert_close(packed[0, 20:40], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed[1, 20:25], alone[:5], rtol=1e-4, atol=1e-5)
    # Without the positions of each row they would be seen: the test can tell.
    with torch.no_grad():
        leaky = model(input_ids=torch.tensor([second + first])).logits[0, 20:]
    assert (leaky - alone).abs().max() > 1e-2


def test_packing_needs_fewer_steps_for_the_same_tokens(tmp_path: Path, tiny: Path) -> None:
    rows = rows_source(tmp_path / "rows.jsonl", dialogs(16), "DATASET_FORMAT_DIALOG")
    data = {"packed": True, "max_sequence_length": 256}
    packed = training(tmp_path / "packed", tiny, rows, data=data, request=LORA, validation=rows).run()
    plain = training(tmp_path / "plain", tiny, rows, request=LORA).run()
    assert len(packed.metrics("loss")) == 3
    assert "16 rows, 652 tokens; packed into 3 sequences" in packed.lines
    assert packed.metrics("tokens")[3] == plain.metrics("tokens")[16]
    assert packed.metrics("loss")[1] == pytest.approx(plain.metrics("loss")[1], rel=0.01)
