"""Curves of a job's metrics: in a terminal, and as a picture."""

from collections import defaultdict
from pathlib import Path

from caravan.errors import InvalidInputError
from caravan.post_training.v1 import jobs_pb2

LOSS, VALIDATION_LOSS = "loss", "validation_loss"
_INCHES = (8, 4.5)


class Curves:
    """Values of metrics by step."""

    def __init__(self) -> None:
        """Begins empty."""
        self._values: dict[str, dict[int, float]] = defaultdict(dict)

    def add(self, event: jobs_pb2.JobEvent) -> bool:
        """Takes an event; returns whether it has new values. A step that was repeated after a crash has its last value.

        Args:
            event: Any event of a job.
        """
        if not event.HasField("metrics"):
            return False
        for name, value in event.metrics.metrics.items():
            self._values[name][event.metrics.step] = value
        return True

    @property
    def names(self) -> list[str]:
        """Names of the metrics, in alphabetical order."""
        return sorted(self._values)

    def points(self, name: str) -> tuple[list[int], list[float]]:
        """Returns the steps and the values of a metric, in the steps' order."""
        values = self._values.get(name, {})
        steps = sorted(values)
        return steps, [values[step] for step in steps]

    def wanted(self, names: list[str]) -> list[str]:
        """Returns which metrics to show.

        Args:
            names: Those that were asked for. Empty: the losses.

        Raises:
            InvalidInputError: There are no such values.
        """
        chosen = names or [name for name in (LOSS, VALIDATION_LOSS) if name in self._values]
        missing = [name for name in chosen if name not in self._values]
        if missing or not chosen:
            there = ", ".join(self.names) or "none yet"
            raise InvalidInputError(f"the job has no metric {', '.join(missing) or LOSS}; it has {there}")
        return chosen


def in_terminal(curves: Curves, names: list[str], width: int, height: int) -> str:
    """Returns curves as text, without colours.

    Args:
        curves: The values.
        names: Metrics to show.
        width: Columns.
        height: Lines.

    Raises:
        InvalidInputError: What draws them is not installed.
    """
    try:
        import plotext
    except ImportError as error:
        raise InvalidInputError("curves in a terminal need plotext: pip install plotext") from error
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    for name, marker in zip(names, ("braille", "o", "x", "+", "*"), strict=False):
        steps, values = curves.points(name)
        signal = figure.signal(steps, values, marker=marker)
        if len(steps) > 1 and marker == "braille":
            signal.lines()
        figure.draw(signal)
    marks = zip(names, ("line", "o", "x", "+", "*"), strict=False)
    figure.title(", ".join(name if mark == "line" else f"{name} ({mark})" for name, mark in marks))
    text: str = plotext.uncolorize(figure.build().string())
    return text


def as_picture(curves: Curves, names: list[str], title: str, path: Path) -> None:
    """Writes curves as a picture.

    Args:
        curves: The values.
        names: Metrics to show.
        title: What stands over it.
        path: The file; its ending says which kind of picture.

    Raises:
        InvalidInputError: It cannot be written, or what draws it is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError("pictures of curves need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="step")
    for name in names:
        steps, values = curves.points(name)
        axes.plot(steps, values, label=name, marker="." if len(steps) < 2 or name == VALIDATION_LOSS else "")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"cannot write {path}: {error}") from error
