"""Searches: trials that are jobs of their own."""

from typing import Any

import pytest

from caravan.post_training.v1 import jobs_pb2, post_training_pb2, training_pb2
from services.core.errors import InvalidArgumentError
from tests.services.post_training.jobs.world import Replica, a_request, eventually

LR = "training_config.optimizer_config.lr"
COMPLETED = jobs_pb2.JOB_STATUS_COMPLETED


def a_search(
    *rates: float, steps: int = 3, parallel: int = 1, **changes: Any
) -> training_pb2.SupervisedFineTuneRequest:
    """The nearer to 0.02, the better."""
    request = a_request(steps, **changes)
    config = request.hyperparam_search_config
    config.metric, config.max_parallel_trials = "validation_loss", parallel
    for rate in rates:
        config.parameters[LR].values.add(number_value=rate)
    return request


async def test_a_search_runs_its_trials_and_serves_the_best(here: Replica) -> None:
    request = a_search(0.1, 0.03, 0.5, auto_register=training_pb2.AutoRegister(model_id="best"))
    search = await here.create(request)
    assert search.kind == jobs_pb2.JOB_KIND_HYPERPARAM_SEARCH
    events = await here.watched(search.job_uuid)
    ended = await here.get(search.job_uuid)
    assert (ended.status, ended.registered_model_id) == (COMPLETED, "best"), ended
    assert len(ended.child_job_uuids) == 3
    assert ended.best_child_job_uuid == ended.child_job_uuids[1]
    best = await here.get(ended.best_child_job_uuid)
    assert best.parent_job_uuid == search.job_uuid
    assert dict(best.trial_parameters) == {LR: 0.03}
    assert best.checkpoints[-1].registered_model_id == "best"
    told = [event.trial for event in events if event.HasField("trial")]
    assert [one.status for one in told] == [jobs_pb2.JOB_STATUS_SCHEDULED, COMPLETED] * 3
    assert [round(one.metric, 6) for one in told if one.status == COMPLETED] == [0.08, 0.01, 0.48]
    listed = (await here.jobs.list(post_training_pb2.ListJobsRequest(parent_job_uuid=search.job_uuid))).items.data
    assert [job.job_uuid for job in listed] == list(ended.child_job_uuids)[::-1]


async def test_a_cancelled_search_cancels_its_trials(here: Replica) -> None:
    search = await here.create(a_search(0.1, 0.2, 0.3, steps=200, labels={"seconds": 0.05}))
    await here.until(search.job_uuid, lambda job: len(job.child_job_uuids) == 1)
    (trial,) = (await here.get(search.job_uuid)).child_job_uuids
    await here.until(trial, lambda job: job.progress.step >= 1)
    await here.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=search.job_uuid))
    ended = await here.ended(search.job_uuid)
    assert ended.status == jobs_pb2.JOB_STATUS_CANCELLED
    assert list(ended.child_job_uuids) == [trial]
    assert (await here.get(trial)).status == jobs_pb2.JOB_STATUS_CANCELLED
    await here.jobs.delete(post_training_pb2.DeleteJobRequest(job_uuid=search.job_uuid))
    assert not (await here.jobs.list(post_training_pb2.ListJobsRequest())).items.data


async def test_a_paused_search_rests_with_its_trials_and_goes_on_with_them(here: Replica) -> None:
    search = await here.create(a_search(0.1, 0.02, steps=12, labels={"seconds": 0.05}))
    await here.until(search.job_uuid, lambda job: len(job.child_job_uuids) == 1)
    await here.jobs.pause(post_training_pb2.PauseJobRequest(job_uuid=search.job_uuid))
    await here.until(search.job_uuid, lambda job: job.status == jobs_pb2.JOB_STATUS_PAUSED)
    (trial,) = (await here.get(search.job_uuid)).child_job_uuids
    assert (await here.get(trial)).status == jobs_pb2.JOB_STATUS_PAUSED
    await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=search.job_uuid))
    ended = await here.ended(search.job_uuid)
    assert ended.status == COMPLETED
    assert ended.best_child_job_uuid == ended.child_job_uuids[1]


async def test_a_search_whose_trials_all_fail_fails(here: Replica) -> None:
    search = await here.create(a_search(0.1, 0.2, labels={"fail_at": 1}))
    ended = await here.ended(search.job_uuid)
    assert ended.status == jobs_pb2.JOB_STATUS_FAILED
    assert "no trial completed" in ended.error.message
    await eventually(lambda: not here.scheduler.running)


async def test_a_search_that_cannot_be_is_refused_before_there_is_a_job(here: Replica) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await here.create(a_search(0.1, 7.0))
    assert caught.value.violations[0].field == f'hyperparam_search_config.parameters["{LR}"].values[1]'
    assert not (await here.jobs.list(post_training_pb2.ListJobsRequest())).items.data
