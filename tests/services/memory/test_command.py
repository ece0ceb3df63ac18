"""`caravan memory`, against a real stack."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from caravan.cli.app import app
from tests.services.memory.pdf import make_pdf
from tests.services.memory.stack import MODEL


@pytest.fixture
def run(stack, monkeypatch):
    monkeypatch.setenv("CARAVAN_TARGET", stack.address)
    monkeypatch.setenv("COLUMNS", "200")

    async def invoke(*arguments, stdin=None, exit_code=0):
        result = await asyncio.to_thread(CliRunner().invoke, app, ["memory", *arguments], input=stdin)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


async def test_a_folder_is_inserted_and_searched(run, tmp_path, make_bank):
    bank = await make_bank()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "cats.md").write_text("# Animals\n\n## Cats\n\nCats purr when they are content.")
    (tmp_path / "manual.pdf").write_bytes(make_pdf(["Turn the key to start the engine."]))
    (tmp_path / ".hidden.md").write_text("Not this.")
    (tmp_path / "program.bin").write_bytes(b"\0\1")
    told = await run("insert", bank, str(tmp_path), "--metadata", "year=2024")
    assert "2 inserted" in told.stderr
    assert "2 unchanged" in (await run("insert", bank, str(tmp_path), "--metadata", "year=2024")).stderr
    hits = (await run("query", bank, "Which animal purrs?")).stdout
    first = hits.splitlines()[0]
    assert first.startswith("1. 0.")
    assert "sub/cats.md" in first
    assert "Animals, characters 0 to 52" in first
    assert "manual.pdf, page 1" in hits
    assert (await run("query", bank, "x", "--where", "year=2023")).stderr == "nothing was found\n"
    listed = (await run("list", bank)).stdout
    assert "sub/cats.md" in listed
    assert "year=2024" in listed
    assert "Cats purr" in (await run("get", bank, "sub/cats.md")).stdout
    assert "documents  2" in (await run("stats", bank)).stdout


async def test_refused_documents_are_told_and_the_others_inserted(run, tmp_path, make_bank):
    bank = await make_bank()
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-broken")
    (tmp_path / "good.txt").write_text("Good words.")
    told = await run("insert", bank, str(tmp_path), exit_code=1)
    assert "broken.pdf is refused" in told.stderr
    assert "1 inserted, 1 refused" in told.stderr


async def test_piped_text_gets_the_identifier_that_is_given(run, tmp_path, make_bank):
    bank = await make_bank()
    path = tmp_path / "note.txt"
    path.write_text("A note.")
    lines = (await run("insert", bank, str(path), "--id", "note", "--json")).stdout.splitlines()
    assert json.loads(lines[0])["document_id"] == "note"
    assert (await run("insert", bank, str(path), str(path), "--id", "note", exit_code=1)).stderr.startswith("error:")
    assert (await run("insert", bank, "/no/such/file", exit_code=1)).stderr.startswith("error: there is no file")


async def test_a_bank_is_registered_listed_and_deleted(run, stack):
    told = await run(
        "register",
        "by-command",
        "--embedding-model",
        MODEL,
        "--chunk-size",
        "64",
        "--metric",
        "l2",
        "--provider",
        "one",
    )
    assert "embedding_dimension=384" in told.stderr
    listed = (await run("banks")).stdout
    assert "chunk_size_in_tokens=64, overlap_size_in_tokens=16" in listed
    assert "metric=l2" in listed
    assert "say --yes" in (await run("unregister", "by-command", exit_code=1)).stderr
    await run("unregister", "by-command", "--yes")
    assert "by-command" not in (await run("banks")).stdout
    assert "--embedding-model" in (await run("register", "no-model", exit_code=1)).stderr


async def test_documents_are_deleted_by_name_and_by_metadata(run, tmp_path, make_bank):
    bank = await make_bank()
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(f"Words of {name}.")
        await run("insert", bank, str(tmp_path / name), "--metadata", f"name={name}")
    assert "1 documents" in (await run("delete", bank, "a.txt")).stderr
    assert "1 documents" in (await run("delete", bank, "--where", "name=b.txt")).stderr
    assert json.loads((await run("delete", bank, "--all", "--json")).stdout) == {"deleted_count": 1}


async def test_values_are_put_shown_listed_and_removed(run, make_bank):
    bank = await make_bank({"memory_bank_type": "keyvalue"})
    assert "revision 1" in (await run("put", bank, "colour", "blue")).stderr
    await run("put", bank, "count", "3", "--as-json")
    assert (await run("value", bank, "colour")).stdout == "blue\n"
    assert (await run("value", bank, "count")).stdout == "3\n"
    assert "colour  blue   1" in (await run("keys", bank)).stdout
    assert "revision" in (await run("put", bank, "colour", "red", "--revision", "5", exit_code=1)).stderr
    assert "is deleted" in (await run("remove", bank, "colour")).stderr
    assert "was not there" in (await run("remove", bank, "colour")).stderr


async def test_a_graph_is_told_searched_and_walked_through(run, make_bank, tmp_path):
    bank = await make_bank({"memory_bank_type": "graph"})
    facts = {
        "entities": [{"name": "Ada", "entity_type": "person", "description": "a mathematician"}],
        "relations": [{"subject": "Ada", "relation_type": "knows", "object": "Charles"}],
    }
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    told = await run("graph", "insert", bank, "--file", str(tmp_path / "facts.json"))
    assert "2 new entities, 1 new relations" in told.stderr
    await run("graph", "insert", bank, "Engine", "made_by", "Charles", "--weight", "2")
    await run("graph", "insert", bank, "Engine", "--type", "machine", "--description", "It computes.")
    assert (await run("graph", "entity", bank, "engine")).stdout == "Engine (machine)\nIt computes.\n"
    listed = (await run("graph", "entities", bank)).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["entity", "Ada", "Charles", "Engine"]
    assert "Engine   made_by   Charles  2" in (await run("graph", "relations", bank, "--entity", "Engine")).stdout
    drawn = (await run("graph", "paths", bank, "Ada", "Engine")).stdout
    assert drawn == "Ada --knows--> Charles <--made_by-- Engine\n"
    assert "no path" in (await run("graph", "paths", bank, "Ada", "Engine", "--direction", "out")).stderr
    around = (await run("graph", "neighbors", bank, "Ada", "--depth", "2")).stdout
    assert "2         Engine   machine" in around
    assert "Ada --knows--> Charles" in around
    assert "1 entities and 1 relations are deleted" in (await run("graph", "delete", bank, "Engine")).stderr
    assert "0 entities and 1 relations" in (await run("graph", "delete", bank, "Ada", "*", "Charles")).stderr
    assert "'Engine'" in (await run("graph", "entity", bank, "Engine", exit_code=1)).stderr


async def test_a_graph_is_searched_by_text_and_by_entities(run, stack, make_bank):
    bank = await make_bank({"memory_bank_type": "graph"})
    mill = {"relations": [{"subject": "Ilse", "relation_type": "built", "object": "tidal mill"}]}
    await stack.client.memory.insert(
        bank, {"document_id": "mill", "content": "Ilse built a tidal mill.", "graph": mill}
    )
    shown = (await run("graph", "query", bank, "-e", "ilse")).stdout
    assert "Ilse built a tidal mill." in shown
    assert "Ilse --built--> tidal mill" in shown
    found = json.loads((await run("graph", "query", bank, "Who built the mill?", "--json")).stdout)
    assert found["chunks"][0]["document_id"] == "mill"
    assert {one["entity"]["name"] for one in found["entities"]} == {"Ilse", "tidal mill"}


async def test_facts_that_cannot_be_read_are_told_of(run, tmp_path):
    (tmp_path / "facts.json").write_text("[1]")
    assert (
        "must hold an object"
        in (await run("graph", "insert", "b", "--file", str(tmp_path / "facts.json"), exit_code=1)).stderr
    )
    assert "subject, type and object" in (await run("graph", "insert", "b", "Ada", "knows", exit_code=1)).stderr
    assert "tell of an entity" in (await run("graph", "insert", "b", exit_code=1)).stderr
