"""What is refused before there is a job, by field, and what a training is estimated to take."""

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from services.core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.post_training.planning.base_models import BaseModels
from services.post_training.planning.planner import Planner
from services.post_training.planning.settings import PlanningSettings
from services.post_training.planning.worker import answer_to
from services.post_training.spec import Kind, RowsSource
from tests.services.post_training.trainer.trainings import DEMO, dialogs, pairs, rows_source, training

FINE: Kind = "supervised_fine_tune"
LORA = {"algorithm_config": {"lora": {"rank": 4}}}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> RowsSource:
    return rows_source(tmp_path_factory.mktemp("rows") / "d.jsonl", dialogs(40), "DATASET_FORMAT_DIALOG")


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> RowsSource:
    return rows_source(tmp_path_factory.mktemp("rows") / "p.jsonl", pairs(12), "DATASET_FORMAT_PREFERENCE")


def answer(rows: RowsSource, *, model: Path = DEMO, sampled: int = 2000, **asked: Any) -> dict[str, Any]:
    return answer_to(training(Path("unused"), model, rows, **asked).spec, sampled)


def fields(rows: RowsSource, **asked: Any) -> dict[str, str]:
    return dict(answer(rows, **asked)["violations"])


CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    (
        "algorithm_config.lora.lora_attn_modules[1]",
        {"request": {"algorithm_config": {"lora": {"lora_attn_modules": ["q_proj", "w_proj"]}}}},
    ),
    ("algorithm", {"request": LORA | {"algorithm": "FINETUNING_ALGORITHM_QLORA"}}),
    ("training_config.optimizer_config.lr_min", {"optimizer": {"lr_min": 0.5}}),
    ("training_config.data_config.max_sequence_length", {"data": {"max_sequence_length": 5000}}),
    ("training_config.data_config.data_format", {"data": {"data_format": "DATASET_FORMAT_PROMPT"}}),
    ("training_config.max_validation_steps", {"max_validation_steps": 3}),
    ("training_config.validation_interval_steps", {"validation_interval_steps": 3}),
    (
        "training_config.efficiency_config.memory_efficient_fsdp_wrap",
        {"efficiency": {"memory_efficient_fsdp_wrap": True}},
    ),
    ("training_config.efficiency_config.fsdp_cpu_offload", {"efficiency": {"fsdp_cpu_offload": True}}),
    (
        "algorithm_config.lora.quantize_base",
        {
            "request": {"algorithm_config": {"lora": {"quantize_base": True}}},
            "efficiency": {"fsdp_cpu_offload": True},
            "spec": {"num_processes": 2},
        },
    ),
    ("training_config.data_config.dataset_id", {"data": {"max_sequence_length": 8}}),
]
OF_PAIRS: list[tuple[str, Kind, dict[str, Any]]] = [
    ("training_config.data_config.packed", "preference_optimize", {"data": {"packed": True}}),
    ("training_config.data_config.train_on_input", "train_reward_model", {"data": {"train_on_input": True}}),
    (
        "algorithm_config.lora.apply_lora_to_output",
        "train_reward_model",
        {"request": {"algorithm_config": {"lora": {"apply_lora_to_output": True}}}},
    ),
    (
        "finetuning_config.lora.lora_attn_modules[0]",
        "preference_optimize",
        {"request": {"finetuning_config": {"lora": {"lora_attn_modules": ["x"]}}}},
    ),
]


@pytest.mark.parametrize(("field", "asked"), CONFIGURATIONS, ids=[field for field, _ in CONFIGURATIONS])
def test_a_configuration_that_cannot_be_names_its_field(rows: RowsSource, field: str, asked: dict[str, Any]) -> None:
    assert field in fields(rows, **asked)


@pytest.mark.parametrize(("field", "kind", "asked"), OF_PAIRS, ids=[field for field, _, _ in OF_PAIRS])
def test_what_is_not_for_pairs_is_refused(ends: RowsSource, field: str, kind: Kind, asked: dict[str, Any]) -> None:
    assert list(fields(ends, kind=kind, **asked)) == [field]


