"""Models of other families: their own chat template, vLLM's renderer for it, and vLLM's parser of their tool calls."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.exceptions import VLLMClientError
from vllm.renderers.params import ChatParams
from vllm.sampling_params import StructuredOutputsParams
from vllm.tool_parsers import ToolParser, ToolParserManager
from vllm.v1.engine.async_llm import AsyncLLM

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.fetch import FetchLimits
from services.inference.chat import AnswerDecoder, PlainText
from services.inference.generation import Piece
from services.inference.images import images_of, load_images
from services.inference.openai_tool_calls import ToolCallStream
from services.inference.plain_text import plain_text
from services.inference.ports import ChatRequest
from services.inference.prompts.families import to_template_messages, to_template_tools
from services.inference.providers.vllm.config import VllmConfig
from services.inference.providers.vllm.constraints import field_of, from_response_format
from services.inference.providers.vllm.formats import Llama3Answer, RenderedChat
from services.inference.providers.vllm.tokens import PromptTokens
from services.inference.tool_calls.constraint import tool_call_constraint
from services.inference.tool_calls.decode import StreamDecoder
from services.inference.tool_calls.json_values import JsonObject
from services.inference.tool_choice import check_tool_choice

# A demanded call is enforced in this form whatever the family: the constraint writes it, not the model's habits.
DEMANDED_FORMAT = types_pb2.TOOL_PROMPT_FORMAT_JSON


class TemplateChat:
    """The conversation format that a checkpoint brings with it."""

    stop_token_ids: Sequence[int] = ()
    end_of_message: int | None = None

    def __init__(self, config: VllmConfig, llm: AsyncLLM, tokens: PromptTokens) -> None:
        """Reads the template and finds the tool parser.

        Args:
            config: The provider's configuration.
            llm: The engine; its renderer applies the template.
            tokens: Knows the model's context.

        Raises:
            FailedPreconditionError: The configured template or parser does not exist.
        """
        self._renderer = llm.renderer
        self._tokenizer = llm.get_tokenizer()
        self._tokens = tokens
        self._takes_images = bool(llm.model_config.is_multimodal_model)
        self._template = read_template(config.chat_template)
        self._parser = _tool_parser(config.tool_call_parser)
        self._limits = FetchLimits(config.image_fetch_timeout, config.max_image_bytes, config.allow_private_image_urls)

    async def encode_completion(self, content: types_pb2.InterleavedContent) -> list[int]:
        """Encodes a text to continue, with the special tokens that the tokenizer adds by itself."""
        ids: list[int] = await asyncio.to_thread(self._tokenizer.encode, plain_text(content, "content"))
        self._tokens.check_room(len(ids), "content")
        return ids

    async def render(self, request: ChatRequest) -> RenderedChat:
        """Renders a conversation by the model's template."""
        check_tool_choice(request)
        offers = bool(request.tools) and request.tool_config.tool_choice != types_pb2.TOOL_CHOICE_NONE
        tools = to_template_tools(request.tools) if offers else None
        prompt = await self._prompt(await self._messages(request), tools)
        if request.HasField("response_format"):
            wanted = request.response_format
            return RenderedChat(prompt, PlainText(), from_response_format(wanted), field_of(wanted))
        if not offers:
            return RenderedChat(prompt, PlainText())
        demand = tool_call_constraint(request.tools, DEMANDED_FORMAT, request.tool_config)
        if demand is not None:
            decoder = Llama3Answer(StreamDecoder(request.tools, DEMANDED_FORMAT))
            return RenderedChat(prompt, decoder, StructuredOutputsParams(**{demand.kind: demand.value}), "tools")
        return RenderedChat(prompt, self._answer(request, tools or []), keep_control_tokens=True)

    async def _messages(self, request: ChatRequest) -> list[JsonObject]:
        messages = to_template_messages(request.messages)
        found = list(images_of(request.messages))
        if found and not self._takes_images:
            raise InvalidArgumentError.of(
                found[0][0], "the model takes no images; send text alone, or choose a model that does"
            )
        # Templates find the system messages first, wherever they stood.
        found.sort(key=lambda image: ".system." not in image[0])
        _fill_in(messages, iter(await load_images(found, self._limits)))
        return messages

    async def _prompt(self, messages: list[JsonObject], tools: list[JsonObject] | None) -> Any:
        parameters = ChatParams(
            chat_template=self._template, chat_template_kwargs={"tools": tools, "add_generation_prompt": True}
        )
        try:
            _, (prompt,) = await self._renderer.render_chat_async([messages], parameters)
        except (jinja2.TemplateError, VLLMClientError, ValueError, TypeError) as error:
            raise InvalidArgumentError.of("messages", f"the model's chat template refuses them: {error}") from error
        self._tokens.check_room(len(prompt["prompt_token_ids"]), "messages")
        return prompt

    def _answer(self, request: ChatRequest, tools: list[JsonObject]) -> AnswerDecoder:
        if self._parser is None:
            raise FailedPreconditionError(
                "this provider was started without a tool parser for its model; set tool_call_parser, or demand a call by tool_config",
                reason="NO_TOOL_PARSER",
            )
        parsed = ChatCompletionRequest(messages=[{"role": "user", "content": ""}], tools=tools, tool_choice="auto")
        is_streamed = isinstance(request, inference_pb2.StreamChatCompletionRequest)
        return ParsedAnswer(self._parser(self._tokenizer, parsed.tools), parsed, is_streamed=is_streamed)


