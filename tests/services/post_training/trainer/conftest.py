"""Models and rows that the tests of the trainer share."""

from pathlib import Path

import pytest

from services.post_training.spec import RowsSource
from tests.services.post_training.trainer.trainings import dialogs, pairs, rows_source, tiny_llama


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer's environment, as far as it matters within a process."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and the demo model's tokenizer."""
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def dialog_rows(tmp_path_factory: pytest.TempPathFactory) -> RowsSource:
    """Eight dialogs of various lengths."""
    return rows_source(tmp_path_factory.mktemp("rows") / "dialogs.jsonl", dialogs(8), "DATASET_FORMAT_DIALOG")


@pytest.fixture(scope="session")
def pair_rows(tmp_path_factory: pytest.TempPathFactory) -> RowsSource:
    """Eight pairs."""
    return rows_source(tmp_path_factory.mktemp("rows") / "pairs.jsonl", pairs(8), "DATASET_FORMAT_PREFERENCE")
