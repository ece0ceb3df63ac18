import io

import grpc
from rich.console import Console

import caravan
from caravan.local import first_calls
from tests.caravan.loopback import Failing


async def shown(gateway) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    async with caravan.AsyncClient(gateway.target) as client:
        await first_calls.show(client, "talker", console)
    return console.file.getvalue()


async def test_a_chat_and_a_tool_call_are_shown(gateway):
    text = await shown(gateway)
    assert "you    What is Caravan?\n  model  Hello, world.\n" in text
    assert 'model  calls get_weather {"big": 9007199254740993}' in text


async def test_a_model_without_tools_is_no_failure(gateway):
    gateway.fail("ChatCompletion", Failing(grpc.StatusCode.FAILED_PRECONDITION, "no tool parser for this family"))
    assert "this model takes no tools: no tool parser for this family" in await shown(gateway)
