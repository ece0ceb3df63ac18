"""The trainer beside bare TRL: tokens a second, packing, start-up; with a GPU, memory. `python -m benchmarks.post_training --help`."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console

from benchmarks.machine import describe
from benchmarks.processes import ROOT, end_in_order
from benchmarks.tables import Report, Table, show, write
from benchmarks.targets import Target, table_of
from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import RowsSource, TrainingSpec, trainer_command, trainer_environment
from services.post_training.trainer.events import Events
from services.post_training.trainer.lineage import LineageOf
from services.post_training.trainer.preparing import prepare
from services.post_training.trainer.recipe import recipe_of
from services.post_training.trainer.stopping import Stop

PAGE = ROOT / "docs" / "post_training.md"
REPORT = "training"
DEMO = ROOT / "models" / "caravan-chat"
_VERSIONS = ("accelerate", "peft", "torch", "transformers", "trl")
_LONGEST = 512
_LAYERS = {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}
# Llama 3.2 1B's shape.
_LARGE = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "bos_token_id": 4064,
    "eos_token_id": 4073,
    "pad_token_id": 4068,
}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    """Times that each training is measured, in turn."""
    steps: int = 16
    """Steps of a training."""
    starts: int = 3
    """Processes that are started."""

    @classmethod
    def quick(cls) -> "Plan":
        """Enough to see that everything runs; the figures mean little."""
        return cls(rounds=1, steps=4, starts=1)


@dataclass
class Rate:
    """Speed of one training in each round."""

    wall: list[float] = field(default_factory=list)
    """Tokens a second."""
    processor: list[float] = field(default_factory=list)
    """Tokens a second of processor time."""
    memory: list[float] = field(default_factory=list)
    """Most memory of the GPU, in bytes."""


@dataclass
class Outcome:
    """All that was measured."""

    plan: Plan
    """How much."""
    rates: dict[str, Rate] = field(default_factory=dict)
    """Speeds by training."""
    start: list[float] = field(default_factory=list)
    """Seconds from a process's start to its first step, imports left out."""
    imports: list[float] = field(default_factory=list)
    """Seconds of the imports."""
    large: dict[str, Rate] = field(default_factory=dict)
    """Speeds and memory of a large model on a GPU."""


def rows(file: Path, count: int, words: int) -> RowsSource:
    """Writes dialogs; most are short and some long, as people's are.

    Args:
        file: Where they go.
        count: Their number.
        words: Mean number of words of a message.
    """
    chance = random.Random(1)
    vocabulary = (
        "the",
        "a",
        "of",
        "to",
        "and",
        "in",
        "it",
        "is",
        "was",
        "for",
        "on",
        "are",
        "as",
        "with",
        "his",
        "they",
    )
    with file.open("w") as out:
        for _ in range(count):
            text = [" ".join(chance.choices(vocabulary, k=1 + int(chance.expovariate(1 / words)))) for _ in range(2)]
            messages = [{"role": role, "content": part} for role, part in zip(("user", "assistant"), text, strict=True)]
            out.write(json.dumps({"dialog": messages}) + "\n")
    return RowsSource("rows", 1, "0" * 64, "DATASET_FORMAT_DIALOG", count, (str(file),))


def spec_of(folder: Path, model: Path, source: RowsSource, steps: int, dtype: str, **data: Any) -> TrainingSpec:
    """Describes a training of an adapter."""
    quantized = bool(data.pop("quantize_base", False))
    lora = {"rank": 16, "alpha": 32, "quantize_base": quantized}
    config = {
        "n_iters": steps,
        "n_epochs": 1000,
        "dtype": dtype,
        "checkpoint_interval_steps": 100000,
        "data_config": {"dataset_id": "rows", "max_sequence_length": _LONGEST, **data},
        "optimizer_config": {"lr": 2e-4},
    }
    request = {"model": "m", "training_config": config, "algorithm_config": {"lora": lora}}
    return TrainingSpec("bench", "supervised_fine_tune", request, str(model), source, str(folder), date="2026-11-20")


