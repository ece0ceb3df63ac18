"""The reward model's tokenizer: a value has the same tokens in the question, in the context and in the answer."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from models.recipe.reward_prompt import FIXED_TEXTS
from models.recipe.tokenizer import SPECIAL_TOKENS

VOCABULARY_SIZE = 4096

# Only words in lower case take the space before them. Names and digits stand alone, so what is compared has one form everywhere.
_PATTERN = r"\p{Lu}\p{L}*|\p{N}| ?\p{Ll}\p{L}*|\p{L}+|[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s"


def train_reward_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Trains a byte-level BPE with the special tokens of Llama 3; what the prompt repeats word by word is one token each.

    Args:
        texts: Text without special tokens; the order matters for a reproducible result.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(SPECIAL_TOKENS) - len(FIXED_TEXTS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in FIXED_TEXTS])
    return tokenizer
