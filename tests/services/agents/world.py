"""The agents service on a real store, with scripted services behind the gateway's address."""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format

from caravan.agents.v1 import agents_pb2, agents_pb2_grpc, config_pb2, events_pb2, turns_pb2
from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.memory.v1 import keyvalue_pb2, keyvalue_pb2_grpc, memory_pb2, memory_pb2_grpc
from caravan.registry.v1 import memory_banks_pb2, memory_banks_pb2_grpc
from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.agents.app import build
from services.agents.settings import AgentsSettings
from services.agents.tools.maker import ToolSettings
from services.core.errors import CaravanError, UnavailableError
from services.core.gateway import GatewaySettings
from services.core.server import Binding, ServiceServer
from services.core.settings import ServiceSettings

Say = str | Sequence["str | types_pb2.ToolCall | CaravanError | Callable[[], Awaitable[None]]"]
"""One answer of the model: a text, or its pieces; an error breaks it off, a function is awaited."""


def call(name: str, call_id: str = "", **arguments: Any) -> types_pb2.ToolCall:
    """A call that the model asks for."""
    made = types_pb2.ToolCall(call_id=call_id or f"call-{name}", tool_name=name, arguments_json=json.dumps(arguments))
    made.arguments.update(arguments)
    return made


class Model(inference_pb2_grpc.InferenceServiceServicer):
    """Says what it was told, in order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: deque[Say] = deque()
        self.asked: list[inference_pb2.StreamChatCompletionRequest] = []
        self.running = 0
        self.out_of_tokens = False
        self.answers_to: Callable[[inference_pb2.StreamChatCompletionRequest], Say] = self._next

    def says(self, *answers: Say) -> None:
        """Adds answers; the last one is given again and again."""
        self.answers.extend(answers)

    def _next(self, request: inference_pb2.StreamChatCompletionRequest) -> Say:
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]

    async def StreamChatCompletion(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.asked.append(request)
        answer = self.answers_to(request)
        self.running += 1
        try:
            start = inference_pb2.StreamChatCompletionResponse.Start(delta={"text": ""})
            yield inference_pb2.StreamChatCompletionResponse(start=start)
            pieces = [answer] if isinstance(answer, str) else answer
            for piece in pieces:
                if isinstance(piece, CaravanError):
                    raise piece
                if callable(piece):
                    await piece()
                else:
                    yield _progress(piece)
            yield self._complete(any(isinstance(piece, types_pb2.ToolCall) for piece in pieces))
        finally:
            self.running -= 1

    def _complete(self, with_calls: bool) -> inference_pb2.StreamChatCompletionResponse:
        reason = types_pb2.STOP_REASON_END_OF_MESSAGE if with_calls else types_pb2.STOP_REASON_END_OF_TURN
        metrics = [
            types_pb2.MetricInResponse(metric="prompt_tokens", value=10, unit="tokens"),
            types_pb2.MetricInResponse(metric="completion_tokens", value=2, unit="tokens"),
        ]
        complete = inference_pb2.StreamChatCompletionResponse.Complete(
            stop_reason=types_pb2.STOP_REASON_OUT_OF_TOKENS if self.out_of_tokens else reason, metrics=metrics
        )
        return inference_pb2.StreamChatCompletionResponse(complete=complete)


def _progress(piece: str | types_pb2.ToolCall) -> inference_pb2.StreamChatCompletionResponse:
    delta = types_pb2.ContentDelta()
    if isinstance(piece, str):
        delta.text = piece
    else:
        delta.tool_call.tool_call.CopyFrom(piece)
        delta.tool_call.parse_status = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED
    progress = inference_pb2.StreamChatCompletionResponse.Progress(delta=delta)
    return inference_pb2.StreamChatCompletionResponse(progress=progress)


class Shields(safety_pb2_grpc.SafetyServiceServicer):
    """The shield `no-X` refuses texts with an X in them, `warn-X` warns of them, `mask-X` masks it."""

    def __init__(self) -> None:
        self.asked: list[safety_pb2.RunShieldsRequest] = []

    async def RunShields(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        response = safety_pb2.RunShieldsResponse()
        for shield_id in request.shield_ids:
            result = response.results.add(shield_id=shield_id)
            kind, _, word = shield_id.partition("-")
            if any(word in message.SerializeToString().decode(errors="replace") for message in request.messages):
                self._found(kind, word, request, result, response)
        return response

    def _found(self, kind: str, word: str, request: Any, result: Any, response: Any) -> None:
        if kind == "mask":
            for message in request.messages:
                masked = types_pb2.Message.FromString(
                    message.SerializeToString().replace(word.encode(), b"*" * len(word))
                )
                response.masked_messages.append(masked)
            result.masked_messages.extend(response.masked_messages)
            return
        is_error = kind == "no"
        level = types_pb2.VIOLATION_LEVEL_ERROR if is_error else types_pb2.VIOLATION_LEVEL_WARN
        result.violation.violation_level = level
        result.violation.user_message = f"I do not talk about {word}."
        if not response.HasField("violation") or level > response.violation.violation_level:
            response.violation.CopyFrom(result.violation)
            response.deciding_shield_id = result.shield_id

    async def StreamShield(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """Holds back as much as could still become part of the word."""
        first = await anext(aiter(requests))
        kind, _, word = first.shield_id.partition("-")
        text, released = "", 0
        async for request in requests:
            text += request.text
            if word in text and kind == "no":
                yield self._released(text[released : text.index(word)], text.index(word))
                complete = safety_pb2.ShieldComplete(result={"shield_id": first.shield_id})
                complete.result.violation.violation_level = types_pb2.VIOLATION_LEVEL_ERROR
                complete.result.violation.user_message = f"I do not talk about {word}."
                yield safety_pb2.StreamShieldResponse(complete=complete)
                return
            text = text.replace(word, "*" * len(word)) if kind == "mask" else text
            safe = len(text) if request.end_of_text else max(released, len(text) - len(word) + 1)
            yield self._released(text[released:safe], safe)
            released = safe
        yield safety_pb2.StreamShieldResponse(complete={"result": {"shield_id": first.shield_id}})

    @staticmethod
    def _released(text: str, end: int) -> safety_pb2.StreamShieldResponse:
        return safety_pb2.StreamShieldResponse(released=safety_pb2.ReleasedText(text=text, end=end))


class Banks(
    memory_pb2_grpc.MemoryServiceServicer,
    keyvalue_pb2_grpc.KeyValueServiceServicer,
    memory_banks_pb2_grpc.MemoryBanksServiceServicer,
):
    """Finds what it was given, in order, whatever is asked."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.searched: list[memory_pb2.QueryBanksRequest] = []
        self.inserted: list[memory_pb2.InsertDocumentsRequest] = []
        self.registered: list[str] = []
        self.dropped: list[str] = []

    async def QueryBanks(self, request: Any, context: Any) -> Any:
        self.searched.append(request)
        response = memory_pb2.QueryBanksResponse()
        for document_id, text in self.found:
            chunk = response.chunks.add(document_id=document_id, token_count=len(text.split()))
            chunk.content.items.add().text = text
            response.scores.append(0.5)
            response.hit_details.add(bank_id=request.bank_ids[0])
        return response

    async def BatchGetValues(self, request: Any, context: Any) -> Any:
        entries = [keyvalue_pb2.KeyValueEntry(key=key, value={"integer": 7}) for key in request.keys]
        return keyvalue_pb2.BatchGetValuesResponse(entries=entries)

    async def InsertDocuments(self, request: Any, context: Any) -> Any:
        self.inserted.append(request)
        return memory_pb2.InsertDocumentsResponse()

    async def RegisterMemoryBank(self, request: Any, context: Any) -> Any:
        self.registered.append(request.memory_bank_id)
        return memory_banks_pb2.RegisterMemoryBankResponse()

    async def UnregisterMemoryBank(self, request: Any, context: Any) -> Any:
        self.dropped.append(request.memory_bank_id)
        return memory_banks_pb2.UnregisterMemoryBankResponse()


