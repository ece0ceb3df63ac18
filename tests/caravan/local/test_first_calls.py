import io

from rich.console import Console

import caravan
from caravan.local import first_calls


async def test_without_agents_a_chat_is_shown(gateway):
    console = Console(file=io.StringIO(), width=100, highlight=False)
    async with caravan.AsyncClient(gateway.target) as client:
        await first_calls.show(client, "talker", [], console)
    assert "you    What is Caravan?\n  model  Hello, world.\n" in console.file.getvalue()
