"""The base model and what is trained of it, made from a recipe."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, BitsAndBytesConfig
from trl.trainer.reward_trainer import suppress_seqcls_warning

from services.post_training.trainer import packed_attention
from services.post_training.trainer.checkpoints import ADAPTER_CONFIG
from services.post_training.trainer.problems import ModelError, PlatformError
from services.post_training.trainer.recipe import Dtype, Recipe
from services.post_training.trainer.weights import Weights, target_modules

_SMALL = 1e-3
_TORCH_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def resolved_dtype(dtype: Dtype) -> Dtype:
    """Returns the type of the numbers on this machine.

    Args:
        dtype: What the recipe says.

    Raises:
        PlatformError: This machine cannot.
    """
    if torch.cuda.is_available():
        if dtype == "auto":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        return dtype
    if dtype == "fp16":
        raise PlatformError("training in fp16 needs a GPU; use bf16 or fp32")
    if dtype == "auto":
        # Without these units bf16 is emulated, several times slower than fp32.
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
        return "bf16" if fast else "fp32"
    return dtype


class BaseModel:
    """The model that a training starts from.

    Attributes:
        folder: Folder that it is read from.
        weights: What its files say.
        adapter: Folder of the adapter that the training goes on from. None: there is none.
    """

    def __init__(self, recipe: Recipe, folder: Path, continue_from: Path | None) -> None:
        """Finds it.

        Args:
            recipe: The training.
            folder: Folder of the base model.
            continue_from: Folder of the adapter or whole model that the training goes on from.

        Raises:
            ModelError: It cannot be read.
        """
        adapter = continue_from if continue_from is not None and (continue_from / ADAPTER_CONFIG).is_file() else None
        self.folder = folder if continue_from is None or adapter is not None else continue_from
        self.adapter = adapter
        self.weights = Weights.read(self.folder)
        self._recipe = recipe

    def tokenizer(self) -> Any:
        """Returns the tokenizer as Transformers reads it."""
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        if tokenizer.pad_token is None:
            # A padding token that also ends texts would hide the last token from a reward model.
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.bos_token or tokenizer.eos_token
        return tokenizer

    def load(self, dtype: Dtype) -> Any:
        """Reads the model's weights, and the adapter that the training goes on from.

        Args:
            dtype: Type of the numbers.

        Returns:
            The model; a PEFT model when the training goes on from an adapter that it trains.

        Raises:
            ModelError: They cannot be read.
            PlatformError: This machine has no 4-bit kernels.
        """
        recipe = self._recipe
        # Weights that are trained are fp32 whatever is computed in: smaller steps than bf16 can tell would be lost.
        frozen = recipe.lora is not None
        arguments: dict[str, Any] = {
            "dtype": _TORCH_DTYPES[dtype] if frozen else torch.float32,
            "local_files_only": True,
            "attn_implementation": "sdpa",
        }
        if recipe.quantized:
            arguments |= {"quantization_config": quantization(dtype), "device_map": {"": _device()}}
        kind = recipe.kind
        with _readable():
            if kind == "train_reward_model":
                with suppress_seqcls_warning():
                    model = AutoModelForSequenceClassification.from_pretrained(self.folder, num_labels=1, **arguments)
            else:
                model = AutoModelForCausalLM.from_pretrained(self.folder, **arguments)
            if recipe.packed and not torch.cuda.is_available():
                packed_attention.register()
                model.set_attn_implementation(packed_attention.PACKED)
            if self.adapter is not None:
                model = PeftModel.from_pretrained(model, str(self.adapter), is_trainable=frozen)
        if self.adapter is not None and not frozen:
            model = model.merge_and_unload()
        if not frozen:
            model.requires_grad_(True)
        return model

    def adapter_config(self) -> LoraConfig | None:
        """Returns the adapter to make; None when all weights are trained, or the training goes on from an adapter."""
        lora = self._recipe.lora
        if lora is None or self.adapter is not None:
            return None
        reward = self._recipe.kind == "train_reward_model"
        return LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=target_modules(self.weights, lora),
            use_dora=lora.dora,
            task_type=TaskType.SEQ_CLS if reward else TaskType.CAUSAL_LM,
            modules_to_save=["score"] if reward else None,
        )


def give_directions(model: Any) -> None:
    """Lets DoRA adapt weights with rows that are zero, as pruned heads have: magnitude and direction of such a row would be 0 / 0.

    Its low-rank part is given a small direction. The magnitude stays 0, and with it the row, until it is trained.

    Args:
        model: A model with an adapter.
    """
    for module in model.modules():
        for adapter, magnitude in getattr(module, "lora_magnitude_vector", {}).items():
            up = module.lora_B[adapter].weight
            still = (magnitude.weight.flatten() == 0) & (up == 0).all(dim=1)
            up.data[still] = _SMALL


def quantization(dtype: Dtype) -> BitsAndBytesConfig:
    """Returns how a base model is held in 4 bits (NF4, its scales quantized too: QLoRA, arXiv 2305.14314).

    Args:
        dtype: Type that is computed in.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_TORCH_DTYPES[dtype],
    )


def merge(base: Path, adapter: Path, target: Path, *, reward: bool) -> None:
    """Writes a model with an adapter merged in.

    Args:
        base: Folder of the base model.
        adapter: Folder of the adapter.
        target: Where it goes.
        reward: It is a reward model.

    Raises:
        ModelError: One of both cannot be read.
    """
    loader = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    more = {"num_labels": 1} if reward else {}
    with _readable(), suppress_seqcls_warning():
        model = loader.from_pretrained(base, dtype="auto", local_files_only=True, **more)
        original = model.dtype
        # Sums of small numbers are lost in 16 bits: the adapter is added in 32.
        model = model.float()
        peft_model = PeftModel.from_pretrained(model, str(adapter))
    if any("lm_head" in str(name) for name in peft_model.peft_config["default"].target_modules):
        _untie(peft_model)
    merged = peft_model.merge_and_unload(safe_merge=True).to(original)
    merged.save_pretrained(target)


def _untie(model: Any) -> None:
    """Gives the output layer weights of its own, which the embeddings do not share."""
    config = model.config
    if getattr(config, "tie_word_embeddings", False):
        head = model.get_base_model().lm_head.get_base_layer()
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        config.tie_word_embeddings = False


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies a model's tokenizer, chat template and defaults of generation.

    Args:
        source: The model's folder.
        target: Where they go.
    """
    names = (
        "tokenizer",
        "special_tokens",
        "chat_template",
        "vocab",
        "merges",
        "added_tokens",
        "generation_config",
        "spiece",
    )
    for path in source.iterdir():
        if path.is_file() and path.name.startswith(names):
            shutil.copyfile(path, target / path.name)


def _device() -> Any:
    return int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.is_available() else "cpu"


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the model cannot be read: {error}") from error
    except ImportError as error:
        raise PlatformError(f"a 4-bit base model needs bitsandbytes: {error}") from error
