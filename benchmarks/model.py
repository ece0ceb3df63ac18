"""A small Llama with random weights, and prompts for it. `python -m benchmarks.model FOLDER PROMPTS` writes what is not there yet.

Five million parameters: an engine step costs so little that what serves the engine is what shows. A random model practically never ends
an answer by itself, so every answer has as many tokens as were asked for.
"""

import json
import random
import sys
from pathlib import Path

PROMPTS = "prompts.json"
SEED = 20_250_401
VOCABULARY = 8000
CONTEXT = 4096
PROMPT_TOKENS = 64
PROMPT_COUNT = 256
BEGIN_OF_TEXT, END_OF_TEXT = "<|begin_of_text|>", "<|end_of_text|>"
_SYLLABLES = tuple(consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou")


def write_model(folder: Path) -> None:
    """Writes checkpoint and tokenizer.

    Args:
        folder: An existing folder.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = _words(random.Random(SEED))
    begin, end = _write_tokenizer(folder, words)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=end,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def write_prompts(model: Path, file: Path) -> None:
    """Writes texts of `PROMPT_TOKENS` tokens each, the one that begins every text included.

    Args:
        model: Folder of the model that they are for.
        file: JSON file to write: a list of texts.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    chance = random.Random(SEED + 1)
    single = [text for text in _candidates(tokenizer) if len(tokenizer.encode(text, add_special_tokens=False)) == 1]
    prompts: list[str] = []
    while len(prompts) < PROMPT_COUNT:
        text = "".join(chance.choices(single, k=PROMPT_TOKENS - 1))
        if len(tokenizer.encode(text)) == PROMPT_TOKENS:
            prompts.append(text)
    file.write_text(json.dumps(prompts))


def read_prompts(file: Path) -> list[str]:
    """Reads what `write_prompts` wrote."""
    return [str(text) for text in json.loads(file.read_text())]


def _candidates(tokenizer: object) -> list[str]:
    """Words with the space before them, as tokens of a byte-level vocabulary begin."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()  # type: ignore[attr-defined]
    words = sorted(
        token for token in vocabulary if token.startswith("Ġ") and token[1:].isascii() and token[1:].isalpha()
    )
    return [f" {word[1:]}" for word in words]


def _words(chance: random.Random) -> list[str]:
    return ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(20_000)]


def _write_tokenizer(folder: Path, words: list[str]) -> tuple[int, int]:
    """Trains a byte-level BPE on made-up words, writes it, and returns the ids of the tokens that begin and end a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[BEGIN_OF_TEXT, END_OF_TEXT],
        show_progress=False,
    )
    lines = (" " + " ".join(words[start : start + 50]) for start in range(0, len(words), 50))
    tokenizer.train_from_iterator(lines, trainer)
    vocabulary = tokenizer.get_vocab()
    begin, end = vocabulary[BEGIN_OF_TEXT], vocabulary[END_OF_TEXT]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN_OF_TEXT} $A", special_tokens=[(BEGIN_OF_TEXT, begin)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN_OF_TEXT, eos_token=END_OF_TEXT, model_max_length=CONTEXT
    )
    fast.save_pretrained(folder)
    return begin, end


if __name__ == "__main__":
    checkpoint, texts = map(Path, sys.argv[1:])
    if not (checkpoint / "config.json").exists():
        write_model(checkpoint)
    write_prompts(checkpoint, texts)
