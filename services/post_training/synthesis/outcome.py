"""What came of a generation: the answers that are kept, numbers about them, and a data set of them."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from caravan.datasets.v1 import datasets_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.post_training.storage import full_disk_told
from services.post_training.synthesis.dialogs import Messages, row_of
from services.post_training.synthesis.journal import Journal
from services.post_training.synthesis.plan import Plan, dialogs_of
from services.post_training.synthesis.ports import Datasets

_AT_ONCE = 256


async def examples_of(
    plan: Plan, journal: Journal, datasets: Datasets, kept: Sequence[int]
) -> AsyncIterator[synthetic_data_pb2.SyntheticExample]:
    """Yields the answers that are kept, in the dialogs' order.

    Args:
        plan: What was made.
        journal: The answers.
        datasets: Where the plan's data set is.
        kept: Their places among all answers, lowest first.
    """
    following = _by_dialog(kept, plan.answers)
    wanted = next(following, None)
    async with aclosing(dialogs_of(plan, datasets)) as dialogs:  # type: ignore[type-var]
        async for index, messages in dialogs:
            if wanted is None:
                return
            if index == wanted[0]:
                for example in await read_examples(journal, index, messages, wanted[1]):
                    yield example
                wanted = next(following, None)


async def read_examples(
    journal: Journal, index: int, messages: Messages, answers: Sequence[int]
) -> list[synthetic_data_pb2.SyntheticExample]:
    """Returns answers to a dialog.

    Args:
        journal: The answers.
        index: Place of the dialog.
        messages: The dialog.
        answers: Places among its answers.
    """
    first = index * journal.answers
    scores = journal.scores_of(index)
    found = await journal.messages([first + answer for answer in answers])
    return [
        synthetic_data_pb2.SyntheticExample(
            dialog_index=index,
            dialog=messages,
            generation=types_pb2.Message(assistant=message),
            score=scores[answer] if scores else None,
        )
        for answer, message in zip(answers, found, strict=True)
    ]


def statistics_of(plan: Plan, journal: Journal, kept: Sequence[int]) -> synthetic_data_pb2.GenerationStatistics:
    """Returns the numbers about what was made.

    Args:
        plan: What was made.
        journal: The answers.
        kept: Places of those that are kept.
    """
    statistics = synthetic_data_pb2.GenerationStatistics(
        generated=journal.made, kept=len(kept), seed=plan.numbers.seed, seconds=journal.seconds
    )
    if plan.is_scored:
        scores = journal.scores
        statistics.min_score, statistics.max_score = min(scores), max(scores)
        statistics.mean_score = math.fsum(scores) / len(scores)
        if kept:
            statistics.mean_kept_score = math.fsum(scores[place] for place in kept) / len(kept)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        if name in journal.usage:
            statistics.metrics.add(metric=name, value=journal.usage[name], unit="tokens")
    return statistics


async def store(
    plan: Plan, journal: Journal, datasets: Datasets, kept: Sequence[int], path: Path, request_id: str
) -> None:
    """Stores the kept answers as the data set that was asked for.

    Args:
        plan: What was made.
        journal: The answers.
        datasets: Where it is stored.
        kept: Places of the answers that are kept, lowest first.
        path: A file for the rows; it is left there.
        request_id: By which a repetition is known. Empty: it will not be repeated.

    Raises:
        FailedPreconditionError: Nothing is kept.
        AlreadyExistsError: There is another data set of this name.
        ResourceExhaustedError: The disk is full.
    """
    request, numbers = plan.request, plan.numbers
    if not kept:
        message = (
            f"the filter keeps none of the {journal.made} answers, and a data set without rows is not stored: widen filter_params, "
            "or make more answers"
        )
        raise FailedPreconditionError(message, reason="NOTHING_KEPT")
    await _write_rows(path, examples_of(plan, journal, datasets, kept))
    wanted = datasets_pb2.CreateDatasetRequest(
        dataset_id=request.output_dataset_id, format=datasets_pb2.DATASET_FORMAT_DIALOG, request_id=request_id
    )
    function = synthetic_data_pb2.FilteringFunction.Name(numbers.function)  # type: ignore[arg-type]
    wanted.metadata.update(
        {
            "made_by": "synthetic_data_generation",
            "model": plan.decisions.model,
            "reward_model": request.reward_model,
            "filtering_function": function.removeprefix("FILTERING_FUNCTION_").lower(),
            "seed": str(numbers.seed),
            "source_dataset_id": request.dataset_id,
            "source_dataset_revision": plan.decisions.revision,
        }
    )
    await datasets.create_from_file(path, wanted)


async def _write_rows(path: Path, examples: AsyncIterator[synthetic_data_pb2.SyntheticExample]) -> None:
    with full_disk_told():
        file = await asyncio.to_thread(path.open, "wb")
    try:
        lines: list[dict[str, Any]] = []
        async for example in examples:
            score = example.score if example.HasField("score") else None
            lines.append(row_of(example.dialog, example.generation.assistant, score))
            if len(lines) >= _AT_ONCE:
                await asyncio.to_thread(_write, file, lines)
                lines = []
        await asyncio.to_thread(_write, file, lines)
    finally:
        await asyncio.to_thread(file.close)


def _write(file: BinaryIO, rows: Iterable[dict[str, Any]]) -> None:
    with full_disk_told():
        file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _by_dialog(kept: Sequence[int], answers: int) -> Iterator[tuple[int, list[int]]]:
    """Groups places by their dialog."""
    index, places = -1, list[int]()
    for place in kept:
        if place // answers != index:
            if places:
                yield index, places
            index, places = place // answers, []
        places.append(place % answers)
    if places:
        yield index, places