@dataclass
class World:
    """Replicas of the agents service, and what is behind them."""

    redis_url: str
    address: str
    model: Model = field(default_factory=Model)
    shields: Shields = field(default_factory=Shields)
    banks: Banks = field(default_factory=Banks)

    @asynccontextmanager
    async def replica(self, **settings: Any) -> AsyncIterator["Replica"]:
        """Runs one replica in this process."""
        chosen = AgentsSettings(
            gateway=GatewaySettings(address=self.address),
            store={"redis_url": self.redis_url, "lease_seconds": 1.0, **settings.pop("store", {})},
            tools=ToolSettings(allow_private_addresses=True, **settings.pop("tools", {})),
            session_embedding_model="embeds",
            **{"scan_seconds": 0.1, "drain_seconds": 0.0, **settings},
        )
        server = build(chosen)
        await server.start()
        try:
            await server.wait_ready()
            async with grpc.aio.insecure_channel(server.address) as channel:
                yield Replica(agents_pb2_grpc.AgentsServiceStub(channel), server)
        finally:
            await server.stop()


@dataclass
class Replica:
    """One replica, as a client sees it."""

    stub: Any
    server: ServiceServer

    async def agent(self, **config: Any) -> str:
        """Creates an agent and returns its identifier."""
        parsed = json_format.ParseDict({"model": "m", **config}, config_pb2.AgentConfig())
        return (await self.stub.CreateAgent(agents_pb2.CreateAgentRequest(agent_config=parsed))).agent_id

    async def session(self, agent_id: str) -> str:
        """Creates a session and returns its identifier."""
        return (await self.stub.CreateSession(agents_pb2.CreateSessionRequest(agent_id=agent_id))).session_id

    async def talk(self, **config: Any) -> "Talk":
        """An agent with a session."""
        agent_id = await self.agent(**config)
        return Talk(self, agent_id, await self.session(agent_id))


