"""What an operator's graphs show of jobs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from caravan.post_training.v1 import jobs_pb2
from tests.services.post_training.jobs.world import Replica, a_request, eventually, replica
from tests.support.valkey import ValkeyServer


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[Mapping[str, Any], Any]]]:
    """Attributes and value (or count) of every point by the metric's name."""
    found: dict[str, list[tuple[Mapping[str, Any], Any]]] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            found[metric.name] = [
                (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", None)))
                for point in metric.data.data_points
            ]
    return found


async def test_jobs_that_wait_run_end_and_begin_again_are_counted(job_server: ValkeyServer, tmp_path: Path) -> None:
    job_server.flush()
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    async with replica(job_server.url, tmp_path, meter=meter) as here:
        first = await here.create(a_request(30, labels={"seconds": 0.02, "kill_at": 8, "once": True}))
        await here.until(first.job_uuid, lambda job: job.status == jobs_pb2.JOB_STATUS_IN_PROGRESS)
        second = await here.create(a_request(2))
        await eventually(lambda: ({"caravan.job.queue": "local"}, 1) in points(reader).get("caravan.jobs.waiting", ()))
        await eventually(lambda: ({"caravan.job.queue": "local"}, 1) in points(reader)["caravan.jobs.running"])
        failing = await here.create(a_request(9, labels={"fail_at": 2}))
        for job in (second, failing, first):
            await here.ended(job.job_uuid)
        await eventually(lambda: ({"caravan.job.queue": "local"}, 0) in points(reader)["caravan.jobs.running"])
        shown = points(reader)
    kind = {"caravan.job.kind": "supervised_fine_tune"}
    assert shown["caravan.job.retries"] == [({**kind, "error.type": "TRAINING_CRASHED"}, 1)]
    ended = {attributes["caravan.job.status"]: count for attributes, count in shown["caravan.job.duration"]}
    assert ended == {"completed": 2, "failed": 1}


async def test_a_job_whose_events_cannot_be_stored_fails_and_does_not_hang(
    here: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(here.store, "append", append)
    job = await here.create(a_request(5))
    ended = await here.ended(job.job_uuid)
    assert ended.status == jobs_pb2.JOB_STATUS_FAILED
    assert "events cannot be stored" in ended.error.message
