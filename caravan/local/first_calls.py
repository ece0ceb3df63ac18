"""The calls that show that a stack works: a chat, and turns of agents with a tool, a document and shields."""

import contextlib
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
CONTACT_QUESTION = "What is the e-mail address of Ada?"
CONTACT = "ada@example.org"
CONTACT_TOOL = {
    "name": "get_email",
    "description": "Tells the e-mail address of a person.",
    "parameters": [
        {"name": "person", "parameter_type": "string", "description": "Name of the person.", "required": True}
    ],
}
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
        try:
            await self._with_tool(TOOL, TOOL_QUESTION, WEATHER)
        except (FailedPreconditionError, InvalidArgumentError, UnimplementedError) as error:
            self._console.print(f"  [dim]this model takes no tools: {escape(error.message)}[/]")

    async def document(self) -> None:
        """An agent that answers from a document inserted a moment before."""
        self._console.print("\n[bold]An agent with a document[/] (inserted now, found by its vectors):")
        turn = await self._turn({"tools": [{"type": "memory"}]}, DOCUMENT_QUESTION, documents=[DOCUMENT])
        for step in turn.steps:
            for chunk in step.memory_retrieval.chunks:
                self._say("memory", text_of(chunk.content))
        self._say("agent", text_of(turn.output_message))

    async def shields(self, shield_ids: list[str]) -> None:
        """Agents behind shields: what the user says is masked or stopped, what the agent says is masked."""
        self._console.print(f"\n[bold]An agent behind shields[/] ({', '.join(shield_ids)}):")
        for said in SHIELDED:
            turn = await self._turn({"input_shields": shield_ids}, said)
            self._verdicts(turn)
            self._say("agent", text_of(turn.output_message))
        with contextlib.suppress(FailedPreconditionError, InvalidArgumentError, UnimplementedError):
            await self._with_tool(CONTACT_TOOL, CONTACT_QUESTION, CONTACT, output_shields=shield_ids)

    async def _with_tool(self, tool: Mapping[str, Any], said: str, result: str, **config: Any) -> None:
        whole = {"client_tools": [tool], "tool_config": {"tool_choice": "required"}, **config}
        turn = await self._turn(whole, said, allow_turn_resume=True)
        for call in turn.pending_tool_calls:
            arguments = escape(call.arguments_json)
            self._say("agent", f"calls [bold]{escape(call.tool_name)}[/] {arguments}", markup=True)
            self._say("tool", result)
        if turn.pending_tool_calls:
            turn = await self._client.agents.resume(turn, {call.call_id: result for call in turn.pending_tool_calls})
        self._verdicts(turn)
        self._say("agent", text_of(turn.output_message))

    def _verdicts(self, turn: turns_pb2.Turn) -> None:
        for step in turn.steps:
            for result in step.shield_call.results:
                if not result.HasField("violation"):
                    continue
                stops = result.violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR
                masks = " and masks" if any(found.HasField("replacement") for found in result.findings) else ""
                self._say("shield", f"{result.shield_id} {'stops it' if stops else f'warns{masks}'}")

    async def _turn(self, config: Mapping[str, Any], said: str, **parameters: Any) -> turns_pb2.Turn:
        self._say("you", said)
        whole = {"model": self._model, "sampling_params": {"max_tokens": _MOST_TOKENS}, **config}
        agent = await self._client.agents.create({**whole, "name": "demo", "session_ttl": "600s"})
        session = await self._client.agents.create_session(agent.agent_id, "demo")
        return await self._client.agents.turn(agent.agent_id, session.session_id, said, **parameters)

    def _say(self, who: str, what: str, *, markup: bool = False) -> None:
        self._console.print(f"  [cyan]{who:<6}[/] {what if markup else escape(what)}", soft_wrap=True)
