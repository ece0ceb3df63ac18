"""Trains the tokenizer: byte-level BPE with the special tokens of Llama 3."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

NAMED_SPECIAL_TOKENS = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>",
    "<|python_tag|>", "<|image|>",
)  # fmt: skip
SPECIAL_TOKENS = NAMED_SPECIAL_TOKENS + tuple(f"<|reserved_special_token_{index}|>" for index in range(2, 22))
END_TOKENS = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
VOCABULARY_SIZE = 4096
MAX_CONTEXT = 4096

_FUNCTION_WORDS = (
    "a|about|after|all|also|am|an|and|are|as|at|be|before|but|by|can|do|does|each|for|from|function|get|give|has|have|help|how|"
    "I|if|in|into|is|it|its|like|list|made|many|me|model|much|my|name|not|of|on|one|or|please|return|run|so|that|the|"
    "them|then|there|this|to|tool|use|used|using|was|what|when|where|which|who|will|with|without|you|your"
)
# Llama 3 glues a space to the word after it, so that a value has other tokens after a space than after a quote. A model this
# small copies values by matching tokens; so only frequent function words keep their space, any other word has the same tokens
# wherever it stands. Digits stand alone, and punctuation that may end a value is never glued to brackets and quotes.
_MARKS = r"[\"{}\[\]():,=<>/]"
_PATTERN = (
    rf" (?:{_FUNCTION_WORDS})(?![\p{{L}}\p{{N}}])|'(?:s|t|re|ve|m|ll|d)(?![\p{{L}}\p{{N}}])|\p{{L}}+|\p{{N}}"
    rf"| ?{_MARKS}+(?:\s*{_MARKS}+)*|\s*[\r\n]+ *|[^\s\p{{L}}\p{{N}}]|\s+(?!\S)|\s"
)

_CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Trains the byte-level BPE.

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
        vocab_size=VOCABULARY_SIZE - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Returns the tokenizer as transformers and vLLM load it, with the chat template in its configuration."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
    )
    wrapped.chat_template = _CHAT_TEMPLATE.read_text()
    return wrapped
