"""From prompts to token ids, off the event loop when they are long."""

import asyncio
from typing import Any

from services.core.errors import InvalidArgumentError
from services.inference.prompts.encoding import PromptEncoder
from services.inference.prompts.prompt import Prompt

# A Rust tokenizer encodes this much in well under a millisecond; handing over to a thread costs about 0.1 ms.
SHORT_PROMPT_CHARACTERS = 4096


class PromptTokens:
    """Encodes prompts for one model."""

    def __init__(self, tokenizer: Any, max_model_len: int) -> None:
        """Takes the engine's tokenizer.

        Args:
            tokenizer: A Hugging Face fast tokenizer.
            max_model_len: Longest prompt and answer together, in tokens.
        """
        self._encoder = PromptEncoder(tokenizer)
        self.max_model_len = max_model_len

    async def encode(self, prompt: Prompt, field: str) -> list[int]:
        """Encodes a prompt and checks that it leaves room for an answer.

        Args:
            prompt: The prompt; content that looks like control tokens stays content.
            field: Path of the request's field that the prompt comes from.

        Raises:
            InvalidArgumentError: The prompt fills the model's context.
        """
        length = sum(len(segment.text) for segment in prompt.segments)
        encode = self._encoder.encode
        ids = encode(prompt) if length <= SHORT_PROMPT_CHARACTERS else await asyncio.to_thread(encode, prompt)
        self.check_room(len(ids), field)
        return ids

    def check_room(self, tokens: int, field: str) -> None:
        """Checks that a prompt of `tokens` tokens leaves room for an answer.

        Raises:
            InvalidArgumentError: It does not.
        """
        if tokens >= self.max_model_len:
            raise InvalidArgumentError.of(
                field,
                f"the prompt has {tokens} tokens and the model's context holds {self.max_model_len} with the answer; shorten it",
                reason="PROMPT_TOO_LONG",
            )
