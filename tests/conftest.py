"""Fixtures that all tests share. Those that start a real engine are session-scoped: there is one of each."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.support.engine import Engine
from tests.support.http_endpoint import Endpoint, http_endpoint
from tests.support.processes import CHAT_MODEL
from tests.support.stack import Stack, caravan_up

ON_ONE_WORKER = {"engine", "stack"}

# Services that run in the tests' own process say what they do on standard output, where commands under test write too.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sends the tests that need the stack to one worker: session-scoped means once a worker, and an engine is dear."""
    for item in items:
        if ON_ONE_WORKER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack: gateway, inference on vLLM with the demo model, embeddings, store."""
    with caravan_up(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
def engine(stack: Stack) -> Engine:
    """The stack's inference service on vLLM, without the gateway."""
    return Engine(stack.addresses["vllm"], CHAT_MODEL.name)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A third party's HTTP server."""
    with http_endpoint() as endpoint:
        yield endpoint
