"""Fixtures that all tests share. Those that start a real engine are session-scoped: there is one of each."""

from collections.abc import Iterator

import pytest

from tests.support.engine import Engine
from tests.support.processes import CHAT_MODEL, serving, vllm_arguments

ON_ONE_WORKER = {"engine", "stack"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sends the tests that need the engine to one worker: session-scoped means once a worker, and an engine is dear."""
    for item in items:
        if ON_ONE_WORKER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("engine"))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The inference service on vLLM with the demo model."""
    with serving("services.inference", *vllm_arguments(max_model_len=1024)) as (_, address):
        yield Engine(address, CHAT_MODEL.name)
