"""What vLLM finds in its environment, in processes of their own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from services.inference.providers.vllm.environment import prepare
prepare()
print(os.environ["VLLM_RPC_BASE_PATH"] if "VLLM_RPC_BASE_PATH" in os.environ else "", flush=True)
sys.stdin.readline()
"""


@contextmanager
def prepared(place: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and where it has the engine's sockets."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(place), **environment},
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.communicate("\n")


@pytest.fixture
def place() -> Iterator[Path]:
    # pytest's own folders have long names.
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_sockets_lie_in_a_folder_that_goes_with_the_process(place):
    with prepared(place) as (_, folder):
        assert Path(folder).is_dir()
        assert Path(folder).is_relative_to(place)
        (Path(folder) / "socket").touch()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_start_and_a_living_ones_stays(place):
    with prepared(place) as (_, living), prepared(place) as (killed, left):
        killed.kill()
        killed.wait()
        assert Path(left).exists()
        with prepared(place):
            assert Path(living).exists()
            assert not Path(left).exists()


def test_a_folder_that_was_chosen_is_kept(place):
    with prepared(place, VLLM_RPC_BASE_PATH="/chosen") as (_, folder):
        assert folder == "/chosen"


def test_where_a_sockets_path_would_be_too_long_vllm_chooses(place):
    deep = place / ("x" * 60)
    deep.mkdir()
    with prepared(deep) as (_, folder):
        assert folder == ""
