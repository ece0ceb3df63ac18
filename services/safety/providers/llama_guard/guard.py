"""Asks a guard model about one conversation."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.gateway import Gateway
from services.safety import guard_prompts
from services.safety.guard_prompts import GuardFormat, Turn
from services.safety.hazards import Hazard
from services.safety.hops import TOKEN_KEY, hops_metadata

_LOOKUP_SECONDS = 5.0
_TOP_LOGPROBS = 20
_PROMPT_TOO_LONG = "PROMPT_TOO_LONG"
# What a remote server's complaint about a prompt's length is about.
_CONTENT_FIELDS = ("messages", "content")


class PromptTooLongError(Exception):
    """The conversation does not fit into the guard model's context."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a guard model says about a conversation's last turn."""

    hazards: tuple[Hazard, ...]
    """The categories that it named; none: it wrote `safe`."""
    probability: float | None
    """Of `unsafe`. None: the model's server tells no probabilities."""


class Guards:
    """The guard models behind the gateway."""

    def __init__(self, gateway: Gateway, token: SecretStr | None, timeout: float) -> None:
        """Sets the way to them.

        Args:
            gateway: The gateway.
            token: Exempts the guards' own calls from shields that are always on. None: nothing does.
            timeout: Longest time in seconds for an answer.
        """
        self._gateway = gateway
        self._token = token
        self._timeout = timeout

    async def model(self, model_id: str) -> models_pb2.Model:
        """Returns what the registry knows of a model.

        Raises:
            NotFoundError: There is none.
        """
        stub = models_pb2_grpc.ModelsServiceStub(self._gateway.channel)
        request = models_pb2.GetModelRequest(model_id=model_id)
        return (await self._gateway.call(stub.GetModel, request, timeout=_LOOKUP_SECONDS)).model

    async def ask(
        self, model_id: str, turns: Sequence[Turn], listed: Sequence[Hazard], guard_format: GuardFormat
    ) -> Answer:
        """Returns what a guard says about the last turn.

        Args:
            model_id: The guard model.
            turns: The conversation.
            listed: The categories to look for.
            guard_format: Generation of the guard model.

        Raises:
            PromptTooLongError: The conversation does not fit.
            NotFoundError: The model is gone.
            FailedPreconditionError: The answer is no verdict, or the model refuses the question.
        """
        content = guard_prompts.render(turns, listed, guard_format)
        sampling = types_pb2.SamplingParams(
            greedy=types_pb2.GreedySamplingStrategy(), max_tokens=guard_prompts.LONGEST_ANSWER
        )
        logprobs = types_pb2.LogProbConfig(top_k=_TOP_LOGPROBS)
        try:
            if guard_format is GuardFormat.LLAMA_GUARD_2:
                completion = inference_pb2.CompletionRequest(
                    model_id=model_id,
                    content=content,
                    sampling_params=sampling,
                    response_format=guard_prompts.grammar(listed),
                    logprobs=logprobs,
                )
                text, positions = await self._complete(completion)
            else:
                chat = inference_pb2.ChatCompletionRequest(
                    model_id=model_id,
                    messages=[types_pb2.Message(user=types_pb2.UserMessage(content=content))],
                    sampling_params=sampling,
                    response_format=guard_prompts.grammar(listed),
                    logprobs=logprobs,
                )
                text, positions = await self._chat(chat)
        except InvalidArgumentError as error:
            if error.reason == _PROMPT_TOO_LONG or any(one.field in _CONTENT_FIELDS for one in error.violations):
                raise PromptTooLongError(error.message) from error
            message = f"guard model {model_id} refuses the question: {error.message}"
            raise FailedPreconditionError(message, reason="GUARD_REFUSED") from error
        hazards = guard_prompts.verdict(text, listed).hazards
        first = positions[0].logprobs_by_token if positions else {}
        return Answer(hazards, guard_prompts.unsafe_probability(first))

    async def _complete(
        self, request: inference_pb2.CompletionRequest
    ) -> tuple[str, Sequence[types_pb2.TokenLogProbs]]:
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        response = await self._gateway.call(stub.Completion, request, timeout=self._timeout, metadata=self._metadata())
        return response.content, response.logprobs

    async def _chat(
        self, request: inference_pb2.ChatCompletionRequest
    ) -> tuple[str, Sequence[types_pb2.TokenLogProbs]]:
        stub = inference_pb2_grpc.InferenceServiceStub(self._gateway.channel)
        response = await self._gateway.call(
            stub.ChatCompletion, request, timeout=self._timeout, metadata=self._metadata()
        )
        return "".join(item.text for item in response.completion_message.content.items), response.logprobs

    def _metadata(self) -> list[tuple[str, str]]:
        token = [] if self._token is None else [(TOKEN_KEY, self._token.get_secret_value())]
        return [*hops_metadata(), *token]
