"""The client's `safety` and `caravan shield`, against a gateway and safety services as processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import caravan
from caravan.cli.app import app
from caravan.errors import NotFoundError
from caravan.types.v1 import types_pb2
from tests.support.safety_stack import SafetyStack, safety_stack

Run = Callable[..., Awaitable[Result]]


@pytest.fixture(scope="module")
async def safety() -> AsyncIterator[SafetyStack]:
    async with safety_stack() as stack:
        yield stack


@pytest.fixture
async def client(safety: SafetyStack) -> AsyncIterator[caravan.AsyncClient]:
    async with caravan.AsyncClient(safety.target) as client:
        yield client


@pytest.fixture
def run(safety: SafetyStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CARAVAN_TARGET", safety.target)
    monkeypatch.setenv("COLUMNS", "200")

    async def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["shield", *arguments], input=stdin))

    return invoke


async def test_the_client_judges_by_one_shield(client: caravan.AsyncClient):
    response = await client.safety.run_shield("words", "a grenade")
    assert response.violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR
    response = await client.safety.run_shield("words", "a grenade", params={"level": "info"})
    assert response.violation.violation_level == types_pb2.VIOLATION_LEVEL_INFO


async def test_the_client_judges_by_several_shields(client: caravan.AsyncClient):
    messages = [{"role": "user", "content": "a grenade"}, {"role": "assistant", "content": "No."}]
    response = await client.safety.run_shields(["llama-guard", "words"], messages, on_violation="warn")
    assert response.deciding_shield_id == "words"
    assert response.violation.violation_level == types_pb2.VIOLATION_LEVEL_WARN
    options = {"words": {"params": {"judged": "last"}, "on_violation_action": "raise"}}
    response = await client.safety.run_shields(["words"], messages, options=options)
    assert not response.HasField("violation")


async def test_the_client_streams_a_text_through_a_shield(client: caravan.AsyncClient):
    texts = ["It is key-", "12 that opens ", "the door, and ", "nothing else does."]
    events = [event async for event in client.safety.stream_shield("words", texts)]
    assert "".join(event.released.text for event in events) == "It is [key] that opens the door, and nothing else does."
    assert events[-1].HasField("complete")


async def test_the_sync_client_does_the_same(safety: SafetyStack):
    def judge() -> tuple[int, str]:
        with caravan.Client(safety.target) as client:
            level = client.safety.run_shield("words", "a grenade").violation.violation_level
            events = list(client.safety.stream_shield("words", ["key-1 ", "or not"]))
            return level, "".join(event.released.text for event in events)

    assert await asyncio.to_thread(judge) == (types_pb2.VIOLATION_LEVEL_ERROR, "[key] or not")


async def test_an_unknown_shield_is_an_error_of_the_clients(client: caravan.AsyncClient):
    with pytest.raises(NotFoundError):
        await client.safety.run_shield("nobody", "hi")


async def test_run_ends_with_status_1_for_a_violation(run: Run):
    result = await run("run", "words", "first line\nthen a grenade")
    assert result.exit_code == 1
    assert "words: error" in result.stdout
    assert "error weapon" in result.stdout
    assert "(line 2, column 8, 7 characters)" in result.stdout
    assert "words decides: This content was blocked" in result.stdout


async def test_run_ends_with_status_0_for_a_warning_and_shows_what_is_masked(run: Run):
    result = await run("run", "words,llama-guard", "hmm, the key-12")
    assert result.exit_code == 0
    assert "words: warn" in result.stdout
    assert "llama-guard: nothing found, score 0.01" in result.stdout
    assert "masked: hmm, the [key]" in result.stdout


async def test_run_reads_a_file_or_what_is_piped_in(run: Run, tmp_path: Path):
    path = tmp_path / "text"
    path.write_text("a grenade")
    assert (await run("run", "words", "--file", str(path))).exit_code == 1
    assert (await run("run", "words", stdin="a grenade\n")).exit_code == 1
    assert (await run("run", "words", stdin="flowers\n")).exit_code == 0
    result = await run("run", "words", stdin="")
    assert (result.exit_code, "there is no text" in result.stderr) == (1, True)


async def test_run_as_json_is_the_response(run: Run):
    result = await run("run", "words", "a grenade", "--json", "--on-violation", "warn")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["deciding_shield_id"] == "words"
    assert document["results"][0]["findings"][0]["category"] == "weapon"


async def test_run_takes_parameters(run: Run):
    assert (await run("run", "words", "a grenade", "-p", "level=info")).exit_code == 0
    result = await run("run", "words", "hi", "-p", "colour=red")
    assert result.exit_code == 1
    assert "colour" in result.stderr


async def test_a_shield_is_registered_listed_and_unregistered(run: Run, tmp_path: Path):
    params = tmp_path / "params.json"
    params.write_text(json.dumps({"deny": [{"name": "rude", "pattern": "darn"}]}))
    arguments = ("--provider", "rules", "--params", str(params), "-p", "level=warn", "--always-on", "some-model")
    result = await run("register", "manners", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "always guards    some-model" in result.stdout
    assert "manners" in (await run("list")).stdout
    listed = json.loads((await run("list", "--json")).stdout)["shields"]
    assert {one["shield_id"] for one in listed} == {"llama-guard", "manners", "words"}
    assert (await run("run", "manners", "darn")).exit_code == 0
    assert 'level="warn"' in (await run("get", "manners")).stdout
    assert (await run("unregister", "manners")).exit_code == 0
    assert (await run("run", "manners", "darn")).exit_code == 1


async def test_wrong_parameters_are_refused_when_a_shield_is_registered(run: Run):
    result = await run("register", "wrong", "--provider", "rules", "-p", 'deny=[{"name": "x", "pattern": "("}]')
    assert result.exit_code == 1
    assert "deny[0].pattern" in result.stderr
