"""`client.datasets`, async and sync, and `caravan datasets`, against a real server."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import caravan
from caravan import rows
from caravan.cli.app import app
from caravan.datasets.v1 import datasets_pb2
from caravan.errors import InvalidArgumentError, InvalidInputError, NotFoundError
from tests.services.post_training.datasets.server import Served, dialog, digest_of

Run = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["async", "sync"])
async def call(request: pytest.FixtureRequest, service: Served) -> Any:
    """Calls a method of `client.datasets` by its name; lists what it yields."""
    if request.param == "async":
        async with caravan.AsyncClient(service.address) as client:

            async def run(name: str, *arguments: Any, **named: Any) -> Any:
                result = getattr(client.datasets, name)(*arguments, **named)
                return await result if inspect.isawaitable(result) else [item async for item in result]

            yield run
    else:
        with caravan.Client(service.address) as other:

            def work(name: str, *arguments: Any, **named: Any) -> Any:
                result = getattr(other.datasets, name)(*arguments, **named)
                return list(result) if inspect.isgenerator(result) else result

            async def run_in_thread(name: str, *arguments: Any, **named: Any) -> Any:
                return await asyncio.to_thread(work, name, *arguments, **named)

            yield run_in_thread


async def test_a_data_set_lives_through_the_client(call: Run, tmp_path: Path):
    given = [dialog("a", "b"), dialog("c", "ü")]
    made = await call("create", "", given, format="dialog", metadata={"by": "me"})
    name = made.dataset_id
    assert made.current.sha256 == digest_of(given)
    assert await call("get", name) == made
    assert name in [one.dataset_id for one in await call("list", format="dialog")]
    assert name not in [one.dataset_id for one in await call("list", format="prompt")]
    assert await call("rows", name) == given
    assert await call("rows", name, from_row=1, limit=5) == given[1:]
    current = await call("append", name, [dialog("e", "f")], revision=1)
    assert (current.revision, current.row_count) == (2, 3)
    assert [one.revision for one in await call("revisions", name)] == [2, 1]
    assert await call("rows", name, revision=1) == given
    page = await call("page", name, rows_in_page=2, filter="dialog != null")
    assert (len(page.rows_json), page.total_count, bool(page.next_page_token)) == (2, 3, True)
    await call("delete", name, revision=2)
    with pytest.raises(NotFoundError):
        await call("get", name)


async def test_a_file_is_uploaded_and_progress_told(call: Run, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"n": number, "text": "x" * 1000}) + "\n" for number in range(3000)))
    told: list[int] = []
    made = await call("upload", path, schema={"n": "number", "text": "string?"}, sent=told.append)
    assert made.current.row_count == 3000
    assert made.dataset_schema["text"].nullable
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size


async def test_errors_are_the_clients_own_and_name_the_place(call: Run, tmp_path: Path):
    with pytest.raises(InvalidArgumentError) as caught:
        await call("create", "", [{"prompt": "x"}, {"prompt": 3}], format="prompt")
    assert [one.subject for one in caught.value.violations] == ["source.rows[1].prompt"]
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(InvalidArgumentError) as caught:
        await call("upload", path)
    assert [one.subject for one in caught.value.violations] == ["rows[1]"]
    with pytest.raises(InvalidInputError, match="there is no file"):
        await call("upload", tmp_path / "none")


def test_values_that_do_not_fit_are_refused_before_anything_is_sent():
    for what, parameters in {
        "exactly one of rows": {"url": "https://x"},
        "none of instruct": {"format": "dialogue"},
        "none of jsonl": {"file_format": "xls"},
        "none of string": {"schema": {"a": "text!"}},
        "unknown parameter 'colour'": {"colour": 1},
    }.items():
        with pytest.raises(InvalidInputError, match=what):
            rows.create_request("", [{"a": 1}], parameters)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"rows\[1\]"):
        rows.texts([{"a": 1}, {"a": float("nan")}])
    with pytest.raises(InvalidInputError, match="unknown 'splits'"):
        rows.create_request("", None, {"huggingface": {"path": "x", "splits": "train"}})
    made = rows.create_request("", None, {"huggingface": "x/y"})
    assert made.source.huggingface.path == "x/y"


@pytest.fixture
def run(service: Served, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CARAVAN_TARGET", service.address)
    monkeypatch.setenv("COLUMNS", "200")

    async def invoke(*arguments: str, stdin: str | None = None, exit_code: int = 0) -> Any:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["datasets", *arguments], input=stdin)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


async def test_the_command_makes_shows_and_deletes_data_sets(run: Run, tmp_path: Path):
    path = tmp_path / "greetings.jsonl"
    path.write_text('{"prompt": "Say hello.", "n": 1}\n{"prompt": "Say good-bye.", "n": 2}\n')
    told = await run("upload", str(path), "--id", "by-command", "--format", "prompt", "--metadata", "year=2026")
    assert "by-command is made: 2 rows of n number, prompt string" in told.stderr
    assert "by-command" in (await run("list", "--format", "prompt")).stdout
    shown = (await run("show", "by-command")).stdout
    assert "metadata year  2026" in shown
    assert "uploaded" in shown
    assert (await run("rows", "by-command")).stdout == path.read_text()
    assert (
        await run("rows", "by-command", "--where", "n > 1", "-n", "5")
    ).stdout == '{"prompt":"Say good-bye.","n":2}\n'
    more = await run("append", "by-command", "-", stdin='{"prompt": "Wave.", "n": 3}\n')
    assert "has revision 2 now, with 3 rows" in more.stderr
    assert "2         3" in (await run("revisions", "by-command")).stdout
    document = json.loads((await run("show", "by-command", "--json")).stdout)
    assert document["current"]["revision"] == "2"
    assert (await run("delete", "by-command", exit_code=1)).stderr.startswith("error:")
    await run("delete", "by-command", "--yes")
    assert "there is no data set" in (await run("show", "by-command", exit_code=1)).stderr


async def test_the_command_tells_which_rows_do_not_fit(run: Run, tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "x"}\n{"prompt": 3}\n')
    told = await run("upload", str(path), "--format", "prompt", exit_code=1)
    assert "rows[1].prompt: is neither a text nor a list of messages" in told.stderr
    told = await run("create", "--rows", str(path), "--check", "--column", "prompt=json")
    assert "fits: 2 rows of prompt json" in told.stderr
    document = json.loads((await run("create", "--rows", str(path), "--json")).stdout)
    assert datasets_pb2.ColumnType.Value(document["dataset_schema"]["prompt"]["type"])
