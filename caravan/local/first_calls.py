"""The calls that show that a stack works: a chat, and one with a tool."""

import json

from rich.console import Console
from rich.markup import escape

from caravan import AsyncClient, tool_arguments
from caravan.errors import FailedPreconditionError, InvalidArgumentError, UnimplementedError

QUESTION = "What is Caravan?"
TOOL_QUESTION = "What is the weather in Paris?"
TOOL = {
    "tool_name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {"city": {"param_type": "string", "description": "Name of the city.", "required": True}},
}
_MOST_TOKENS = 64


async def show(client: AsyncClient, model: str, console: Console) -> None:
    """Makes the calls and shows them.

    Args:
        client: A client of the gateway.
        model: The model to ask.
        console: Where to.

    Raises:
        CaravanError: The chat failed.
    """
    console.print(f"\n[bold]A first chat[/] with {escape(model)}, through the gateway:")
    console.print(f"  [cyan]you[/]    {QUESTION}")
    console.print("  [cyan]model[/]  ", end="")
    async for text in client.chat(model, QUESTION, stream=True, max_tokens=_MOST_TOKENS).texts():
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    console.print("\n\n[bold]With a tool[/] that it may call:")
    console.print(f"  [cyan]you[/]    {TOOL_QUESTION}  [dim](tool: get_weather)[/]")
    try:
        reply = await client.chat(model, TOOL_QUESTION, tools=[TOOL], tool_choice="required", max_tokens=_MOST_TOKENS)
    except (FailedPreconditionError, InvalidArgumentError, UnimplementedError) as error:
        console.print(f"  [dim]this model takes no tools: {escape(error.message)}[/]")
        return
    for call in reply.tool_calls:
        arguments = json.dumps(tool_arguments(call), ensure_ascii=False)
        console.print(f"  [cyan]model[/]  calls [bold]{escape(call.tool_name)}[/] {escape(arguments)}", soft_wrap=True)
    if reply.text:
        console.print(f"  [cyan]model[/]  {escape(reply.text)}", soft_wrap=True)