def test_everything_that_is_wrong_is_told_at_once(rows: RowsSource) -> None:
    found = fields(rows, max_validation_steps=1, optimizer={"lr_min": 1.0}, data={"max_sequence_length": 9000})
    assert len(found) == 3


def test_rows_of_another_format_are_refused(rows: RowsSource, ends: RowsSource) -> None:
    assert "DATASET_FORMAT_DIALOG" in fields(ends)["training_config.data_config.dataset_id"]
    assert "chosen" in fields(rows, kind="preference_optimize")["training_config.data_config.dataset_id"]


def test_every_row_is_checked_even_where_few_are_counted(tmp_path: Path) -> None:
    wrong = rows_source(tmp_path / "rows.jsonl", [*dialogs(100), {"dialog": []}], "DATASET_FORMAT_DIALOG")
    assert (
        "row 100: dialog must have at least two" in fields(wrong, sampled=5)["training_config.data_config.dataset_id"]
    )
    validation = fields(
        rows_source(tmp_path / "good.jsonl", dialogs(4), wrong.format),
        validation=wrong,
        data={"validation_dataset_id": "v"},
    )
    assert "row 100" in validation["training_config.data_config.validation_dataset_id"]


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    empty = rows_source(tmp_path / "rows.jsonl", [], "DATASET_FORMAT_DIALOG")
    assert "none of 0 rows" in fields(empty)["training_config.data_config.dataset_id"]


