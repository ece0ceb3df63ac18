"""The engine's load, cache and queue, read from what its scheduler reports after each step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.metrics.stats import SchedulerStats


@dataclass(slots=True)
class EngineLoad:
    """The engine as its scheduler last saw it."""

    running: int = 0
    """Sequences that are being decoded."""
    waiting: int = 0
    """Calls that wait for room."""
    kv_cache_usage: float = 0.0
    """Share of the key-value cache in use, 0 to 1."""
    prefix_cache_queries: int = 0
    """Prompt tokens looked up in the prefix cache since the start."""
    prefix_cache_hits: int = 0
    """Prompt tokens found there since the start."""


class SchedulerWatch:
    """Takes the place of vLLM's stat loggers and keeps only what the scheduler reports.

    vLLM's own loggers need statistics of every token, a fifth of the front end's work; what is told of single calls (time to first token,
    tokens, duration) is measured once a call by the service instead.
    """

    def __init__(self) -> None:
        """Starts with an idle engine."""
        self._load = EngineLoad()
        self._unfinished: Callable[[], int] = lambda: 0

    @property
    def load(self) -> EngineLoad:
        """The load now. An engine that has become idle takes no step, so that its scheduler's last word is out of date."""
        if not self._unfinished():
            self._load.running = self._load.waiting = 0
            self._load.kv_cache_usage = 0.0
        return self._load

    def install(self, llm: "AsyncLLM", *, is_traced: bool) -> None:
        """Becomes the only stat logger of an engine that has not had a request yet.

        Args:
            llm: The engine.
            is_traced: The engine makes spans, which need the statistics of every token.
        """
        self._unfinished = llm.get_num_unfinished_requests
        llm.logger_manager = self
        llm.log_stats = is_traced
        llm.output_processor.log_stats = is_traced

    def record(self, scheduler_stats: "SchedulerStats | None" = None, **_: Any) -> None:
        """Called by vLLM after each step."""
        if scheduler_stats is None:
            return
        load = self._load
        load.running = scheduler_stats.num_running_reqs
        load.waiting = scheduler_stats.num_waiting_reqs
        load.kv_cache_usage = scheduler_stats.kv_cache_usage
        load.prefix_cache_queries += scheduler_stats.prefix_cache_stats.queries
        load.prefix_cache_hits += scheduler_stats.prefix_cache_stats.hits

    def record_admission_rejection(self, reason: str) -> None:
        """Called by vLLM when its queue is full; the call's status tells it already."""

    def log(self) -> None:
        """Called by vLLM now and then; metrics are read by their exporter instead."""


def publish(load: "Callable[[], EngineLoad]", model_id: str) -> None:
    """Publishes the load as OpenTelemetry metrics.

    Args:
        load: Returns the current load.
        model_id: Value of the attribute `gen_ai.request.model`.
    """
    meter = metrics.get_meter("caravan.inference.vllm")
    attributes = {"gen_ai.request.model": model_id}

    def observing(read: "Callable[[EngineLoad], float]") -> "list[Callable[[CallbackOptions], Iterable[Observation]]]":
        return [lambda _: [Observation(read(load()), attributes)]]

    gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
    gauge("caravan.engine.running", observing(lambda now: now.running), "{sequence}", "Sequences being decoded")
    gauge("caravan.engine.waiting", observing(lambda now: now.waiting), "{call}", "Calls that wait for room")
    gauge(
        "caravan.engine.kv_cache.usage", observing(lambda now: now.kv_cache_usage), "1", "Share of the KV cache in use"
    )
    counter("caravan.engine.prefix_cache.queries", observing(lambda now: now.prefix_cache_queries), "{token}")
    counter("caravan.engine.prefix_cache.hits", observing(lambda now: now.prefix_cache_hits), "{token}")
