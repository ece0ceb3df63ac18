"""Shows what a job does, as it happens."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from caravan.cli.job_plots import LOSS, VALIDATION_LOSS, Curves, in_terminal
from caravan.cli.session import Session
from caravan.errors import InvalidInputError
from caravan.post_training.v1 import jobs_pb2, training_pb2
from caravan.trainings import status_name

_PLOT_LINES = 12
_DRAWN_SECONDS = 0.5
_LEVELS = {training_pb2.LOG_LEVEL_WARN: "yellow", training_pb2.LOG_LEVEL_ERROR: "red"}
_STATUSES = {
    jobs_pb2.JOB_STATUS_COMPLETED: "green",
    jobs_pb2.JOB_STATUS_FAILED: "red",
    jobs_pb2.JOB_STATUS_CANCELLED: "yellow",
}


class JobView:
    """Writes the events of a job: on a terminal a bar and a curve that move, otherwise a line for what people want to know."""

    def __init__(self, session: Session, *, logs: bool = False) -> None:
        """Has shown nothing yet.

        Args:
            session: Where to write.
            logs: Shows log lines of every level, not warnings and errors alone.
        """
        self._session = session
        self._logs = logs
        self._curves = Curves()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[what]}"),
            TimeRemainingColumn(),
            console=session.err,
        )
        self._task: TaskID | None = None
        self._live: Live | None = None
        self._drawn = 0.0
        self.ended: jobs_pb2.Job | None = None
        """The job, when it has ended."""

    def __enter__(self) -> Self:
        """Begins to show."""
        if self._session.err.is_terminal and not self._session.json:
            self._live = Live(console=self._session.err, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends showing; the last picture stays."""
        if self._live is not None:
            self._draw(at_once=True)
            self._live.stop()

    def show(self, event: jobs_pb2.JobEvent) -> None:
        """Shows one event.

        Args:
            event: The event.
        """
        self.ended = event.end.job if event.HasField("end") else self.ended
        if self._session.json:
            self._session.write_json_line(event)
            return
        match event.WhichOneof("event"):
            case "state":
                self._state(event.state)
            case "progress":
                self._progress(event.progress)
            case "log":
                self._log(event.log)
            case "checkpoint":
                self._say(f"checkpoint {event.checkpoint.checkpoint.identifier}", "dim")
            case "trial":
                self._say(f"trial {event.trial.trial_job_uuid} is {status_name(event.trial.status)}")
            case "metrics":
                self._curves.add(event)
                self._draw()

    def show_all(self, events: Iterable[jobs_pb2.JobEvent]) -> None:
        """Shows events to the last one."""
        for event in events:
            self.show(event)

    def _state(self, state: jobs_pb2.JobStateEvent) -> None:
        place = f", place {state.queue_position} in the queue" if state.HasField("queue_position") else ""
        why = f": {state.reason}" if state.reason else ""
        self._say(f"{status_name(state.status)}{place}{why}", _STATUSES.get(state.status, ""))

    def _progress(self, progress: jobs_pb2.TrainingProgress) -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=None, what="")
        facts = []
        if progress.step:
            facts.append(f"step {progress.step}/{progress.total_steps}, epoch {progress.epoch:.2f}")
        if progress.rows:
            facts.append(f"{progress.rows} answers")
        if progress.HasField("loss"):
            facts.append(f"loss {progress.loss:.4g}")
        if progress.HasField("validation_loss"):
            facts.append(f"validation {progress.validation_loss:.4g}")
        if progress.tokens_per_second:
            facts.append(f"{progress.tokens_per_second:.0f} tokens/s")
        what = ", ".join(facts)
        self._bar.update(self._task, completed=progress.step, total=progress.total_steps or None, what=what)
        if self._live is None:
            self._session.err.print(what, markup=False)
        self._draw()

    def _log(self, log: jobs_pb2.JobLogEvent) -> None:
        if self._logs or log.level in _LEVELS:
            rank = f"[{log.rank}] " if log.rank else ""
            self._say(f"{rank}{log.line}", _LEVELS.get(log.level, "dim"))

    def _say(self, line: str, style: str = "") -> None:
        console = self._live.console if self._live is not None else self._session.err
        console.print(Text(line, style=style))

    def _draw(self, *, at_once: bool = False) -> None:
        if self._live is None or (time.monotonic() - self._drawn < _DRAWN_SECONDS and not at_once):
            return
        self._drawn = time.monotonic()
        parts: list[Text | Progress] = [Text(plot)] if (plot := self._plot()) else []
        if self._task is not None:
            parts.append(self._bar)
        self._live.update(Group(*parts))

    def _plot(self) -> str:
        names = [name for name in (LOSS, VALIDATION_LOSS) if self._curves.points(name)[0]]
        if not names:
            return ""
        try:
            return in_terminal(self._curves, names, min(self._session.err.width, 100), _PLOT_LINES)
        except InvalidInputError:
            return ""