@dataclass
class Talk:
    """A session."""

    replica: Replica
    agent_id: str
    session_id: str

    def request(self, text: str, **fields: Any) -> agents_pb2.StreamCreateTurnRequest:
        """The request of a turn."""
        names = {"agent_id": self.agent_id, "session_id": self.session_id}
        request = json_format.ParseDict({**names, **fields}, agents_pb2.StreamCreateTurnRequest())
        request.messages.add().user.content.items.add().text = text
        return request

    async def events(self, text: str, **fields: Any) -> list[events_pb2.TurnEvent]:
        """Runs a turn and returns its events."""
        stream = self.replica.stub.StreamCreateTurn(self.request(text, **fields), timeout=30)
        return [response.event async for response in stream]

    async def turn(self, text: str, **fields: Any) -> turns_pb2.Turn:
        """Runs a turn and returns it."""
        unary = agents_pb2.CreateTurnRequest.FromString(self.request(text, **fields).SerializeToString())
        return (await self.replica.stub.CreateTurn(unary, timeout=30)).turn

    async def resume(self, turn: turns_pb2.Turn, **results: str) -> turns_pb2.Turn:
        """Brings results by the names of the tools."""
        request = agents_pb2.ResumeTurnRequest(agent_id=self.agent_id, session_id=self.session_id, turn_id=turn.turn_id)
        for pending in turn.pending_tool_calls:
            if pending.tool_name in results:
                response = request.tool_responses.add(call_id=pending.call_id)
                response.content.items.add().text = results[pending.tool_name]
        return (await self.replica.stub.ResumeTurn(request, timeout=30)).turn

    async def watched(self, turn_id: str, from_sequence: int = 0) -> list[events_pb2.TurnEvent]:
        """All events of a turn."""
        request = agents_pb2.WatchTurnRequest(
            agent_id=self.agent_id, session_id=self.session_id, turn_id=turn_id, from_sequence=from_sequence
        )
        return [response.event async for response in self.replica.stub.WatchTurn(request, timeout=30)]


def outline(events: Sequence[events_pb2.TurnEvent]) -> list[str]:
    """The events' names, with the kinds of their steps; pieces of one step in a row count once."""
    lines: list[str] = []
    for event in events:
        name = str(event.payload.WhichOneof("event"))
        held = getattr(event.payload, name)
        if name.startswith("step_"):
            kind = turns_pb2.StepType.Name(held.step_type).removeprefix("STEP_TYPE_").lower()
            if name == "step_start" and "touchpoint" in held.metadata:
                kind = f"{kind} {held.metadata['touchpoint']}"
            name = f"{name.removeprefix('step_')} {kind}"
        if not (lines and name.startswith("progress") and lines[-1] == name):
            lines.append(name)
    return lines


def shown(events: Sequence[events_pb2.TurnEvent]) -> str:
    """The text that the client got to see while the model spoke; what a restart made void is gone."""
    text = ""
    for event in events:
        if event.payload.HasField("step_restart"):
            text = ""
        progress = event.payload.step_progress
        if progress.step_type == turns_pb2.STEP_TYPE_INFERENCE:
            text += progress.delta.text
    return text


def text(message: types_pb2.CompletionMessage) -> str:
    """An answer's text."""
    return "".join(item.text for item in message.content.items)


@asynccontextmanager
async def behind_the_gateway(world: World) -> AsyncIterator[None]:
    """Serves the scripted services at the gateway's address."""
    bindings = [
        Binding(
            "caravan.inference.v1.InferenceService",
            inference_pb2_grpc.add_InferenceServiceServicer_to_server,
            world.model,
        ),
        Binding("caravan.safety.v1.SafetyService", safety_pb2_grpc.add_SafetyServiceServicer_to_server, world.shields),
        Binding("caravan.memory.v1.MemoryService", memory_pb2_grpc.add_MemoryServiceServicer_to_server, world.banks),
        Binding(
            "caravan.memory.v1.KeyValueService", keyvalue_pb2_grpc.add_KeyValueServiceServicer_to_server, world.banks
        ),
        Binding(
            "caravan.registry.v1.MemoryBanksService",
            memory_banks_pb2_grpc.add_MemoryBanksServiceServicer_to_server,
            world.banks,
        ),
    ]
    server = ServiceServer(ServiceSettings(listen=world.address, drain_seconds=0.0), bindings)
    await server.start()
    try:
        await server.wait_ready()
        yield
    finally:
        await server.stop()


GONE = UnavailableError("the replica died", retry_after=0.0)
"""What a model's answer breaks off with when its replica dies."""
