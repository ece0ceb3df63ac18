"""Metrics of the memory service, beside those of its calls. They cost nothing to speak of while nobody collects."""

import time
from collections.abc import Iterable, Sequence

from opentelemetry import metrics

from caravan.memory.v1 import query_pb2
from services.memory.banks import Bank, BankTable
from services.memory.records import DocumentWrite

_meter = metrics.get_meter("caravan.memory")
_chunks = _meter.create_counter("caravan.memory.chunks.inserted", "{chunk}", "Chunks that were written")
_queries = _meter.create_histogram(
    "caravan.memory.query.duration", "s", "Time to search one bank, embedding and reranking included"
)
_texts = _meter.create_counter("caravan.memory.embedding.texts", "{text}", "Texts whose vectors were wanted")


def chunks_inserted(bank: Bank, count: int) -> None:
    """Counts chunks that are safe."""
    _chunks.add(count, {"caravan.memory.bank.kind": bank.spec.kind.value})


def documents_written(bank: Bank, writes: Sequence[DocumentWrite]) -> None:
    """Counts the chunks of documents that are safe."""
    chunks_inserted(bank, sum(len(write.batch.chunks) for write in writes if write.batch is not None))


def searched(mode: query_pb2.QueryMode.ValueType, started: float) -> None:
    """Records a search that went well.

    Args:
        mode: What was searched.
        started: `time.monotonic()` of its beginning.
    """
    name = query_pb2.QueryMode.Name(mode).removeprefix("QUERY_MODE_").lower()
    _queries.record(time.monotonic() - started, {"caravan.memory.query.mode": name})


def texts_wanted(count: int, *, cached: bool) -> None:
    """Counts texts whose vectors were wanted.

    Args:
        count: How many.
        cached: Their vectors were kept.
    """
    if count:
        _texts.add(count, {"caravan.memory.embedding.cached": cached})


def observe_banks(banks: BankTable) -> None:
    """Reports the number of open banks by kind.

    Args:
        banks: The banks; looked at from an exporter's thread.
    """

    def observed(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        counts: dict[str, int] = {}
        for bank in banks:
            counts[bank.spec.kind.value] = counts.get(bank.spec.kind.value, 0) + 1
        return [metrics.Observation(count, {"caravan.memory.bank.kind": kind}) for kind, count in counts.items()]

    _meter.create_observable_up_down_counter("caravan.memory.banks", [observed], "{bank}", "Banks that are open")
