"""What a turn reads before its first inference: every kind of bank, every way to make the query."""

from typing import Any

import grpc
import pytest

from tests.services.agents.world import Replica, World
from tests.support.http_endpoint import Endpoint

ASKED = "What do otters do?"


def memory(*banks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An agent with the memory tool."""
    return {"tools": [{"memory": {"memoryBankConfigs": list(banks), **fields}}]}


async def context(world: World, replica: Replica, **agent: Any) -> str:
    """What the model reads as the context of the user's message."""
    world.model.says("They swim.")
    await (await replica.talk(**agent)).turn(ASKED)
    return "".join(item.text for item in world.model.asked[-1].messages[-1].user.context.items)


async def test_all_four_kinds_of_banks_are_read(world: World, replica: Replica) -> None:
    world.banks.found = [("doc", "Otters swim.")]
    banks = (
        {"bankId": "facts", "keyvalue": {"keys": ["legs", "tails"]}},
        {"bankId": "notes", "vector": {}},
        {"bankId": "words", "keyword": {}},
        {"bankId": "links", "graph": {"entities": ["otter"]}},
    )
    found = await context(world, replica, **memory(*banks))
    assert "id:legs; content:7\nid:tails; content:7\nid:doc; content:Otters swim." in found
    (searched,) = world.banks.searched
    assert list(searched.bank_ids) == ["notes", "words", "links"]
    assert list(searched.params.entities) == ["otter"]
    assert searched.query.items[0].text == ASKED


async def test_no_more_is_inserted_than_the_tool_says(world: World, replica: Replica) -> None:
    world.banks.found = [("a", "one two three"), ("b", "four five six"), ("c", "seven")]
    found = await context(world, replica, **memory({"bankId": "n", "vector": {}}, maxTokensInContext=5, maxChunks=7))
    assert "one two three" in found
    assert "four" not in found
    assert world.banks.searched[0].params.max_chunks == 7


async def test_a_model_writes_the_query_and_what_the_user_said_is_no_template(world: World, replica: Replica) -> None:
    world.banks.found = [("doc", "Otters swim.")]
    world.model.says(" otters swimming ", "They swim.")
    template = "Make a query of {{messages}}"
    generator = {"llm": {"model": "writer", "template": template}}
    talk = await replica.talk(**memory({"bankId": "n", "vector": {}}, queryGeneratorConfig=generator))
    turn = await talk.turn("otters {{messages}}")
    asked = world.model.asked[0]
    assert asked.model_id == "writer"
    assert asked.messages[0].user.content.items[0].text == "Make a query of user: otters {{messages}}"
    assert world.banks.searched[0].query.items[0].text == "otters swimming"
    assert turn.steps[0].memory_retrieval.query == "otters swimming"


async def test_an_endpoint_writes_the_query(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.says({"query": "otter habits"})
    generator = {"custom": {"endpoint": {"url": {"uri": endpoint.url}, "headers": {"x-key": "k"}}}}
    agent = memory({"bankId": "n", "vector": {}}, queryGeneratorConfig=generator)
    await context(world, replica, **agent)
    assert world.banks.searched[0].query.items[0].text == "otter habits"
    (seen,) = endpoint.seen
    assert seen.headers["x-key"] == "k"
    assert ASKED in str(seen.json["messages"])


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (200, {"no": "query"}, grpc.StatusCode.FAILED_PRECONDITION),
        (404, {}, grpc.StatusCode.FAILED_PRECONDITION),
        (503, {}, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_an_endpoint_that_writes_no_query_fails_the_turn(
    world: World, replica: Replica, endpoint: Endpoint, status: int, answer: Any, code: grpc.StatusCode
) -> None:
    endpoint.says(answer, status=status)
    generator = {"custom": {"endpoint": {"url": {"uri": endpoint.url}}}}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await context(world, replica, **memory({"bankId": "n", "vector": {}}, queryGeneratorConfig=generator))
    assert caught.value.code() is code
    assert "query generator" in (caught.value.details() or "")
