"""Scripts as packages hold them."""

import hashlib
import sys
from pathlib import Path

import pytest

from services.core.redis.scripts import Script, load_scripts


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `scripts` of a package of its own."""
    scripts = tmp_path / "with_scripts" / "scripts"
    scripts.mkdir(parents=True)
    (scripts.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "with_scripts", raising=False)
    return scripts


def test_scripts_are_known_by_their_files_names_and_the_digest_that_redis_gives_them(package):
    (package / "get.lua").write_text("return 1")
    (package / "notes.txt").write_text("not a script")
    assert load_scripts("with_scripts") == {"get": Script("return 1", hashlib.sha1(b"return 1").hexdigest())}


def test_a_prelude_stands_before_each(package):
    (package / "prelude.lua").write_text("local one = 1")
    (package / "get.lua").write_text("return one")
    found = load_scripts("with_scripts")
    assert {name: script.text for name, script in found.items()} == {"get": "local one = 1\nreturn one"}
    assert found["get"].digest == Script.of(found["get"].text).digest


def test_a_call_names_the_script_its_keys_and_arguments():
    script = Script.of("return 1")
    assert script.call(["a", "b"], "x", 2) == ("EVALSHA", script.digest, 2, "a", "b", "x", 2)


@pytest.mark.parametrize(
    "name",
    [
        "gateway.registry",
        "services.agents.store",
        "services.post_training.datasets",
        "services.post_training.jobs.store",
        "services.post_training.synthesis",
    ],
)
def test_every_store_finds_its_scripts(name):
    assert load_scripts(name)
