"""Builds `caravan-prompt-guard`: `python -m models.recipe.injection --out models/caravan-prompt-guard`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ModernBertConfig, ModernBertForSequenceClassification, PreTrainedTokenizerFast

from models.recipe.injection_texts import Label, labelled_text
from models.recipe.optimization import Losses, Pace, optimize
from models.recipe.source import Source

WINDOW = 512
"""Tokens that the model reads at a time."""
LABELS = tuple(Label)

_VOCABULARY_SIZE = 4096
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_TOKENIZER_TEXTS = 6_000
_POOL = 480
# A letter, a sign, and a letter that stands alone: words that are spelt out are read as words.
_SPELT_OUT = r"(?<=\p{L})(?<!\p{L}\p{L})[ .*_-](?=\p{L}(?!\p{L}))"


def train_prompt_guard_tokenizer(seed: int, count: int = _TOKENIZER_TEXTS) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE that undoes plain disguises: capitals, look-alike forms, invisible characters, spelt-out words.

    Args:
        seed: Start of the random sequence of texts.
        count: Number of texts.
    """
    source = Source(f"injection-tokenizer-{seed}")
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"\p{Cf}"), ""),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(_SPELT_OUT), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator((labelled_text(source).text for _ in range(count)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> ModernBertForSequenceClassification:
    """Returns a fresh encoder for the tokenizer, initialised from torch's global seed."""
    return ModernBertForSequenceClassification(
        ModernBertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=WINDOW,
            global_attn_every_n_layers=1,
            classifier_pooling="mean",
            pad_token_id=tokenizer.pad_token_id,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
            bos_token_id=None,
            eos_token_id=None,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
    )


def batches(
    tokenizer: PreTrainedTokenizerFast, source: Source, rng: Random, tokens: int
) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Yields batches of texts of about equal length, of at most `tokens` tokens together."""
    while True:
        drawn = [labelled_text(source) for _ in range(_POOL)]
        ids = tokenizer([text.text for text in drawn], truncation=True, max_length=WINDOW)["input_ids"]
        groups: list[list[int]] = [[]]
        for index in sorted(range(_POOL), key=lambda place: len(ids[place])):
            if (len(groups[-1]) + 1) * len(ids[index]) > tokens:
                groups.append([])
            groups[-1].append(index)
        rng.shuffle(groups)
        for group in groups:
            padded = tokenizer.pad({"input_ids": [ids[index] for index in group]}, return_tensors="pt")
            yield dict(padded), torch.tensor([LABELS.index(drawn[index].label) for index in group])


def losses(model: ModernBertForSequenceClassification, inputs: dict[str, torch.Tensor], wanted: torch.Tensor) -> Losses:
    """The cross entropy of a batch."""
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    wanted = wanted.to(model.device)
    return {"label": torch.nn.functional.cross_entropy(logits.float(), wanted, label_smoothing=0.02)}


def build(out: Path, *, steps: int, seed: int, device: str, batch_tokens: int) -> None:
    """Makes the tokenizer, trains the model and writes the checkpoint."""
    torch.manual_seed(seed)
    tokenizer = train_prompt_guard_tokenizer(seed)
    model = build_model(tokenizer).to(device)
    stream = batches(tokenizer, Source(f"injection-{seed}"), Random(seed), batch_tokens)
    layers = model.model.layers
    inside = {id(weight) for weight in layers.parameters()}
    others = [weight for weight in model.parameters() if id(weight) not in inside]
    terms = (losses(model, inputs, wanted) for inputs, wanted in stream)
    optimize(layers, others, Pace(steps), terms, log=lambda line: print(line, flush=True))
    model.to("cpu").save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)


def main() -> None:
    """Parses the command line and builds the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=3600, help="optimizer steps; more make it better")
    parser.add_argument("--batch-tokens", type=int, default=1200, help="tokens of a batch, padding included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    build(options.out, steps=options.steps, seed=options.seed, device=options.device, batch_tokens=options.batch_tokens)


if __name__ == "__main__":
    main()