class ParsedAnswer:
    """Tool calls in an answer, as one of vLLM's parsers reads them."""

    def __init__(self, parser: ToolParser, request: ChatCompletionRequest, *, is_streamed: bool) -> None:
        """Starts before the first piece.

        Args:
            parser: A fresh parser.
            request: The tools, as the parser wants them.
            is_streamed: Reads while the answer comes. Otherwise once, at its end, which parsers do better.
        """
        self._parser = parser
        self._request = request
        self._is_streamed = is_streamed
        self._text = ""
        self._token_ids: list[int] = []
        self._calls = ToolCallStream([tool.function.name for tool in request.tools or ()])

    def feed(self, piece: Piece) -> Sequence[types_pb2.ContentDelta]:
        """Takes the next piece and returns what is certain by now."""
        before, before_ids = self._text, list(self._token_ids)
        self._text += piece.text
        self._token_ids += piece.token_ids
        if not self._is_streamed:
            return ()
        delta = self._parser.extract_tool_calls_streaming(
            before, self._text, piece.text, before_ids, self._token_ids, list(piece.token_ids), self._request
        )
        return self._deltas(delta.content, delta.tool_calls) if delta is not None else ()

    def finish(self, stop_reason: types_pb2.StopReason.ValueType) -> Sequence[types_pb2.ContentDelta]:
        """Returns what was held back."""
        del stop_reason
        whole: Sequence[types_pb2.ContentDelta] = ()
        if not self._is_streamed:
            found = self._parser.extract_tool_calls(self._text, self._request)
            whole = (
                self._deltas(found.content, found.tool_calls) if found.tools_called else self._deltas(self._text, [])
            )
        return [*whole, *_as_content(self._calls.finish())]

    def _deltas(self, text: str | None, calls: Sequence[Any]) -> list[types_pb2.ContentDelta]:
        texts = [types_pb2.ContentDelta(text=text)] if text else []
        return [*texts, *_as_content(self._calls.feed([call.model_dump(exclude_none=True) for call in calls]))]


def _as_content(deltas: Sequence[types_pb2.ToolCallDelta]) -> list[types_pb2.ContentDelta]:
    return [types_pb2.ContentDelta(tool_call=delta) for delta in deltas]


def _fill_in(messages: list[JsonObject], images: Iterator[Image.Image]) -> None:
    """Puts the decoded images where the messages have placeholders."""
    for message in messages:
        if isinstance(message["content"], list):
            message["content"] = [
                {"type": "image_pil", "image_pil": next(images)} if part["type"] == "image" else part
                for part in message["content"]
            ]


def read_template(path: str | None) -> str | None:
    """Reads a chat template from a file; None stays None.

    Raises:
        FailedPreconditionError: It cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).read_text()
    except OSError as error:
        raise FailedPreconditionError(
            f"chat_template: cannot read {path}: {error.strerror}", reason="NO_CHAT_TEMPLATE"
        ) from error


def _tool_parser(name: str | None) -> type[ToolParser] | None:
    if name is None:
        return None
    try:
        parser: type[ToolParser] = ToolParserManager.get_tool_parser(name)
    except KeyError as error:
        raise FailedPreconditionError(
            f"tool_call_parser: vLLM has no parser {name!r}", reason="NO_TOOL_PARSER"
        ) from error
    return parser
