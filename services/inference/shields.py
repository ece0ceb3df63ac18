"""Shields that always guard a model, whoever calls it.

They judge what goes in before anything is generated, and what comes out before anybody sees it.
"""

import hmac
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias, cast

from pydantic import SecretStr

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.inference.ports import ChatRequest, CompletionRequest, InferenceProvider
from services.inference.shields_following import AlwaysOnShield, ShieldFollower
from services.inference.shields_gateway import HOPS_KEY, RECURSION, TOKEN_KEY, Safety
from services.inference.shields_streaming import ShieldedAnswer

Metadata: TypeAlias = Callable[[], Iterable[tuple[str, str | bytes]] | None]

WARNINGS = "shield_warnings"
"""Metric of a response: warnings of the shields that always guard the model."""


class Generator(Protocol):
    """What generates: a provider, or a provider behind shields."""

    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Continues a text."""

    def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text, piece by piece."""

    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""

    def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation, event by event."""


class AlwaysOn:
    """Knows which calls are guarded."""

    def __init__(
        self, provider: InferenceProvider, follower: ShieldFollower, safety: Safety, token: SecretStr | None
    ) -> None:
        """Sets what is guarded, and by what.

        Args:
            provider: What generates.
            follower: Knows the shields.
            safety: Has them judge.
            token: Exempts calls that bring it, the guards' own. None: none is exempt.
        """
        self._provider = provider
        self._follower = follower
        self._safety = safety
        self._token = token.get_secret_value().encode() if token is not None and token.get_secret_value() else None
        # The generations of the lists that `_known` was made from.
        self._shields = self._models = -1
        self._known: dict[str, Generator] = {}

    def generator(self, model_id: str, metadata: Metadata) -> Generator:
        """Returns what generates for a call: the provider itself, or the provider behind the model's shields.

        Args:
            model_id: The model that the call names.
            metadata: Returns the call's metadata.

        Raises:
            UnavailableError: It is not known yet which shields guard the model.
            FailedPreconditionError: The call comes from a guard that is guarded itself.
        """
        known = self._known.get(model_id)
        # Most calls: the list of shields has not changed, and none of them guards the model.
        if known is self._provider and self._is_current():
            return known
        return self._checked(model_id, metadata)

    def _is_current(self) -> bool:
        return self._shields == self._follower.generation and self._models == self._provider.models.generation

    def _checked(self, model_id: str, metadata: Metadata) -> Generator:
        headers = {key: value for key, value in metadata() or () if key in (TOKEN_KEY, HOPS_KEY)}
        if self._is_exempt(headers.get(TOKEN_KEY)):
            return self._provider
        generator = self._look_up(model_id)
        if generator is not self._provider and HOPS_KEY in headers:
            message = (
                f"model {model_id!r} answers a shield and is always guarded by shields itself, so it would be asked without end: "
                "set the same shield_token in the safety and the inference service, or take the model out of always_on_model_ids"
            )
            raise FailedPreconditionError(message, reason=RECURSION)
        return generator

    def _is_exempt(self, given: str | bytes | None) -> bool:
        if self._token is None or given is None:
            return False
        return hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._token)

    def _look_up(self, model_id: str) -> Generator:
        models = self._provider.models
        if not self._is_current():
            self._shields, self._models = self._follower.generation, models.generation
            self._known = {}
        known = self._known.get(model_id)
        if known is None:
            shields = self._follower.guarding(models.names(model_id))
            known = ShieldedGenerator(self._provider, shields, self._safety) if shields else self._provider
            if model_id in models:
                self._known[model_id] = known
        return known


class ShieldedGenerator:
    """A provider behind shields."""

    def __init__(self, provider: InferenceProvider, shields: tuple[AlwaysOnShield, ...], safety: Safety) -> None:
        """Puts shields before a provider.

        Args:
            provider: What generates.
            shields: The shields.
            safety: Has them judge.
        """
        self._provider = provider
        self._shields = shields
        self._safety = safety

    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Continues a text."""
        request, prompt, before = await self._with_safe_prompt(request)
        response = await self._provider.completion(request)
        content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=response.content)])
        answer = types_pb2.Message(assistant=types_pb2.CompletionMessage(content=content))
        judged, after = await self._judge_output([prompt, answer])
        text = "".join(item.text for item in judged.assistant.content.items)
        if text != response.content:
            response.content = text
            # They spell out what was masked.
            del response.logprobs[:]
        _show(response.metrics, before + after)
        return response

    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""
        request, before = await self._with_safe_messages(request)
        response = await self._provider.chat_completion(request)
        answer = types_pb2.Message(assistant=response.completion_message)
        judged, after = await self._judge_output([*request.messages, answer])
        if judged != answer:
            response.completion_message.CopyFrom(judged.assistant)
            del response.logprobs[:]
        _show(response.metrics, before + after)
        return response

    async def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text, piece by piece."""
        request, prompt, before = await self._with_safe_prompt(request)
        answer = ShieldedAnswer(self._safety, self._shields, [prompt])
        pieces = cast("Any", self._provider.stream_completion(request))
        async with aclosing(pieces), aclosing(answer.completion(pieces)) as shielded:
            async for piece in shielded:
                if piece.stop_reason:
                    _show(piece.metrics, before + answer.warnings)
                yield piece

    async def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation, event by event."""
        request, before = await self._with_safe_messages(request)
        answer = ShieldedAnswer(self._safety, self._shields, request.messages)
        events = cast("Any", self._provider.stream_chat_completion(request))
        async with aclosing(events), aclosing(answer.chat(events)) as shielded:
            async for event in shielded:
                if event.HasField("complete"):
                    _show(event.complete.metrics, before + answer.warnings)
                yield event

    async def _with_safe_prompt(self, request: Any) -> tuple[Any, types_pb2.Message, int]:
        """The request with its prompt judged, the prompt as a message, and the number of warnings."""
        prompt = types_pb2.Message(user=types_pb2.UserMessage(content=request.content))
        judged, warnings = await self._safety.judge(self._shields, [prompt], direction="input", only_last=False)
        if judged[0] != prompt:
            request = _copy(request)
            request.content.CopyFrom(judged[0].user.content)
        return request, judged[0], warnings

    async def _with_safe_messages(self, request: Any) -> tuple[Any, int]:
        """The request with its messages judged, and the number of warnings."""
        given = list(request.messages)
        judged, warnings = await self._safety.judge(self._shields, given, direction="input", only_last=False)
        if judged != given:
            request = _copy(request)
            del request.messages[:]
            request.messages.extend(judged)
        return request, warnings

    async def _judge_output(self, messages: list[types_pb2.Message]) -> tuple[types_pb2.Message, int]:
        judged, warnings = await self._safety.judge(self._shields, messages, direction="output", only_last=True)
        return judged[-1], warnings


def _copy(request: Any) -> Any:
    copied = type(request)()
    copied.CopyFrom(request)
    return copied


def _show(metrics: Any, warnings: int) -> None:
    if warnings:
        metrics.add(metric=WARNINGS, value=warnings, unit="warnings")
