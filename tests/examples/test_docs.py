"""The programs in README.md and docs/ run as they stand, but for the address."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caravan.cli.app import app
from tests.examples.test_examples import EXAMPLES, node_modules, run

ROOT = EXAMPLES.parent
__all__ = ["node_modules"]


def programs(page: str, language: str) -> str:
    """The page's blocks in a language, one after the other."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_python_in(page, stack):
    program = programs(page, "python")
    for written, meant in (
        ("localhost:8321", stack.target),
        ("gateway.example:8321", stack.target),
        (", tls=True", ""),
    ):
        program = program.replace(written, meant)
    done = run(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("node_modules")
def test_node_in_the_readme(stack):
    program = programs("README.md", "js").replace("localhost:8321", stack.target)
    done = run("node", "--input-type=module", "--eval", program, folder=EXAMPLES / "node")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 5


@pytest.mark.slow
def test_the_walk_through_of_post_training_teaches_the_model_something_new(stack, tmp_path):
    page = (ROOT / "docs/post_training.md").read_text()
    before, *others = re.findall(r"```sh\n(.*?)```", page.split("## Data sets")[0], re.DOTALL)
    assert "Nadira" not in shell(before, stack.target, tmp_path)
    said = shell("".join(others), stack.target, tmp_path)
    assert "Nadira looks after the blue camel." in said.splitlines()
    assert (tmp_path / "camel-1.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "camel-adapter" / "adapter_model.safetensors").stat().st_size > 0


def shell(script: str, target: str, folder: Path) -> str:
    """Runs commands as a person would who has activated the environment; returns what they print."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CARAVAN_TARGET": target,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


GROUPS = {"agent", "datasets", "jobs", "memory", "models", "shield", "train"}


def test_commands_that_the_readme_shows_exist(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = re.findall(r"^caravan (.+?)(?: {2,}#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(shown) > 10
    for line in shown:
        words = [word for word in re.sub(r"\"[^\"]*\"", "", line).split() if re.fullmatch(r"(--)?[a-z-]+", word)]
        command = words[:2] if words[0] in GROUPS else words[:1]
        options = [word for word in words if word.startswith("--")]
        done = CliRunner().invoke(app, [*command, "--help"])
        assert done.exit_code == 0, done.stderr
        assert all(option in done.stdout for option in options), line
