"""What a generation is going to do: the request with all that it leaves open decided, and kept, so that going on later does the same."""

import dataclasses
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from caravan.datasets.v1 import datasets_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.post_training.storage import write_file
from services.post_training.synthesis.dialogs import Messages, dialog_of_row, fault_of, require_storable
from services.post_training.synthesis.filters import Filter, FilterNumbers, numbers_of
from services.post_training.synthesis.ports import Datasets

PLAN_FILE = "generation.json"

_FORMATS = (datasets_pb2.DATASET_FORMAT_PROMPT, datasets_pb2.DATASET_FORMAT_DIALOG)
_SEED_BITS = 62

Request = synthetic_data_pb2.StartGenerationRequest
"""The three requests share their fields; this one has all of them."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a request leaves open."""

    model: str
    """The model that answers."""
    revision: int
    """Revision of the data set that is answered; 0: there is none."""
    rows: int
    """Number of its rows."""
    seed: int
    """Seed of the filter."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a generation is going to do."""

    request: Request
    """What is asked for."""
    decisions: Decisions
    """What it leaves open."""

    @property
    def dialogs(self) -> int:
        """Number of dialogs."""
        return len(self.request.dialogs) + self.decisions.rows

    @property
    def answers(self) -> int:
        """Number of answers to each."""
        return self.request.k_generations or 1

    @property
    def is_scored(self) -> bool:
        """Whether a reward model scores the answers."""
        return bool(self.request.reward_model)

    @property
    def numbers(self) -> FilterNumbers:
        """The filter's numbers."""
        request = self.request
        return numbers_of(request.filtering_function, request.filter_params, self.dialogs, self.decisions.seed)

    def filter(self) -> Filter:
        """Returns what decides which answers are kept."""
        return Filter(self.numbers, self.dialogs, self.answers)

    def sampling(self, dialog: int, answer: int) -> types_pb2.SamplingParams:
        """Returns how an answer is sampled: by nucleus sampling unless asked otherwise; a seed is another one for each answer.

        Args:
            dialog: Place of the dialog.
            answer: Place among its answers.
        """
        params = types_pb2.SamplingParams()
        params.CopyFrom(self.request.sampling_params)
        if params.WhichOneof("strategy") is None:
            params.top_p.temperature = 1.0
        if params.HasField("seed"):
            params.seed = (params.seed + dialog * self.answers + answer) % (1 << _SEED_BITS)
        return params


def check_dialogs(request: Request) -> None:
    """Makes sure that the request's own dialogs can be answered, and stored if they are to be.

    Raises:
        InvalidArgumentError: One cannot.
    """
    for index, dialog in enumerate(request.dialogs):
        path = f"dialogs[{index}].messages"
        if fault := fault_of(dialog.messages):
            raise InvalidArgumentError.of(path, f"the dialog {fault}")
        if request.output_dataset_id:
            require_storable(dialog.messages, path)


async def decide(request: Request, model: str, datasets: Datasets) -> Decisions:
    """Decides what a request leaves open.

    Args:
        request: The request.
        model: Model that answers, when it names none.
        datasets: Where its data set is.

    Raises:
        NotFoundError: There is no such data set.
        InvalidArgumentError: The data set is of another format, or there is nothing to answer.
    """
    revision = rows = 0
    if request.dataset_id:
        dataset = await datasets.get(request.dataset_id)
        if dataset.format not in _FORMATS:
            name = datasets_pb2.DatasetFormat.Name(dataset.format).removeprefix("DATASET_FORMAT_").lower()
            raise InvalidArgumentError.of("dataset_id", f"must be a data set of format prompt or dialog, not {name}")
        revision, rows = dataset.current.revision, dataset.current.row_count
    if not request.dialogs and not rows:
        raise InvalidArgumentError.of("dataset_id", "has no rows: there is nothing to answer")
    return Decisions(request.model or model, revision, rows, secrets.randbits(_SEED_BITS))


def read_decisions(folder: Path) -> Decisions | None:
    """Returns what an earlier attempt in a folder has decided; None: there was none."""
    try:
        return Decisions(**json.loads((folder / PLAN_FILE).read_text()))
    except FileNotFoundError:
        return None


def write_decisions(folder: Path, decisions: Decisions) -> None:
    """Keeps what was decided for later attempts.

    Raises:
        ResourceExhaustedError: The disk is full.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    write_file(folder / PLAN_FILE, json.dumps(dataclasses.asdict(decisions)).encode())


async def dialogs_of(plan: Plan, datasets: Datasets) -> AsyncIterator[tuple[int, Messages]]:
    """Yields the dialogs with their places: the request's, then the data set's.

    Args:
        plan: What is to be answered.
        datasets: Where its data set is.

    Raises:
        FailedPreconditionError: A row cannot be answered.
    """
    for index, dialog in enumerate(plan.request.dialogs):
        yield index, dialog.messages
    if not plan.decisions.rows:
        return
    first, dataset_id = len(plan.request.dialogs), plan.request.dataset_id
    async with aclosing(datasets.rows(dataset_id, plan.decisions.revision)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            for number, text in enumerate(batch.texts, start=batch.first_row):
                yield first + number, dialog_of_row(text, number, dataset_id)
