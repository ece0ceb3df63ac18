"""How a model family writes conversations and tool calls: Llama 3's own format, and everybody else's chat template."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vllm.sampling_params import StructuredOutputsParams

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.chat import AnswerDecoder, PlainText
from services.inference.generation import Piece
from services.inference.ports import ChatRequest
from services.inference.prompts.llama3 import END_OF_MESSAGE, END_OF_TURN, render_chat, render_completion
from services.inference.providers.vllm.constraints import field_of, from_response_format
from services.inference.providers.vllm.tokens import PromptTokens
from services.inference.tool_calls.constraint import tool_call_constraint
from services.inference.tool_calls.decode import StreamDecoder
from services.inference.tool_choice import check_tool_choice

TOOL_FORMATS = {
    "json": types_pb2.TOOL_PROMPT_FORMAT_JSON,
    "function_tag": types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG,
    "python_list": types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST,
}


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A conversation, ready for the engine."""

    prompt: Any
    """The engine's input."""
    decoder: AnswerDecoder
    """Tells tool calls from text in the answer."""
    constraint: StructuredOutputsParams | None = None
    """Form that the answer must have."""
    constraint_field: str = "response_format"
    """Path of the field that the constraint comes from."""
    keep_control_tokens: bool = False
    """Whether the decoder needs to see control tokens."""


class ChatFormat(Protocol):
    """How a model family writes conversations."""

    stop_token_ids: Sequence[int]
    end_of_message: int | None

    async def encode_completion(self, content: types_pb2.InterleavedContent) -> list[int]:
        """Encodes a text to continue, behind whatever begins one for this model.

        Raises:
            InvalidArgumentError: It fills the model's context.
        """

    async def render(self, request: ChatRequest) -> RenderedChat:
        """Renders a conversation.

        Raises:
            InvalidArgumentError: The conversation cannot be rendered for this model.
        """


class Llama3Chat:
    """Llama 3's prompt format and tool-call forms."""

    def __init__(self, tokens: PromptTokens, tokenizer: Any, default_format: str) -> None:
        """Looks up the control tokens.

        Args:
            tokens: Encodes the prompts.
            tokenizer: The model's tokenizer.
            default_format: Form of tool calls when a request names none: `json`, `function_tag` or `python_list`.
        """
        self._tokens = tokens
        self._default_format = TOOL_FORMATS[default_format]
        vocabulary = tokenizer.get_vocab()
        self.end_of_message: int | None = vocabulary.get(END_OF_MESSAGE)
        ends = (vocabulary.get(END_OF_TURN), self.end_of_message)
        self.stop_token_ids: Sequence[int] = [token for token in ends if token is not None]

    async def encode_completion(self, content: types_pb2.InterleavedContent) -> list[int]:
        """Encodes a text to continue, behind Llama 3's token for the beginning of one."""
        return await self._tokens.encode(render_completion(content), "content")

    async def render(self, request: ChatRequest) -> RenderedChat:
        """Renders a conversation in Llama 3's format."""
        check_tool_choice(request)
        prompt = render_chat(
            request.messages,
            tools=request.tools,
            tool_config=request.tool_config,
            default_format=self._default_format,
        )
        if prompt.images:
            raise InvalidArgumentError.of(
                "messages", "the model takes no images; send text alone, or choose a model that does"
            )
        ids = await self._tokens.encode(prompt, "messages")
        offered = request.tool_config.tool_choice != types_pb2.TOOL_CHOICE_NONE and request.tools
        if request.HasField("response_format"):
            return RenderedChat(
                token_prompt(ids, constrained=True),
                PlainText(),
                from_response_format(request.response_format),
                field_of(request.response_format),
            )
        if not offered:
            return RenderedChat(token_prompt(ids), PlainText())
        demand = tool_call_constraint(request.tools, prompt.tool_prompt_format, request.tool_config)
        return RenderedChat(
            token_prompt(ids, constrained=demand is not None),
            Llama3Answer(StreamDecoder(request.tools, prompt.tool_prompt_format)),
            StructuredOutputsParams(**{demand.kind: demand.value}) if demand is not None else None,
            "tools",
            keep_control_tokens=True,
        )


@dataclass(frozen=True, slots=True)
class Llama3Answer:
    """Llama 3's tool calls in an answer."""

    decoder: StreamDecoder
    """Reads them from the text."""

    def feed(self, piece: Piece) -> Sequence[types_pb2.ContentDelta]:
        """Takes the next piece and returns what is certain by now."""
        return self.decoder.feed(piece.text)

    def finish(self, stop_reason: types_pb2.StopReason.ValueType) -> Sequence[types_pb2.ContentDelta]:
        """Returns what was held back."""
        return self.decoder.finish(stop_reason)


def token_prompt(ids: list[int], *, constrained: bool = False) -> dict[str, Any]:
    """The engine's input for token ids.

    Args:
        ids: The prompt.
        constrained: The call has structured outputs: vLLM compiles them while it takes the input, which must not happen on the event
            loop. A typed input is taken on the loop, an untyped one in vLLM's own thread.
    """
    return {"prompt_token_ids": ids} if constrained else {"type": "token", "prompt_token_ids": ids}
