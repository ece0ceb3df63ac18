"""Rows made ready before anything heavy is imported: checked, encoded, packed, and kept for the next attempt."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from services.post_training.spec import RowsSource, TrainingSpec
from services.post_training.trainer.chat import ChatTokenizer
from services.post_training.trainer.encoding import IGNORED, EncodedDialog, EncodedPair, Encoder
from services.post_training.trainer.events import Events
from services.post_training.trainer.problems import RowError
from services.post_training.trainer.recipe import LONGEST_SEQUENCE, Recipe
from services.post_training.trainer.sequences import Counts, write
from services.post_training.trainer.stopping import Stop
from services.post_training.trainer.weights import Weights, file_digest

_SAMPLES = 3
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_LOOKS = 0.05
_INFO = 20


class Stopped(Exception):  # noqa: N818 - it is no error
    """The training was stopped before it began."""


@dataclass(frozen=True)
class Prepared:
    """Rows that are ready."""

    train: Path
    """File of those that are trained on."""
    counts: Counts
    """What became of them."""
    validation: Path | None
    """File of those that are evaluated on."""
    max_length: int
    """Longest sequence in tokens."""


def longest_sequence(recipe: Recipe, weights: Weights) -> int:
    """Returns the longest sequence in tokens.

    Args:
        recipe: The training.
        weights: The model's weights.
    """
    return recipe.max_length or min(weights.context or LONGEST_SEQUENCE, LONGEST_SEQUENCE)


def prepare(spec: TrainingSpec, recipe: Recipe, model: Path, events: Events, stop: Stop) -> Prepared:
    """Makes the rows ready. One process does it, the others wait for its files.

    Args:
        spec: What the training was given.
        recipe: The training.
        model: Folder of the model.
        events: Where it says what becomes of them.
        stop: Whether the training is to stop.

    Raises:
        RowError: Rows do not fit.
        ModelError: The model's tokenizer cannot be read.
        Stopped: The training is to stop.
    """
    preparation = _Preparation(spec, recipe, model, events, stop)
    train, counts = preparation.file("train", spec.rows)
    validation = preparation.file("validation", spec.validation_rows)[0] if spec.validation_rows is not None else None
    return Prepared(train, counts, validation, preparation.max_length)


class _Preparation:
    def __init__(self, spec: TrainingSpec, recipe: Recipe, model: Path, events: Events, stop: Stop) -> None:
        self._spec = spec
        self._recipe = recipe
        self._events = events
        self._stop = stop
        self._tokenizer = ChatTokenizer(model, spec.date)
        self.max_length = longest_sequence(recipe, Weights.read(model))
        self._encoder = Encoder(recipe, self._tokenizer, self.max_length)
        self._model_key = f"{file_digest(model / 'tokenizer.json')} {spec.date}"
        self._told = time.monotonic()

    def file(self, name: str, source: RowsSource) -> tuple[Path, Counts]:
        folder = Path(self._spec.folder) / "rows"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}-{self._key(source)}.arrow"
        counts_file = file.with_suffix(".json")
        if self._events.rank == 0 and not file.exists():
            self._write(file, counts_file, source)
        while not file.exists():
            self._look()
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        counts = Counts(**json.loads(counts_file.read_text(encoding="utf-8")))
        if self._events.rank == 0:
            self._tell(name, counts)
            if self._recipe.log_samples and name == "train":
                self._show(islice(self._encoder.rows(source), _SAMPLES))
        return file, counts

    def _key(self, source: RowsSource) -> str:
        recipe = self._recipe
        parts = (recipe.kind, recipe.rows_format, recipe.packed, recipe.train_on_input, self.max_length)
        text = f"{source} {parts} {self._model_key}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _write(self, file: Path, counts_file: Path, source: RowsSource) -> None:
        # The counts are there first: the file of rows says that both are complete.
        def between(counts: Counts) -> None:
            self._look()
            if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
                self._told = time.monotonic()
                self._events.log(_INFO, f"{counts.rows + counts.left_out} of {source.row_count} rows are encoded")

        def written(counts: Counts) -> None:
            if not counts.rows:
                raise RowError(
                    f"none of {source.row_count} rows leaves anything to learn within {self.max_length} tokens; raise max_sequence_length"
                )
            counts_file.write_text(json.dumps(asdict(counts)), encoding="utf-8")

        write(self._encoder.rows(source), file, self._recipe, self.max_length, between=between, written=written)

    def _look(self) -> None:
        if self._stop:
            raise Stopped

    def _tell(self, name: str, counts: Counts) -> None:
        parts = [f"{counts.rows} rows, {counts.tokens} tokens"]
        if counts.sequences != counts.rows:
            parts.append(f"packed into {counts.sequences} sequences of at most {self.max_length} tokens")
        if counts.truncated:
            parts.append(f"{counts.truncated} cut at {self.max_length} tokens")
        if counts.left_out:
            parts.append(f"{counts.left_out} left out, of which nothing is left to learn once they are cut")
        self._events.log(_INFO, f"{name}: {'; '.join(parts)}")

    def _show(self, rows: Iterable[EncodedDialog | EncodedPair]) -> None:
        for row in rows:
            if isinstance(row, EncodedDialog):
                text = "".join(self._pieces(row))
                self._events.log(_INFO, f"row {row.row}, what is learnt in «»: {text}")
            else:
                texts = [self._tokenizer.decode(ids) for ids in (row.prompt, row.chosen, row.rejected)]
                self._events.log(_INFO, f"row {row.row}: prompt «{texts[0]}» chosen «{texts[1]}» rejected «{texts[2]}»")

    def _pieces(self, row: EncodedDialog) -> Iterator[str]:
        start = 0
        for at in range(1, len(row.ids) + 1):
            if at == len(row.ids) or (row.labels[at] == IGNORED) != (row.labels[start] == IGNORED):
                text = self._tokenizer.decode(row.ids[start:at])
                yield text if row.labels[start] == IGNORED else f"«{text}»"
                start = at
