"""From a prompt's pieces to token ids."""

from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

from tokenizers import Tokenizer

from services.core.errors import FailedPreconditionError
from services.inference.prompts.llama3 import END_OF_MESSAGE, END_OF_TURN, IMAGE
from services.inference.prompts.prompt import Prompt

_STAND_INS = {END_OF_MESSAGE: END_OF_TURN}
_ROLES = frozenset({"system", "user", "assistant", "ipython"})


class FastTokenizer(Hashable, Protocol):
    """What is needed of a Hugging Face tokenizer: the Rust tokenizer in it."""

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The Rust tokenizer."""


class PromptEncoder:
    """Encodes prompts so that content never becomes a control token.

    Content goes through a copy of the tokenizer in which special tokens are not recognized (`encode_special_tokens`), control tokens are
    looked up in the vocabulary. The copy matters: the switch is state of the tokenizer, and others encode with the original at the same
    time. Instances may be used from several threads.
    """

    def __init__(self, tokenizer: FastTokenizer) -> None:
        """Copies the tokenizer.

        Args:
            tokenizer: A `transformers` fast tokenizer.
        """
        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._controls: dict[str, int] = {}
        self._roles = {role: self._encode(role) for role in _ROLES}

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, all control tokens included.

        Raises:
            FailedPreconditionError: The vocabulary lacks a control token of the prompt, for instance an image's placeholder.
        """
        ids: list[int] = []
        for text, is_control in prompt.segments:
            if is_control:
                ids.append(self._control(text))
            else:
                ids += self._roles.get(text) or self._encode(text)
        return ids

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _control(self, token: str) -> int:
        found = self._controls.get(token)
        if found is None:
            found = self._controls[token] = self._look_up(token)
        return found

    def _look_up(self, token: str) -> int:
        for name in (token, _STAND_INS.get(token)):
            found: int | None = None if name is None else self._tokenizer.token_to_id(name)
            if found is not None:
                return found
        hint = "; use a model that takes images" if token == IMAGE else ""
        message = f"the model's vocabulary has no token {token}{hint}"
        raise FailedPreconditionError(message, reason="TOKEN_NOT_IN_VOCABULARY")


def encode(prompt: Prompt, tokenizer: FastTokenizer) -> list[int]:
    """Token ids of a prompt; content that looks like a control token stays content.

    Args:
        prompt: The prompt.
        tokenizer: A `transformers` fast tokenizer. An encoder is kept for each of the last few.

    Raises:
        FailedPreconditionError: The vocabulary lacks a control token of the prompt, for instance an image's placeholder.
    """
    return _encoder(tokenizer).encode(prompt)


@lru_cache(maxsize=4)
def _encoder(tokenizer: FastTokenizer) -> PromptEncoder:
    return PromptEncoder(tokenizer)
