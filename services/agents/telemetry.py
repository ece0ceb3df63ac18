"""Metrics of turns, steps and tool calls. No name that a caller can choose is an attribute: the number of series stays small."""

from collections.abc import Callable

from opentelemetry import metrics

from caravan.agents.v1 import turns_pb2
from services.agents.events import step_type
from services.core.errors import CaravanError

_OWN_TOOLS = ("brave_search", "bing_search", "wolfram_alpha", "photogen", "code_interpreter")


class TurnMetrics:
    """Records what turns do. Costs nothing to speak of while nobody collects."""

    def __init__(self) -> None:
        """Makes the instruments."""
        self._meter = meter = metrics.get_meter("caravan.agents")
        self._turns = meter.create_histogram(
            "caravan.agents.turn.duration",
            "s",
            "Time from a turn's beginning to its end, waiting for its client included",
        )
        self._steps = meter.create_counter("caravan.agents.steps", "{step}", "Steps that have ended")
        self._calls = meter.create_histogram("caravan.agents.tool.duration", "s", "Time that a call of a tool took")
        self._taken = meter.create_counter(
            "caravan.agents.turns.taken_over", "{turn}", "Turns of processes that died, taken up here"
        )
        self._left = meter.create_counter(
            "caravan.agents.turns.left", "{turn}", "Turns that this process stopped running before their end"
        )

    def observe_running(self, running: Callable[[], int]) -> None:
        """Reports the number of turns that run now.

        Args:
            running: Tells the number; called from an exporter's thread.
        """
        self._meter.create_observable_up_down_counter(
            "caravan.agents.turns.running", [lambda _: [metrics.Observation(running())]], "{turn}", "Turns that run now"
        )

    def turn_ended(self, status: turns_pb2.TurnStatus.ValueType, seconds: float) -> None:
        """Records the end of a turn.

        Args:
            status: How it ended.
            seconds: Since its beginning.
        """
        self._turns.record(seconds, {"caravan.turn.status": _word(turns_pb2.TurnStatus.Name(status))})

    def turn_taken_over(self) -> None:
        """Records that a turn which another process left was taken up."""
        self._taken.add(1)

    def turn_left(self, error: Exception) -> None:
        """Records that a turn did not end here.

        Args:
            error: Why: the lease is lost, the store is away, or a defect.
        """
        self._left.add(1, {"error.type": error.reason if isinstance(error, CaravanError) else type(error).__name__})

    def step_ended(self, step: turns_pb2.Step) -> None:
        """Records the end of a step.

        Args:
            step: The step.
        """
        self._steps.add(1, {"caravan.step.type": _word(turns_pb2.StepType.Name(step_type(step)))})

    def tool_called(self, name: str, toolgroup_id: str, outcome: str, seconds: float) -> None:
        """Records a call of a tool.

        Args:
            name: The tool's name.
            toolgroup_id: Its tool group; empty: none.
            outcome: "succeeded" or "failed".
            seconds: How long it took.
        """
        kind = name if name in _OWN_TOOLS else "toolgroup" if toolgroup_id else "function"
        self._calls.record(seconds, {"caravan.tool.kind": kind, "caravan.tool.outcome": outcome})


def _word(name: str) -> str:
    """An enum value's own part, in lower case."""
    return name.removeprefix("TURN_STATUS_").removeprefix("STEP_TYPE_").lower()
