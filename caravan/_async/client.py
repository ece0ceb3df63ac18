"""The client."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

import grpc
from google.protobuf.message import Message

from caravan import replies
from caravan._async.agents import AsyncAgents
from caravan._async.calls import AsyncCalls
from caravan._async.datasets import AsyncDatasets
from caravan._async.inference import AsyncInference
from caravan._async.memory import AsyncMemory
from caravan._async.post_training import AsyncPostTraining
from caravan._async.registry import (
    AsyncMemoryBanks,
    AsyncModels,
    AsyncProviders,
    AsyncRoutes,
    AsyncShields,
    AsyncToolGroups,
)
from caravan._async.reward_scoring import AsyncRewardScoring
from caravan._async.safety import AsyncSafety
from caravan._async.streams import AsyncStream
from caravan._async.synthetic_data import AsyncSyntheticData
from caravan._async.transport import AsyncTransport
from caravan.config import DEFAULT_TIMEOUT, TLS, CallOptions, RetryPolicy, connection
from caravan.inference.v1 import inference_pb2
from caravan.inspect.v1 import inspect_pb2
from caravan.messages import ContentLike, MessageLike
from caravan.parameters import ChatParameters, SamplingParameters, chat_request, completion_request
from caravan.replies import Gathered, Reply

R = TypeVar("R", bound=Message)
S = TypeVar("S")


class AsyncClient:
    """A client of a Caravan gateway, for asyncio. Cheap to make; connects with the first call.

        async with caravan.AsyncClient("localhost:8321") as client:
            async for text in client.chat("caravan-chat", "Tell me a joke.", stream=True).texts():
                print(text, end="")

    Every call raises exceptions of `caravan.errors` only.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: TLS | bool | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        direct: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Settles how to connect; opens nothing yet.

        Args:
            target: Address of the gateway, `host:port`. Default: CARAVAN_TARGET, else `localhost:8321`.
            tls: Certificates; True: encrypted, with the system's trusted certificates. Default: not encrypted.
            timeout: Seconds until a call fails, retries included; None: never.
            retry: When a call that found nobody is made again.
            direct: Ask the gateway for the replica that serves a model and dial that, without the extra hop; the gateway stands in when the
                replica cannot be reached.
            metadata: Request metadata of every call, for instance `{"authorization": "Bearer ..."}`.

        Raises:
            InvalidInputError: The address is none.
        """
        transport = AsyncTransport(connection(target, tls))
        options = CallOptions(timeout, retry or RetryPolicy(), dict(metadata or {}), direct=direct)
        self._calls = AsyncCalls(transport, options)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        direct: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        provider_id: str | None = None,
    ) -> Self:
        """A client on the same connections with other options.

            client.with_options(timeout=5).chat("caravan-chat", "Hi")

        Args:
            timeout: Seconds until a call fails; `float("inf")`: never.
            retry: When a call that found nobody is made again.
            direct: Dial the replica itself.
            metadata: Request metadata to add.
            request_id: Identifier of the requests in the servers' logs.
            provider_id: Provider to ask, for an API that has several and no resources.
        """
        added = {**(metadata or {}), **({"caravan-provider-id": provider_id} if provider_id else {})}
        options = self._calls.options.changed(
            timeout=timeout, retry=retry, direct=direct, metadata=added, request_id=request_id
        )
        other = object.__new__(type(self))
        other._calls = AsyncCalls(self._calls.transport, options)
        return other

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return self._calls.transport.connection.target

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the gateway."""
        return self._calls.transport.channel

    def stub(self, stub_type: Callable[[grpc.aio.Channel], S]) -> S:
        """A generated stub on the gateway's channel. Its calls raise gRPC's own errors.

        Args:
            stub_type: Class of the stub, for instance `inference_pb2_grpc.InferenceServiceStub`.
        """
        return stub_type(self.channel)

    async def call(self, request: Message, response_type: type[R]) -> R:
        """Makes any call that has one response, with this client's options, retries and errors.

        Args:
            request: The request; its class says which RPC this is.
            response_type: Class of the response.
        """
        return await self._calls.unary(request, response_type)

    def call_stream(self, request: Message, response_type: type[R]) -> AsyncGenerator[R, None]:
        """Makes any call whose response is a stream, with this client's options, retries and errors.

        Args:
            request: The request; its class says which RPC this is.
            response_type: Class of each response.
        """
        return self._calls.stream(request, response_type)

    @overload
    def chat(
        self,
        model_id: str,
        messages: MessageLike | Iterable[MessageLike],
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[ChatParameters],
    ) -> Awaitable[Reply]: ...

    @overload
    def chat(
        self,
        model_id: str,
        messages: MessageLike | Iterable[MessageLike],
        *,
        stream: Literal[True],
        **parameters: Unpack[ChatParameters],
    ) -> AsyncStream[inference_pb2.StreamChatCompletionResponse]: ...

    def chat(
        self,
        model_id: str,
        messages: MessageLike | Iterable[MessageLike],
        *,
        stream: bool = False,
        **parameters: Unpack[ChatParameters],
    ) -> Awaitable[Reply] | AsyncStream[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation.

        Args:
            model_id: Model to ask.
            messages: A string (what a user says), a dict `{"role": "user", "content": ...}`, a message, or several of these.
            stream: Return a stream of events instead of the whole answer.
            **parameters: `system`, `tools`, `tool_choice`, `max_tokens`, `temperature`, ...; see ChatParameters.
        """
        if not stream:
            return self._chat(model_id, messages, parameters)
        request = chat_request(inference_pb2.StreamChatCompletionRequest, model_id, messages, parameters)
        return AsyncStream(
            lambda: self._calls.stream(request, inference_pb2.StreamChatCompletionResponse), Gathered.add_chat_event
        )

    @overload
    def complete(
        self,
        model_id: str,
        content: ContentLike,
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[SamplingParameters],
    ) -> Awaitable[Reply]: ...

    @overload
    def complete(
        self,
        model_id: str,
        content: ContentLike,
        *,
        stream: Literal[True],
        **parameters: Unpack[SamplingParameters],
    ) -> AsyncStream[inference_pb2.StreamCompletionResponse]: ...

    def complete(
        self,
        model_id: str,
        content: ContentLike,
        *,
        stream: bool = False,
        **parameters: Unpack[SamplingParameters],
    ) -> Awaitable[Reply] | AsyncStream[inference_pb2.StreamCompletionResponse]:
        """Continues a text.

        Args:
            model_id: Model to ask.
            content: The text.
            stream: Return a stream of pieces instead of the whole text.
            **parameters: `max_tokens`, `temperature`, ...; see SamplingParameters.
        """
        if not stream:
            return self._complete(model_id, content, parameters)
        request = completion_request(inference_pb2.StreamCompletionRequest, model_id, content, parameters)
        return AsyncStream(
            lambda: self._calls.stream(request, inference_pb2.StreamCompletionResponse), Gathered.add_piece
        )

    async def embed(
        self, model_id: str, contents: str | Iterable[ContentLike], *, output_dimension: int | None = None
    ) -> list[list[float]]:
        """Turns contents into vectors, in order.

        Args:
            model_id: Embedding model to ask.
            contents: One text, or several contents.
            output_dimension: Length of the vectors, for models that can shorten them.
        """
        response = await self.inference.embeddings(model_id, contents, output_dimension=output_dimension)
        return [list(embedding.values) for embedding in response.embeddings]

    async def health(self) -> inspect_pb2.HealthResponse:
        """Tells whether the gateway can route and which providers answer."""
        return await self._calls.unary(inspect_pb2.HealthRequest(), inspect_pb2.HealthResponse)

    async def version(self) -> str:
        """The gateway's version."""
        return (await self._calls.unary(inspect_pb2.VersionRequest(), inspect_pb2.VersionResponse)).version

    @cached_property
    def inference(self) -> AsyncInference:
        """Text generation and embeddings, with the contract's own responses."""
        return AsyncInference(self._calls)

    @cached_property
    def agents(self) -> AsyncAgents:
        """Agents, their sessions and turns."""
        return AsyncAgents(self._calls)

    @cached_property
    def memory(self) -> AsyncMemory:
        """Documents, chunks and values in memory banks, and searching them."""
        return AsyncMemory(self._calls)

    @cached_property
    def datasets(self) -> AsyncDatasets:
        """Data sets and their rows."""
        return AsyncDatasets(self._calls)

    @cached_property
    def post_training(self) -> AsyncPostTraining:
        """Trainings: jobs, their events and what they make."""
        return AsyncPostTraining(self._calls)

    @cached_property
    def reward_scoring(self) -> AsyncRewardScoring:
        """Scoring answers by reward models."""
        return AsyncRewardScoring(self._calls)

    @cached_property
    def synthetic_data(self) -> AsyncSyntheticData:
        """Making data by models."""
        return AsyncSyntheticData(self._calls)

    @cached_property
    def safety(self) -> AsyncSafety:
        """Judging content by shields."""
        return AsyncSafety(self._calls)

    @cached_property
    def models(self) -> AsyncModels:
        """The models."""
        return AsyncModels(self._calls)

    @cached_property
    def shields(self) -> AsyncShields:
        """The safety shields."""
        return AsyncShields(self._calls)

    @cached_property
    def memory_banks(self) -> AsyncMemoryBanks:
        """The memory banks."""
        return AsyncMemoryBanks(self._calls)

    @cached_property
    def tool_groups(self) -> AsyncToolGroups:
        """The tool groups."""
        return AsyncToolGroups(self._calls)

    @cached_property
    def providers(self) -> AsyncProviders:
        """The configured providers."""
        return AsyncProviders(self._calls)

    @cached_property
    def routes(self) -> AsyncRoutes:
        """Where calls go."""
        return AsyncRoutes(self._calls)

    async def close(self) -> None:
        """Closes the connections, those of clients made by `with_options` too."""
        await self._calls.transport.close()

    async def __aenter__(self) -> Self:
        """Returns the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self.close()

    async def _chat(
        self, model_id: str, messages: MessageLike | Iterable[MessageLike], parameters: ChatParameters
    ) -> Reply:
        return replies.of_chat(await self.inference.chat_completion(model_id, messages, **parameters))

    async def _complete(self, model_id: str, content: ContentLike, parameters: SamplingParameters) -> Reply:
        return replies.of_completion(await self.inference.completion(model_id, content, **parameters))
