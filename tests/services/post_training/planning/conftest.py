"""The model that the tests of planning share with the trainer's."""

from pathlib import Path

import pytest

from tests.services.post_training.trainer.trainings import tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and the demo model's tokenizer."""
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny")
