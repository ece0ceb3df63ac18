"""One stack of processes for all tests of this folder."""

from collections.abc import AsyncIterator

import pytest

from tests.support.safety_stack import SafetyStack, safety_stack


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[SafetyStack]:
    """The stack."""
    async with safety_stack(shield_poll_seconds=0.1) as stack:
        yield stack


@pytest.fixture
def safety(running: SafetyStack) -> SafetyStack:
    """The stack, with a guard that works."""
    running.guard.works()
    return running