class Clock:
    """Takes the time of a trainer's steps, the first two left out: they allocate."""

    def __init__(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        clock = self
        self.tokens = 0
        self.began: tuple[float, float] | None = None
        self.ended = (0.0, 0.0)

        class Listener(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                now = (time.perf_counter(), time.process_time())
                if state.global_step == 2:
                    clock.began, clock.tokens = now, 0
                clock.ended = now

        trainer.add_callback(Listener())
        step = trainer.training_step

        def counted(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            mask = inputs.get("attention_mask")
            count = mask.sum() if mask is not None else inputs["tokens"].sum()
            self.tokens += int(count)
            return step(model, inputs, *rest, **more)

        trainer.training_step = counted

    def into(self, rate: Rate) -> None:
        """Adds what was measured."""
        assert self.began is not None
        rate.wall.append(self.tokens / (self.ended[0] - self.began[0]))
        rate.processor.append(self.tokens / (self.ended[1] - self.began[1]))


def ours(spec: TrainingSpec) -> Any:
    """Returns our trainer."""
    from services.post_training.trainer.assembly import assemble

    recipe = recipe_of(spec.kind, spec.parsed_request())
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    events, stop = Events("bench", descriptor=os.open(os.devnull, os.O_WRONLY)), Stop()
    prepared = prepare(spec, recipe, Path(spec.base_model), events, stop)
    lineage = LineageOf(spec, recipe)
    return assemble(spec, recipe, prepared, events, stop, lineage).trainer


def bare(spec: TrainingSpec, batch: int, *, quantized: bool = False) -> Any:
    """Returns TRL's trainer with the same configuration, as its documentation makes one."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    from services.post_training.trainer.batches import read

    recipe = recipe_of(spec.kind, spec.parsed_request())
    events = Events("bench", descriptor=os.open(os.devnull, os.O_WRONLY))
    prepared = prepare(spec, recipe, Path(spec.base_model), events, Stop())
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    more: dict[str, Any] = {}
    if quantized:
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    args = SFTConfig(
        output_dir=str(Path(spec.folder) / "bare"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=batch,
        learning_rate=2e-4,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        max_length=_LONGEST,
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(spec.base_model, dtype=dtype, attn_implementation="sdpa", **more),
        args=args,
        train_dataset=read(prepared.train).remove_columns(["rows", "lengths"]),
        processing_class=AutoTokenizer.from_pretrained(spec.base_model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **_LAYERS),
    )


def timed(trainer: Any, rate: Rate) -> None:
    """Trains and takes the time."""
    import torch
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    clock = Clock(trainer)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    clock.into(rate)
    if torch.cuda.is_available():
        rate.memory.append(float(torch.cuda.max_memory_allocated()))


def measure_rates(outcome: Outcome, folder: Path, console: Console) -> None:
    """Trains the demo model: TRL bare and ours, in turn."""
    plan = outcome.plan
    source = rows(folder / "short.jsonl", 512, 12)
    dtype = "TRAINING_DTYPE_FP32"
    trainings: dict[str, Callable[[int], Any]] = {
        "TRL, bare": lambda at: bare(spec_of(folder / f"bare{at}", DEMO, source, plan.steps, dtype, batch_size=8), 8),
        "trainer": lambda at: ours(spec_of(folder / f"ours{at}", DEMO, source, plan.steps, dtype, batch_size=8)),
        "trainer, packed": lambda at: ours(
            spec_of(folder / f"packed{at}", DEMO, source, plan.steps, dtype, batch_size=1, packed=True)
        ),
    }
    for at in range(plan.rounds):
        for name, make in trainings.items():
            console.print(f"{name}, round {at + 1}")
            timed(make(at), outcome.rates.setdefault(name, Rate()))


def measure_starts(outcome: Outcome, folder: Path) -> None:
    """Starts trainers as the service does."""
    source = rows(folder / "start.jsonl", 64, 12)
    for at in range(outcome.plan.starts):
        spec = spec_of(folder / f"start{at}", DEMO, source, 1, "TRAINING_DTYPE_FP32")
        spec.request["logger_config"] = {"log_level": "LOG_LEVEL_DEBUG"}
        file = folder / f"start{at}.json"
        file.write_text(spec.to_json())
        environment = trainer_environment() | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(trainer_command(file, 1), env=environment, capture_output=True, text=True, check=True)
        lines = (line for line in done.stdout.splitlines() if line.startswith("{"))
        _read_start(outcome, [json_format.Parse(line, jobs_pb2.JobEvent()) for line in lines])


def _read_start(outcome: Outcome, events: Sequence[jobs_pb2.JobEvent]) -> None:
    def at(event: jobs_pb2.JobEvent) -> float:
        return event.timestamp.ToNanoseconds() / 1e9

    ready, imported = (
        next(event for event in events if event.log.line.startswith(text))
        for text in ("rows are ready", "libraries are")
    )
    begins = next(event for event in events if event.HasField("progress"))
    outcome.imports.append(at(imported) - at(ready))
    outcome.start.append(float(ready.log.line.split()[-2]) + at(begins) - at(imported))


def measure_large(outcome: Outcome, folder: Path, console: Console) -> None:
    """Trains a model of Llama 3.2 1B's shape with random weights on the GPU."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = folder / "large"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**_LARGE)).to(torch.bfloat16).save_pretrained(model)
    for path in DEMO.iterdir():
        if path.name.startswith(("tokenizer", "chat_template")):
            shutil.copyfile(path, model / path.name)
    source = rows(folder / "long.jsonl", 512, 150)
    for at in range(outcome.plan.rounds):
        for name, quantized in (("LoRA", False), ("QLoRA", True)):
            console.print(f"{name} of a 1B model, round {at + 1}")
            dtype = "TRAINING_DTYPE_BF16"
            options = {"batch_size": 8, "quantize_base": quantized}
            spec = spec_of(folder / f"large{at}{name}", model, source, outcome.plan.steps, dtype, **options)
            timed(bare(spec, 8, quantized=quantized), outcome.large.setdefault(f"{name}, TRL bare", Rate()))
            torch.cuda.empty_cache()
            timed(ours(spec), outcome.large.setdefault(f"{name}, trainer", Rate()))
            torch.cuda.empty_cache()


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def report(outcome: Outcome, command: str) -> Report:
    """Puts figures into tables.

    Args:
        outcome: What was measured.
        command: How to measure it again.
    """
    plan = outcome.plan
    conditions = [
        f"`{command}`",
        *describe(_VERSIONS),
        "A LoRA adapter (rank 16) on the demo model in fp32; dialogs whose messages have 12 words in the mean.",
        f"Batches of 8 dialogs, or sequences of {_LONGEST} tokens.",
        f"{plan.steps} steps, medians of {plan.rounds} rounds in turn, one thread.",
    ]
    found = outcome.rates
    base, plain, packed = found["TRL, bare"], found["trainer"], found["trainer, packed"]
    targets = [
        Target("tokens/s over TRL's, bare", "wall", _ratio(plain.wall, base.wall), 0.98, at_least=True),
        Target("tokens/s over TRL's, bare", "processor", _ratio(plain.processor, base.processor), 0.98, at_least=True),
        Target("packed tokens/s over TRL's, not packed", "wall", _ratio(packed.wall, base.wall), 1.5, at_least=True),
        Target("start-up beyond imports, s", "process", statistics.median(outcome.start), 2.0),
    ]
    speeds = Table(
        "Tokens a second",
        ["training", "wall", "processor"],
        [
            [name, f"{statistics.median(rate.wall):.0f}", f"{statistics.median(rate.processor):.0f}"]
            for name, rate in found.items()
        ],
        note=f"Imports take {statistics.median(outcome.imports):.1f} s beside the start-up.",
    )
    tables = [table_of(targets), speeds]
    if outcome.large:
        tables.append(_large(outcome))
    else:
        conditions.append("There was no GPU: LoRA and QLoRA of a 1B model were not measured.")
    return Report(REPORT, conditions, tables)


def _large(outcome: Outcome) -> Table:
    return Table(
        "A model of Llama 3.2 1B's shape on the GPU, bf16, batches of 8",
        ["training", "tokens/s", "most memory, GB"],
        [
            [name, f"{statistics.median(rate.wall):.0f}", f"{statistics.median(rate.memory) / 1e9:.2f}"]
            for name, rate in outcome.large.items()
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
        arguments: Of the command. None: those of this process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.post_training", description="Measures trainings.")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to see that it runs; writes nothing"
    )
    parser.add_argument("--rounds", type=int, help="times that each training is measured (default: 5)")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args(arguments)
    end_in_order()
    os.environ.update(trainer_environment())
    console = Console(width=None if sys.stdout.isatty() else 160)
    plan = Plan.quick() if chosen.quick else Plan(rounds=chosen.rounds or Plan.rounds)
    outcome = Outcome(plan)
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as name:
        folder = Path(name)
        measure_starts(outcome, folder)
        import torch
        import transformers

        torch.set_num_threads(torch.get_num_threads() if torch.cuda.is_available() else 1)
        transformers.utils.logging.disable_progress_bar()
        measure_rates(outcome, folder, console)
        if torch.cuda.is_available():
            measure_large(outcome, folder, console)
    result = report(outcome, "python -m benchmarks.post_training")
    show(result, console)
    if chosen.write and not chosen.quick:
        write(result, PAGE)


if __name__ == "__main__":
    main()
