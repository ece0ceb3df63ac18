"""What rows of each format have."""

from collections.abc import Callable, Mapping
from typing import Any

from caravan.datasets.v1 import datasets_pb2
from services.post_training.datasets.canonical import Row
from services.post_training.datasets.columns import Schema
from services.post_training.datasets.messages import dialog_fault, messages_fault


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "is no text"


def _chat(value: Any) -> str:
    return messages_fault(value, as_text=True)


def _text_or_messages(value: Any) -> str:
    if isinstance(value, str):
        return "" if value else "is empty"
    return messages_fault(value) if isinstance(value, list) else "is neither a text nor a list of messages"


COLUMNS: Mapping[int, Mapping[str, Callable[[Any], str]]] = {
    datasets_pb2.DATASET_FORMAT_UNSPECIFIED: {},
    datasets_pb2.DATASET_FORMAT_INSTRUCT: {"chat_completion_input": _chat, "expected_answer": _text},
    datasets_pb2.DATASET_FORMAT_DIALOG: {"dialog": dialog_fault},
    datasets_pb2.DATASET_FORMAT_PREFERENCE: {
        "prompt": _text_or_messages,
        "chosen": _text_or_messages,
        "rejected": _text_or_messages,
    },
    datasets_pb2.DATASET_FORMAT_PROMPT: {"prompt": _text_or_messages},
}
"""By format, the columns that a row must have, and what says what is wrong with each."""


def faults(format_number: int, row: Row) -> list[tuple[str, str]]:
    """Returns what keeps a row from being of a format: columns, and what is wrong with each.

    Args:
        format_number: Number of the format.
        row: The row.
    """
    found = []
    for name, fault_of in COLUMNS[format_number].items():
        value = row.get(name)
        fault = "is missing" if value is None else fault_of(value)
        if fault:
            found.append((name, fault))
    return found


def missing_columns(format_number: int, schema: Schema) -> list[str]:
    """Returns the columns that rows of a format have and a schema lacks."""
    return [name for name in COLUMNS[format_number] if name not in schema]
