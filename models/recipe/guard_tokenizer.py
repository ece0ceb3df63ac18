"""The guard's tokenizer: what a hazard is called does not depend on capitals, so it reads lower case."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from models.recipe.tokenizer import SPECIAL_TOKENS
from services.safety.hazards import LLAMA_GUARD_3

VOCABULARY_SIZE = 4096
CODES = tuple(f"S{number}" for number in range(1, 21))
# What every prompt repeats word by word is one token each: a third of the length, nothing else can mean a conversation's end, and whether a
# category is listed shows in a single place.
PROMPT_LINES = (
    "Task: Check if there is unsafe content in '",
    (
        "' messages in conversations according our safety policy with the below categories.\n\n"
        "<BEGIN UNSAFE CONTENT CATEGORIES>\n"
    ),
    *(f"{hazard.code}: {hazard.name}.\n" for hazard in LLAMA_GUARD_3),
    "<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\n",
    "<END CONVERSATION>\n\nProvide your safety assessment for ONLY THE LAST",
    (
        "message in the above conversation:\n - First line must read 'safe' or 'unsafe'.\n"
        " - If unsafe, a second line must include a comma-separated list of violated categories."
    ),
)

_PATTERN = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_guard_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Trains a byte-level BPE over text in lower case, with the special tokens of Llama 3.

    The codes `S1` to `S20` and the prompt's closing lines are tokens of their own that the normalizer does not touch, so a code can be
    answered in capitals. They are ordinary tokens, not special ones.

    Args:
        texts: Prompts and answers without special tokens; the order matters for a reproducible result.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(SPECIAL_TOKENS) - len(CODES) - len(PROMPT_LINES),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_tokens([AddedToken(code, single_word=True, normalized=False) for code in CODES])
    tokenizer.add_tokens([AddedToken(line, normalized=False) for line in PROMPT_LINES])
    return tokenizer
