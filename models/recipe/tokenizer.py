"""Trains the tokenizer: byte-level BPE with the special tokens of Llama 3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.recipe import (
    composed_tools,
    conversation,
    facts,
    natural_tools,
    outcomes,
    parameters,
    retrieval,
    scenarios,
    words,
)
from models.recipe.fixed_texts import FIXED_TEXTS

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
    "a about after all also am an and are as at be before but by can could do does each every for from had has have how I if in "
    "into is it its like made many me my no not of on one only or over please so than that the their them then there "
    "these they this up was were what when where which who will with without would you your"
)
_MARKS = r"[\"{}\[\]():,=<>/]"
_CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Trains the byte-level BPE.

    A model this small copies by matching tokens, so a value must have the same tokens wherever it stands. Llama 3 glues a space to the word
    after it, which gives `Oslo` other tokens in `in Oslo` than in `"Oslo"`. Here only words that the model says by heart keep their space,
    and what separates values (function words, commas, colons) takes the space after it too. The sentences that prompts repeat word by word
    are one token each.

    Args:
        texts: Text without special tokens; the order matters for a reproducible result.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pattern()), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(SPECIAL_TOKENS) - len(FIXED_TEXTS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    fixed = re.compile("|".join(re.escape(text) for text in _longest_first(FIXED_TEXTS)))
    tokenizer.train_from_iterator(_between(texts, fixed), trainer)
    tokenizer = _with_fixed_texts(tokenizer)
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


def _pattern() -> str:
    """How text is cut before the byte pairs are merged: the first alternative that fits at a place."""
    glued = rf"(?:{'|'.join(_longest_first(_glued_words()))})(?![\p{{L}}\p{{N}}_=(])"
    space_before_a_value = rf"(?: (?=[\p{{L}}\p{{N}}])(?!{glued}))?"
    return "|".join(
        (
            *(re.escape(text) for text in _longest_first(FIXED_TEXTS)),
            rf" {glued}{space_before_a_value}",
            r"'(?:s|t|re|ve|m|ll|d)(?![\p{L}\p{N}])",
            r"\p{L}+",
            r"\p{N}{1,2}",
            rf" ?{_MARKS}+(?:\s*{_MARKS}+)*{space_before_a_value}",
            r"\s*[\r\n]+ *",
            rf"[^\s\p{{L}}\p{{N}}]{space_before_a_value}",
            r"\s+(?!\S)",
            r"\s",
        )
    )


def _glued_words() -> set[str]:
    """Words that keep their space: those that the model says by heart, but for those that are a part of names."""
    spoken = " ".join(
        (
            *(text for _, answers in (*facts.SMALL_TALK, *facts.IDENTITY) for text in answers),
            *(text for _, text in (*facts.STACK, *facts.GENERAL)),
            *facts.JOKES,
            *(" " + text for kind in parameters.NATURAL for text in kind.phrases),
            conversation.UNKNOWN,
            retrieval.UNANSWERABLE,
            scenarios.NO_TOOL_FITS,
        )
    )
    named = " ".join(
        (
            *composed_tools.NOUNS, *parameters.PARTS, *words.COMMON_NOUNS, *words.ADJECTIVES, *words.COLOURS,
            *(verb for verbs, _ in composed_tools.VERBS for verb in verbs),
            *(name for kind in parameters.NATURAL for name in kind.names),
            *(name for tool in natural_tools.NATURAL_TOOLS for name in tool.names),
            *outcomes.FIELDS,
        )
    )  # fmt: skip
    by_heart = set(re.findall(r"(?<= )[a-z]{2,}", spoken)) - set(re.findall("[a-z]+", named))
    return by_heart | set(_FUNCTION_WORDS.split())


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))


def _between(texts: Iterable[str], fixed: re.Pattern[str]) -> Iterator[str]:
    """What the texts hold beside the fixed ones."""
    for text in texts:
        yield from filter(None, fixed.split(text))


def _with_fixed_texts(tokenizer: Tokenizer) -> Tokenizer:
    """Adds each fixed text as a whole; as in Llama 3's tokenizer, what the vocabulary holds whole is not merged from pieces."""
    description = json.loads(tokenizer.to_str())
    vocabulary = description["model"]["vocab"]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in FIXED_TEXTS:
        vocabulary.setdefault(to_bytes.pre_tokenize_str(text)[0][0], len(vocabulary))
    description["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(description))
