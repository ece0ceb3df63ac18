"""Calls of a reward model: a sequence classifier with one label, whose logit at the last token is the score of an answer.

The prompt is the conversation with the answer as the checkpoint's own chat template writes it, nothing before or behind: what TRL's
`RewardTrainer` trains on. Templates are rendered as one text, in which a writer could forge control tokens; so what people and models said
has those of its words that are control tokens taken apart.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
from vllm import PoolingParams, PoolingRequestOutput
from vllm.exceptions import VLLMClientError
from vllm.renderers.params import ChatParams
from vllm.v1.engine.async_llm import AsyncLLM

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.inference.images import images_of
from services.inference.plain_text import plain_text
from services.inference.prompts.families import to_template_messages, to_template_tools
from services.inference.providers.vllm.template import read_template
from services.inference.tool_calls.json_values import JsonObject
from services.inference.usage import usage


class RewardPrompts:
    """Writes conversations with their answers for a reward model."""

    def __init__(self, llm: AsyncLLM, template: str | None, max_model_len: int) -> None:
        """Checks that there is what it takes.

        Args:
            llm: The engine.
            template: Path of a chat template that replaces the checkpoint's own. None: the checkpoint's.
            max_model_len: Longest conversation with an answer, in tokens.

        Raises:
            FailedPreconditionError: The checkpoint is no reward model, or there is no chat template.
        """
        labels = getattr(llm.model_config.hf_config, "num_labels", 0)
        if labels != 1:
            raise FailedPreconditionError(
                f"{llm.model_config.model!r} is no reward model, a sequence classifier with one label: it has {labels}; "
                'train one with TrainRewardModel, or set model_type = "llm"',
                reason="NO_REWARD_MODEL",
            )
        self._template = read_template(template)
        if self._template is None and not getattr(llm.get_tokenizer(), "chat_template", None):
            raise FailedPreconditionError(
                f"{llm.model_config.model!r} comes without a chat template, by which conversations are written; set chat_template",
                reason="NO_CHAT_TEMPLATE",
            )
        self._max_model_len = max_model_len
        self._control_tokens = _any_of(
            token.content for token in llm.get_tokenizer().added_tokens_decoder.values() if token.special
        )

    async def render(self, llm: AsyncLLM, request: inference_pb2.ScoreAnswersRequest) -> list[Any]:
        """The engine's input for each answer.

        Args:
            llm: The engine as it is now; its renderer applies the template.
            request: The request.

        Raises:
            InvalidArgumentError: There is an image, the template refuses the conversation, or it is too long with an answer.
        """
        answers = [types_pb2.Message(assistant=answer) for answer in request.answers]
        for path, _ in images_of(request.messages):
            raise InvalidArgumentError.of(path, "reward models take text only; leave the image out")
        for index, answer in enumerate(request.answers):
            plain_text(answer.content, f"answers[{index}].content")
        tools = self._harmless(to_template_tools(request.tools)) if request.tools else None
        parameters = ChatParams(
            chat_template=self._template, chat_template_kwargs={"add_generation_prompt": False, "tools": tools}
        )
        conversations = [self._harmless(to_template_messages([*request.messages, answer])) for answer in answers]
        prompts = (self._prompt(llm, index, one, parameters) for index, one in enumerate(conversations))
        return await asyncio.gather(*prompts)

    async def _prompt(self, llm: AsyncLLM, index: int, conversation: list[JsonObject], parameters: ChatParams) -> Any:
        try:
            _, (prompt,) = await llm.renderer.render_chat_async([conversation], parameters)
        except (jinja2.TemplateError, VLLMClientError, ValueError, TypeError) as error:
            raise InvalidArgumentError.of(
                f"answers[{index}]", f"the model's chat template refuses the conversation with it: {error}"
            ) from error
        tokens = len(prompt["prompt_token_ids"])
        if tokens > self._max_model_len:
            raise InvalidArgumentError.of(
                f"answers[{index}]",
                f"the conversation has {tokens} tokens with it and the model takes {self._max_model_len}; shorten one of them",
                reason="PROMPT_TOO_LONG",
            )
        return prompt

    def _harmless(self, value: Any) -> Any:
        """A JSON value without control tokens in its texts."""
        match value:
            case str() if self._control_tokens is not None:
                return self._control_tokens.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", value)
            case dict():
                return {key: self._harmless(one) for key, one in value.items()}
            case list():
                return [self._harmless(one) for one in value]
            case _:
                return value


def _any_of(words: Iterable[str]) -> re.Pattern[str] | None:
    found = sorted((re.escape(word) for word in words if len(word) > 1), key=len, reverse=True)
    return re.compile("|".join(found)) if found else None


def reward_params() -> PoolingParams:
    """The engine's parameters: the logit itself, not its sigmoid."""
    return PoolingParams(task="classify", use_activation=False)


def score_response(outputs: Sequence[PoolingRequestOutput[Any]]) -> inference_pb2.ScoreAnswersResponse:
    """The response made of the scores of several calls, in their order."""
    return inference_pb2.ScoreAnswersResponse(
        scores=[float(output.outputs.data.float().item()) for output in outputs],
        metrics=usage(prompt=sum(len(output.prompt_token_ids) for output in outputs)),
    )
