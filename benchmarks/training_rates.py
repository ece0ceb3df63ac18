"""Speed of trainings: TRL bare and our trainer, on the same rows in the same order."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.processes import ROOT
from services.post_training.spec import RowsSource, TrainingSpec
from services.post_training.trainer.events import Events
from services.post_training.trainer.lineage import LineageOf
from services.post_training.trainer.preparing import prepare
from services.post_training.trainer.recipe import recipe_of
from services.post_training.trainer.stopping import Stop

DEMO = ROOT / "models" / "caravan-chat"
LONGEST = 512
"""Longest sequence in tokens."""

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


@dataclass
class Rate:
    """Speed of one training in each round."""

    wall: list[float] = field(default_factory=list)
    """Tokens a second."""
    processor: list[float] = field(default_factory=list)
    """Tokens a second of processor time."""
    memory: list[float] = field(default_factory=list)
    """Most memory of the GPU, in bytes."""


Rates = dict[str, Rate]
"""Speeds by training."""


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
        # The rows' order decides how much is padding: it is the same for all.
        "data_config": {"dataset_id": "rows", "max_sequence_length": LONGEST, "shuffle": False, **data},
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
        max_length=LONGEST,
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=False,
        logging_steps=1,
        train_sampling_strategy="sequential",
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


def measure_rates(folder: Path, rounds: int, steps: int, console: Console) -> Rates:
    """Trains the demo model: TRL bare and ours, in turn, each first as often as the other.

    Args:
        folder: Where everything is written.
        rounds: Times that each training is measured.
        steps: Steps of a training.
        console: Told what is measured.
    """
    source = rows(folder / "short.jsonl", 512, 12)

    def spec(name: str, **data: Any) -> TrainingSpec:
        return spec_of(folder / name, DEMO, source, steps, "TRAINING_DTYPE_FP32", **data)

    trainings: dict[str, Callable[[int], Any]] = {
        "TRL, bare": lambda at: bare(spec(f"bare{at}", batch_size=8), 8),
        "trainer": lambda at: ours(spec(f"ours{at}", batch_size=8)),
        "trainer, packed": lambda at: ours(spec(f"packed{at}", batch_size=1, packed=True)),
    }
    found: Rates = {name: Rate() for name in trainings}
    for at in range(rounds):
        for name in trainings if at % 2 == 0 else reversed(trainings):
            console.print(f"{name}, round {at + 1}")
            timed(trainings[name](at), found[name])
    return found


def measure_large(folder: Path, rounds: int, steps: int, console: Console) -> Rates:
    """Trains a model of Llama 3.2 1B's shape with random weights on the GPU; see `measure_rates`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = folder / "large"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**_LARGE)).to(torch.bfloat16).save_pretrained(model)
    for path in DEMO.iterdir():
        if path.name.startswith(("tokenizer", "chat_template")):
            shutil.copyfile(path, model / path.name)
    source = rows(folder / "long.jsonl", 512, 150)
    found: Rates = {}
    for at in range(rounds):
        for name, quantized in (("LoRA", False), ("QLoRA", True)):
            console.print(f"{name} of a 1B model, round {at + 1}")
            options = {"batch_size": 8, "quantize_base": quantized}
            spec = spec_of(folder / f"large{at}{name}", model, source, steps, "TRAINING_DTYPE_BF16", **options)
            timed(bare(spec, 8, quantized=quantized), found.setdefault(f"{name}, TRL bare", Rate()))
            torch.cuda.empty_cache()
            timed(ours(spec), found.setdefault(f"{name}, trainer", Rate()))
            torch.cuda.empty_cache()
    return found
