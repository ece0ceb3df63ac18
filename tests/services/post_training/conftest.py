"""Fixtures that the tests of the post-training service share."""

from collections.abc import Iterator

import pytest

from tests.support.models_stack import ModelsStack, models_stack


@pytest.fixture(scope="session")
def models() -> Iterator[ModelsStack]:
    """A gateway before a chat model and a reward model."""
    with models_stack() as stack:
        yield stack
