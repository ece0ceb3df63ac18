"""Small trainings for tests: a Llama of two layers with the demo model's tokenizer, and a few rows."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import Kind, RowsSource, TrainingSpec
from services.post_training.trainer.events import Events
from services.post_training.trainer.recipe import recipe_of
from services.post_training.trainer.run import train
from services.post_training.trainer.stopping import Stop

ROOT = Path(__file__).parents[4]
DEMO = ROOT / "models" / "caravan-chat"
KEYS = {"supervised_fine_tune": "model", "preference_optimize": "finetuned_model", "train_reward_model": "model"}


def tiny_llama(folder: Path) -> Path:
    """Writes a model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=4064,
        eos_token_id=4073,
        pad_token_id=4068,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for path in DEMO.iterdir():
        if path.name.startswith(("tokenizer", "chat_template", "generation_config")):
            shutil.copyfile(path, folder / path.name)
    return folder


def dialogs(count: int) -> list[dict[str, Any]]:
    """Rows of the dialog format, of various lengths."""
    return [
        {
            "dialog": [
                {"role": "user", "content": f"What is {number} and {number}?" + " Please" * (number % 5)},
                {"role": "assistant", "content": f"It is {2 * number}." + " Surely." * (number % 3)},
            ]
        }
        for number in range(count)
    ]


def pairs(count: int) -> list[dict[str, Any]]:
    """Rows of the preference format."""
    return [
        {
            "prompt": f"What is {number} and one?",
            "chosen": f"It is {number + 1}.",
            "rejected": "I do not know" + " at all" * (number % 4),
        }
        for number in range(count)
    ]


def rows_source(file: Path, rows: Iterable[dict[str, Any]], rows_format: str) -> RowsSource:
    """Writes rows as a data set's segment."""
    lines = [json.dumps(row) for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return RowsSource(
        dataset_id=file.stem,
        revision=1,
        sha256="ab" * 32,
        format=rows_format,
        row_count=len(lines),
        paths=(str(file),),
    )


@dataclass
class Training:
    """A training in this process, and what it said."""

    spec: TrainingSpec
    completed: bool | None = None
    events: list[jobs_pb2.JobEvent] = field(default_factory=list)

    def run(self, stop_at: int | None = None) -> "Training":
        """Trains; with `stop_at` as if SIGTERM came in that step."""
        recipe = recipe_of(self.spec.kind, self.spec.parsed_request())
        stop = Stop()
        read, write = os.pipe()
        os.set_inheritable(read, False)
        events = _StoppingEvents(self.spec.job_uuid, write, recipe.log_level, stop, stop_at)
        self.events = events.said
        try:
            self.completed = train(self.spec, recipe, events, stop)
        finally:
            os.close(write)
            os.close(read)
        return self

    def metrics(self, name: str, *, evaluation: bool = False) -> dict[int, float]:
        """Values that were told, by step."""
        return {
            event.metrics.step: event.metrics.metrics[name]
            for event in self.events
            if event.WhichOneof("event") == "metrics"
            and event.metrics.evaluation == evaluation
            and name in event.metrics.metrics
        }

    @property
    def lines(self) -> str:
        return "\n".join(event.log.line for event in self.events if event.HasField("log"))

    @property
    def checkpoints(self) -> list[Any]:
        return [event.checkpoint.checkpoint for event in self.events if event.HasField("checkpoint")]

    @property
    def folder(self) -> Path:
        return Path(self.spec.folder)

    @property
    def final(self) -> Path:
        return self.folder / "checkpoints" / "final"


class _StoppingEvents(Events):
    """Keeps events instead of writing them, and stops the training in a step."""

    def __init__(self, job_uuid: str, descriptor: int, level: int, stop: Stop, stop_at: int | None) -> None:
        super().__init__(job_uuid, least_level=level, descriptor=descriptor)
        self.said: list[jobs_pb2.JobEvent] = []
        self._stop = stop
        self._stop_at = stop_at

    def _write(self, event: jobs_pb2.JobEvent) -> None:
        # The line is what the service reads: what cannot be written as one is no event.
        text = json_format.MessageToJson(event, preserving_proto_field_name=True)
        self.said.append(json_format.Parse(text, jobs_pb2.JobEvent()))
        if self._stop_at is not None and event.HasField("metrics") and event.metrics.step == self._stop_at - 1:
            self._stop.reason = "stopped by SIGTERM"


def training(
    folder: Path,
    model: Path,
    rows: RowsSource,
    *,
    kind: Kind = "supervised_fine_tune",
    validation: RowsSource | None = None,
    data: dict[str, Any] | None = None,
    optimizer: dict[str, Any] | None = None,
    efficiency: dict[str, Any] | None = None,
    request: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **config: Any,
) -> Training:
    """Describes a training in fp32."""
    asked = {
        KEYS[kind]: "tiny",
        "training_config": {
            "dtype": "TRAINING_DTYPE_FP32",
            **config,
            "data_config": {"dataset_id": rows.dataset_id, **(data or {})},
            "optimizer_config": {"lr": 0.001, **(optimizer or {})},
            "efficiency_config": efficiency or {},
        },
        **(request or {}),
    }
    made = TrainingSpec(
        job_uuid="job",
        kind=kind,
        request=asked,
        base_model=str(model),
        rows=rows,
        validation_rows=validation,
        folder=str(folder),
        date="2026-11-20",
        **(spec or {}),
    )
    assert TrainingSpec.from_json(made.to_json()) == made
    made.parsed_request()
    return Training(made)
