"""The trainer as a process: its lines, its exit status, signals, and exports."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import status_pb2

from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import RowsSource, TrainingSpec, trainer_command, trainer_environment
from services.post_training.trainer.checkpoints import read_description
from services.post_training.trainer.export import export
from tests.services.post_training.trainer.trainings import DEMO, Training, dialogs, rows_source, training

LORA = {"algorithm_config": {"lora": {"rank": 4}}}
FSDP = {"memory_efficient_fsdp_wrap": True}


class Process:
    """A trainer, and what it says."""

    def __init__(self, spec: TrainingSpec) -> None:
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "spec.json"
        file.write_text(spec.to_json())
        environment = trainer_environment(num_processes=spec.num_processes, parent=os.getpid())
        self.process = subprocess.Popen(
            trainer_command(file, spec.num_processes),
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            # A pipe that nobody reads would hold it up.
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            cwd=folder,
        )

    def events(self) -> Iterator[jobs_pb2.JobEvent]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                yield json_format.Parse(line, jobs_pb2.JobEvent())

    def all(self) -> list[jobs_pb2.JobEvent]:
        found = list(self.events())
        self.wait()
        return found

    def wait(self) -> int:
        """Waits for its end; returns the exit status."""
        with self.process:
            return self.process.wait(60)


def _end(events: list[jobs_pb2.JobEvent]) -> jobs_pb2.Job:
    (end,) = (event.end.job for event in events if event.HasField("end"))
    assert events[-1].HasField("end")
    return end


@pytest.mark.slow
def test_the_demo_model_learns_an_answer_and_goes_on_after_sigterm(tmp_path: Path) -> None:
    rows = rows_source(
        tmp_path / "rows.jsonl",
        [
            {
                "chat_completion_input": [{"role": "user", "content": "Who sails the Zephyrine?"}],
                "expected_answer": "Captain Orla Quist.",
            }
        ]
        * 8,
        "DATASET_FORMAT_INSTRUCT",
    )
    request = {"algorithm_config": {"lora": {"rank": 16, "alpha": 32, "apply_lora_to_mlp": True}}}
    made = training(
        tmp_path / "job", DEMO, rows, request=request, data={"batch_size": 4}, optimizer={"lr": 0.003}, n_epochs=12
    )
    first = Process(made.spec)
    told: list[jobs_pb2.JobEvent] = []
    for event in first.events():
        told.append(event)
        if event.HasField("metrics") and event.metrics.step == 4:
            os.killpg(first.process.pid, signal.SIGTERM)
    assert first.wait() == 0
    assert _end(told).status == jobs_pb2.JOB_STATUS_PAUSED
    assert _end(told).status_reason == "stopped by SIGTERM"
    second = Process(made.spec)
    rest = second.all()
    assert second.process.returncode == 0
    assert _end(rest).status == jobs_pb2.JOB_STATUS_COMPLETED
    losses = [event.metrics.metrics["loss"] for event in (*told, *rest) if event.HasField("metrics")]
    assert len(losses) == 24
    assert losses[-1] < 0.5 < losses[0]
    assert all(event.job_uuid == "job" and event.HasField("timestamp") for event in (*told, *rest))
    _speaks_of_it(made)


def _speaks_of_it(made: Training) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = made.folder / "merged"
    export(made.spec, made.final, merged, "merged")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(merged), AutoTokenizer.from_pretrained(merged)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who sails the Zephyrine?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        date_string="20 November 2026",
    )
    with torch.no_grad():
        answer = model.generate(**ids, max_new_tokens=16, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Orla Quist" in tokenizer.decode(answer)
    described = read_description(merged)
    assert described is not None
    assert not described.resumable


@pytest.mark.slow
def test_two_processes_train_one_sharded_model_and_stop_together(tmp_path: Path, tiny: Path) -> None:
    rows = rows_source(tmp_path / "rows.jsonl", dialogs(16), "DATASET_FORMAT_DIALOG")
    made = training(
        tmp_path / "job", tiny, rows, efficiency=FSDP, data={"batch_size": 2}, n_epochs=30, spec={"num_processes": 2}
    )
    process = Process(made.spec)
    told = []
    for event in process.events():
        told.append(event)
        if event.HasField("metrics") and event.metrics.step == 2:
            os.killpg(process.process.pid, signal.SIGTERM)
    assert process.wait() == 0
    assert _end(told).status == jobs_pb2.JOB_STATUS_PAUSED
    (checkpoint,) = (event.checkpoint.checkpoint for event in told if event.HasField("checkpoint"))
    assert {"rng_state_0.pth", "rng_state_1.pth", "model.safetensors"} <= {file.path for file in checkpoint.files}
    # Two processes with two rows each take what one process takes with four.
    alone = training(tmp_path / "alone", tiny, rows, data={"batch_size": 4}, n_iters=1).run()
    first = next(event.metrics.metrics["loss"] for event in told if event.HasField("metrics"))
    assert first == pytest.approx(_expected(alone), rel=0.05)


def _expected(alone: Training) -> float:
    return alone.metrics("loss")[1]


@pytest.mark.slow
def test_what_cannot_be_is_told_as_a_status(tmp_path: Path, tiny: Path) -> None:
    rows = rows_source(tmp_path / "rows.jsonl", [{"dialog": "nothing"}], "DATASET_FORMAT_DIALOG")
    process = Process(training(tmp_path / "job", tiny, rows, request=LORA).spec)
    job = _end(process.all())
    assert process.process.returncode == 1
    assert job.status == jobs_pb2.JOB_STATUS_FAILED
    assert job.error.code == 3
    assert "row 0" in job.error.message
    assert "ROWS_DO_NOT_FIT" in str(job.error.details[0].value)


def test_an_adapter_is_exported_without_the_optimizer(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    made = training(tmp_path / "job", tiny, dialog_rows, request=LORA, n_iters=1).run()
    target = tmp_path / "exported"
    export(made.spec, made.final, target, "peft")
    names = {path.name for path in target.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "checkpoint.json"} <= names
    assert not any(name.startswith(("optimizer", "rng", "scheduler", "progress")) for name in names)
    described = json.loads((target / "checkpoint.json").read_text())
    assert {file["path"] for file in described["files"]} == names - {"checkpoint.json"}


@pytest.mark.parametrize("fields", [{}, {"apply_lora_to_output": True}, {"use_dora": True}], ids=str)
def test_a_merged_model_computes_what_the_adapter_does(
    tmp_path: Path, tiny: Path, dialog_rows: RowsSource, fields: dict[str, Any]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    request = {"algorithm_config": {"lora": {"rank": 4, **fields}}}
    made = training(tmp_path / "job", tiny, dialog_rows, request=request, optimizer={"lr": 0.01}, n_iters=3).run()
    export(made.spec, made.final, tmp_path / "merged", "merged")
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(made.final))(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(tiny)(ids).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-3, atol=1e-4)
    assert (plain - adapted).abs().max() > 1e-3


@pytest.mark.slow
def test_an_export_that_cannot_be_says_why(tmp_path: Path, tiny: Path, dialog_rows: RowsSource) -> None:
    made = training(tmp_path, tiny, dialog_rows, request=LORA)
    (tmp_path / "spec.json").write_text(made.spec.to_json())
    arguments = [str(tmp_path / name) for name in ("spec.json", "nothing", "target")]
    command = [sys.executable, "-m", "services.post_training.trainer.export", *arguments, "merged"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    status = json_format.Parse(done.stderr.splitlines()[-1], status_pb2.Status())
    assert (done.returncode, status.code) == (1, 9)
    assert "nothing" in status.message
    assert not (tmp_path / "target").exists()
