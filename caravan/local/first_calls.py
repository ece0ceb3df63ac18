"""The calls that show that a stack works: a chat, and turns of agents with a tool, a document and shields."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from caravan import AsyncClient, text_of
from caravan.agents.v1 import turns_pb2
from caravan.errors import FailedPreconditionError, InvalidArgumentError, UnimplementedError
from caravan.local.parts import AGENTS, MEMORY
from caravan.types.v1 import types_pb2

QUESTION = "What is Caravan?"
TOOL_QUESTION = "What is the weather in Paris?"
WEATHER = "Sunny, 21 degrees."
TOOL = {
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": [{"name": "city", "parameter_type": "string", "description": "Name of the city.", "required": True}],
}
DOCUMENT = {
    "content": "The ferry to Zelmora leaves at nine from pier four.",
    "mime_type": "text/plain",
    "file_name": "ferries.txt",
}
DOCUMENT_QUESTION = "When does the ferry to Zelmora leave?"
SHIELDED = ("My e-mail address is ada@example.org.", "How do I build a bomb?")
_MOST_TOKENS = 64


async def show(client: AsyncClient, model: str, running: Collection[str], console: Console) -> None:
    """Makes the calls and shows them.

    Args:
        client: A client of the gateway.
        model: The model to ask.
        running: Identifiers of the providers that run.
        console: Where to.

    Raises:
        CaravanError: A call failed that every model can answer.
    """
    console.print(f"\n[bold]A first chat[/] with {escape(model)}, through the gateway:")
    console.print(f"  [cyan]you[/]    {QUESTION}")
    console.print("  [cyan]model[/]  ", end="")
    async for text in client.chat(model, QUESTION, stream=True, max_tokens=_MOST_TOKENS).texts():
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    console.print()
    if AGENTS not in running:
        return
    demo = _Demo(client, model, console)
    await demo.tool()
    if MEMORY in running:
        await demo.document()
    shields = [name for name in ("pii", "llama-guard") if name in running]
    if shields:
        await demo.shields(shields)


class _Demo:
    """Turns of agents, as they are shown."""

    def __init__(self, client: AsyncClient, model: str, console: Console) -> None:
        self._client, self._model, self._console = client, model, console

    async def tool(self) -> None:
        """An agent that calls a tool, which this program runs."""
        self._console.print("\n[bold]An agent with a tool[/]:")
        config = {"client_tools": [TOOL], "tool_config": {"tool_choice": "required"}}
        try:
            turn = await self._turn(config, TOOL_QUESTION, allow_turn_resume=True)
        except (FailedPreconditionError, InvalidArgumentError, UnimplementedError) as error:
            self._console.print(f"  [dim]this model takes no tools: {escape(error.message)}[/]")
            return
        for call in turn.pending_tool_calls:
            arguments = escape(call.arguments_json)
            self._say("agent", f"calls [bold]{escape(call.tool_name)}[/] {arguments}", markup=True)
            self._say("tool", WEATHER)
        if turn.pending_tool_calls:
            turn = await self._client.agents.resume(turn, {call.call_id: WEATHER for call in turn.pending_tool_calls})
        self._say("agent", text_of(turn.output_message))

    async def document(self) -> None:
        """An agent that answers from a document inserted a moment before."""
        self._console.print("\n[bold]An agent with a document[/] (inserted now, found by its vectors):")
        turn = await self._turn({"tools": [{"type": "memory"}]}, DOCUMENT_QUESTION, documents=[DOCUMENT])
        for step in turn.steps:
            for chunk in step.memory_retrieval.chunks:
                self._say("memory", text_of(chunk.content))
        self._say("agent", text_of(turn.output_message))

    async def shields(self, shield_ids: list[str]) -> None:
        """An agent behind shields: one masks, one stops."""
        self._console.print(f"\n[bold]An agent behind shields[/] ({', '.join(shield_ids)}):")
        for said in SHIELDED:
            turn = await self._turn({"input_shields": shield_ids}, said)
            for step in turn.steps:
                for result in step.shield_call.results:
                    self._verdict(result.shield_id, result.violation, step.shield_call)
            self._say("agent", text_of(turn.output_message))

    def _verdict(self, shield_id: str, violation: types_pb2.SafetyViolation, step: turns_pb2.ShieldCallStep) -> None:
        if violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR:
            self._say("shield", f"{shield_id} stops it")
        elif violation.violation_level == types_pb2.VIOLATION_LEVEL_WARN:
            self._say("shield", f"{shield_id} warns: {violation.user_message}")
        elif any(result.shield_id == shield_id and result.masked_messages for result in step.results):
            masked = text_of(step.masked_messages[-1].user.content) if step.masked_messages else ""
            self._say("shield", f"{shield_id} masks: {masked}")

    async def _turn(self, config: Mapping[str, Any], said: str, **parameters: Any) -> turns_pb2.Turn:
        self._say("you", said)
        whole = {"model": self._model, "sampling_params": {"max_tokens": _MOST_TOKENS}, **config}
        agent = await self._client.agents.create({**whole, "name": "demo", "session_ttl": "600s"})
        session = await self._client.agents.create_session(agent.agent_id, "demo")
        return await self._client.agents.turn(agent.agent_id, session.session_id, said, **parameters)

    def _say(self, who: str, what: str, *, markup: bool = False) -> None:
        self._console.print(f"  [cyan]{who:<6}[/] {what if markup else escape(what)}", soft_wrap=True)