def test_a_model_that_is_none_is_refused(rows: RowsSource, ends: RowsSource, tmp_path: Path) -> None:
    assert "config.json" in fields(rows, model=tmp_path)["model"]
    plain = shutil.copytree(DEMO, tmp_path / "plain", ignore=shutil.ignore_patterns("chat_template*"))
    assert "chat template" in fields(rows, model=plain)["model"]
    assert "chat template" in fields(ends, model=plain, kind="preference_optimize")["finetuned_model"]
    (plain / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    assert "BertModel" in fields(rows, model=plain)["model"]


def test_an_adapter_that_is_gone_on_from_is_the_one_that_is_asked_for(rows: RowsSource, tmp_path: Path) -> None:
    config = {"r": 8, "lora_alpha": 16, "target_modules": ["k_proj"], "use_dora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    reference = {"continue_from": {"checkpoint": {"job_uuid": "x"}, "with_optimizer_state": True}}
    found = fields(rows, request=LORA | reference, spec={"continue_from": str(tmp_path)})
    assert set(found) == {
        "algorithm_config.lora.rank",
        "algorithm_config.lora.lora_attn_modules",
        "continue_from.with_optimizer_state",
    }


def test_what_this_machine_cannot_do_is_no_fault_of_the_request(
    rows: RowsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.post_training.planning.checks.importlib.util.find_spec", lambda _: None)
    request = {"algorithm_config": {"lora": {"quantize_base": True}}}
    assert "4-bit kernels" in answer(rows, request=request)["precondition"]


def test_an_estimate_counts_what_a_training_then_takes(rows: RowsSource, tmp_path: Path, tiny: Path) -> None:
    asked: dict[str, Any] = {"data": {"batch_size": 4}, "request": LORA, "n_epochs": 2, "max_steps_per_epoch": 3}
    estimate = answer(rows, model=tiny, **asked)["estimate"]
    done = training(tmp_path, tiny, rows, **asked).run()
    assert int(estimate["rows"]) == 40
    assert int(estimate["steps"]) == len(done.metrics("loss")) == 6
    assert f"40 rows, {estimate['tokens']} tokens" in done.lines
    trained = sum(value.numel() for value in _weights(done.final).values())
    assert int(estimate["trainable_parameters"]) == trained
    assert int(estimate["memory_bytes"]) > 5e8


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def test_an_estimate_knows_of_cut_rows_and_packing(rows: RowsSource) -> None:
    data = {"packed": True, "max_sequence_length": 128}
    estimate = answer(rows, data=data)["estimate"]
    assert int(estimate["sequences"]) < int(estimate["rows"]) == 40
    short = answer(rows, data={"max_sequence_length": 38})["estimate"]
    assert 0 < int(short["truncated_rows"]) <= 40
    assert any("longer than 38 tokens" in note for note in short["notes"])


def test_large_sets_are_estimated_from_a_sample_and_say_so(rows: RowsSource) -> None:
    whole, sample = answer(rows)["estimate"], answer(rows, sampled=20)["estimate"]
    assert int(sample["tokens"]) == pytest.approx(int(whole["tokens"]), rel=0.05)
    assert any("20 of 40 rows" in note for note in sample["notes"])


def test_more_is_trained_of_more_parts_and_takes_more_memory(rows: RowsSource) -> None:
    def size(request: dict[str, Any], **more: Any) -> tuple[int, int]:
        estimate = answer(rows, request=request, **more)["estimate"]
        return int(estimate["trainable_parameters"]), int(estimate["memory_bytes"])

    small, large = size(LORA), size({"algorithm_config": {"lora": {"rank": 64, "apply_lora_to_mlp": True}}})
    full = size({})
    assert small[0] < large[0] < full[0]
    assert small[1] < large[1] < full[1]
    assert size({}, optimizer={"optimizer_type": "OPTIMIZER_TYPE_SGD"})[1] < full[1]


def test_planning_imports_no_torch() -> None:
    code = "import sys, services.post_training.planning.worker, services.post_training.planning.planner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
async def planner() -> AsyncIterator[Planner]:
    made = Planner(PlanningSettings())
    yield made
    await made.close()


def _asked(rows: RowsSource, **asked: Any) -> tuple[Any, ...]:
    spec = training(Path("unused"), DEMO, rows, **asked).spec
    return FINE, spec.parsed_request(), DEMO, rows, None, 1


async def test_the_planner_answers_and_refuses_from_a_process_of_its_own(planner: Planner, rows: RowsSource) -> None:
    plan = await planner.plan(*_asked(rows))
    assert plan.estimate.rows == 40
    assert json_format.MessageToDict(plan.estimate)["duration"].endswith("s")
    with pytest.raises(InvalidArgumentError) as raised:
        await planner.plan(*_asked(rows, optimizer={"lr_min": 0.5}))
    assert [violation.field for violation in raised.value.violations] == ["training_config.optimizer_config.lr_min"]


async def test_a_planner_whose_process_dies_says_so_and_begins_another(planner: Planner, rows: RowsSource) -> None:
    await planner.plan(*_asked(rows))
    (worker,) = planner._idle
    worker.kill()
    await worker.wait()
    assert (await planner.plan(*_asked(rows))).estimate.rows == 40


async def test_a_check_that_takes_too_long_is_ended(rows: RowsSource) -> None:
    made = Planner(PlanningSettings(seconds=0.001))
    with pytest.raises((DeadlineExceededError, UnavailableError)):
        await made.plan(*_asked(rows))
    await made.close()
    assert made._idle == []


class Known:
    """What is registered under a name."""

    def __init__(self, source: str, adapter: str = "") -> None:
        self.source, self.adapter = source, adapter


async def _registered(name: str) -> Known:
    return Known(str(DEMO)) if name == "chat" else Known(name)


async def test_models_are_found_by_name_and_in_open_folders(tmp_path: Path) -> None:
    models = BaseModels(PlanningSettings(model_folders=(DEMO.parent,), hub=False), _registered)
    assert (await models.resolve("chat", "model")).folder == DEMO
    assert (await models.resolve(str(DEMO), "model")).folder == DEMO
    shutil.copytree(DEMO, tmp_path / "copy")
    with pytest.raises(InvalidArgumentError, match="may not read"):
        await models.resolve(str(tmp_path / "copy"), "model")
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    with pytest.raises(InvalidArgumentError, match="may not read"):
        await models.resolve(f"{DEMO.parent}/../../..{tmp_path}/link", "model")
    with pytest.raises(NotFoundError):
        await models.resolve(str(DEMO.parent), "model")
    with pytest.raises(InvalidArgumentError, match="finetuned_model"):
        await models.resolve("no such name", "finetuned_model")


@pytest.mark.slow
async def test_a_model_that_is_nowhere_is_not_found() -> None:
    models = BaseModels(PlanningSettings(hub=False), _registered)
    with pytest.raises((NotFoundError, FailedPreconditionError)):
        await models.resolve("nobody/nothing", "model")
