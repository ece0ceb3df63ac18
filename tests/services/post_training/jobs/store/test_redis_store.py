"""What the jobs' store promises, on a real server."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest
import redis

from caravan.post_training.v1 import jobs_pb2, post_training_pb2
from services.core.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.post_training import keys
from services.post_training.jobs import events, transitions
from services.post_training.jobs.job_store import EventsGoneError, StaleError
from services.post_training.jobs.ports import Completed, LeaseLostError, Stopped
from services.post_training.jobs.records import Batch, Claimed, Lease
from services.post_training.jobs.trials import trials_of
from tests.services.post_training.jobs.world import DATASET, Replica, a_request, replica
from tests.support.training_service import copy_job
from tests.support.valkey import ValkeyServer

CLAIMED = Claimed("me", 60_000)
COMPLETED = Completed()


async def claim(here: Replica, job_uuid: str, lease_ms: int = 60_000) -> Lease:
    record = await here.store.read(job_uuid)
    change = transitions.claim(record, Claimed("me", lease_ms), "me", {})
    return Lease(job_uuid, await here.store.change(record, change))


async def end(here: Replica, lease: Lease, outcome: Any = COMPLETED) -> None:
    record = await here.store.read(lease.job_uuid)
    await here.store.change(record, transitions.finish(record, outcome, 5), lease=lease)


def metrics(step: int, **values: float) -> jobs_pb2.JobEvent:
    return jobs_pb2.JobEvent(timestamp=events.now(), metrics=jobs_pb2.JobMetricsEvent(step=step, metrics=values))


def listed(**wanted: Any) -> post_training_pb2.ListJobsRequest:
    return post_training_pb2.ListJobsRequest(**wanted)


async def test_the_same_identifier_with_the_same_request_is_the_same_job(idle: Replica) -> None:
    first = await idle.create(a_request(job_uuid="mine"))
    again = await idle.create(a_request(job_uuid="mine", request_id="another"))
    assert (first.job_uuid, again) == ("mine", first)
    with pytest.raises(AlreadyExistsError) as caught:
        await idle.create(a_request(9, job_uuid="mine"))
    assert caught.value.resource_name == "mine"


async def test_the_same_request_id_is_the_same_job_and_not_another_request(idle: Replica) -> None:
    first = await idle.create(a_request(request_id="once"))
    assert (await idle.create(a_request(request_id="once"))).job_uuid == first.job_uuid
    assert (await idle.create(a_request())).job_uuid != first.job_uuid
    with pytest.raises(InvalidArgumentError) as caught:
        await idle.create(a_request(9, request_id="once"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_many_calls_at_once_with_one_identifier_create_one_job(idle: Replica) -> None:
    made = await asyncio.gather(*(idle.create(a_request(job_uuid="mine")) for _ in range(20)))
    assert {job.job_uuid for job in made} == {"mine"}
    assert len((await idle.jobs.list(listed())).items.data) == 1


async def test_a_job_records_the_newest_revision_and_uses_it_until_it_ends(idle: Replica) -> None:
    job = await idle.create(a_request())
    assert job.supervised_fine_tune.training_config.data_config.dataset_revision == 3
    users = keys.dataset_users(DATASET)
    client = idle.connection._client
    assert await client.smembers(users) == {job.job_uuid.encode()}  # type: ignore[misc]
    await end(idle, await claim(idle, job.job_uuid))
    assert not await client.smembers(users)  # type: ignore[misc]


async def test_a_job_on_a_revision_that_is_not_there_is_refused_and_leaves_nothing(idle: Replica) -> None:
    request = a_request()
    request.training_config.data_config.dataset_revision = 4
    with pytest.raises(NotFoundError) as caught:
        await idle.create(request)
    assert caught.value.resource_type == "dataset"
    assert not (await idle.jobs.list(listed())).items.data


async def test_only_the_holder_of_the_newest_lease_writes(idle: Replica) -> None:
    job = await idle.create(a_request())
    old = await claim(idle, job.job_uuid, lease_ms=1)
    await asyncio.sleep(0.01)
    assert await idle.store.expired_jobs(10) == [job.job_uuid]
    record = await idle.store.read(job.job_uuid)
    await idle.store.change(record, transitions.finish(record, Stopped(), 5), lease=old)
    new = await claim(idle, job.job_uuid)
    assert new.token == old.token + 1
    await idle.store.append(new, Batch([metrics(1, loss=1.0)], metrics={"loss": 1.0}))
    with pytest.raises(LeaseLostError):
        await idle.store.append(old, Batch([metrics(2, loss=2.0)]))
    with pytest.raises(LeaseLostError):
        await idle.store.heartbeat(old, 1000)
    with pytest.raises(LeaseLostError):
        await end(idle, old)
    assert old.lost.is_set()
    assert (await idle.store.read(job.job_uuid)).metrics == {"loss": 1.0}


async def test_a_change_decided_on_an_old_state_is_refused(idle: Replica) -> None:
    job = await idle.create(a_request())
    record = await idle.store.read(job.job_uuid)
    await idle.jobs.pause(post_training_pb2.PauseJobRequest(job_uuid=job.job_uuid))
    with pytest.raises(StaleError):
        await idle.store.change(record, transitions.claim(record, CLAIMED, "me", {}))


async def test_a_stale_revision_of_the_caller_aborts(idle: Replica) -> None:
    job = await idle.create(a_request())
    with pytest.raises(AbortedError) as caught:
        await idle.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=job.job_uuid, revision=2))
    assert caught.value.reason == "STALE_REVISION"
    done = await idle.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=job.job_uuid, revision=1, request_id="x"))
    again = await idle.jobs.cancel(
        post_training_pb2.CancelJobRequest(job_uuid=job.job_uuid, revision=1, request_id="x")
    )
    assert (done.revision, again) == (2, done)


async def test_the_oldest_events_go_and_who_asks_for_them_is_told(job_server: ValkeyServer, tmp_path: Any) -> None:
    job_server.flush()
    async with replica(job_server.url, tmp_path, schedule=False, store={"max_events": 100}) as here:
        job = await here.create(a_request())
        lease = await claim(here, job.job_uuid)
        for start in range(0, 500, 100):
            await here.store.append(lease, Batch([metrics(start + number, loss=1.0) for number in range(100)]))
        await end(here, lease)
        with pytest.raises(EventsGoneError) as caught:
            await here.watched(job.job_uuid, 1)
        first = int(caught.value.metadata["first_sequence"])
        kept = await here.watched(job.job_uuid, first)
        assert [event.sequence for event in kept] == list(range(first, 505))
        assert 100 <= len(kept) < 400


async def test_news_reach_a_watcher_in_another_process_within_a_moment(job_server: ValkeyServer, tmp_path: Any) -> None:
    job_server.flush()
    async with (
        replica(job_server.url, tmp_path, schedule=False, store={"poll_seconds": 30}) as here,
        replica(job_server.url, tmp_path, schedule=False, store={"poll_seconds": 30}) as there,
    ):
        job = await here.create(a_request())
        lease = await claim(here, job.job_uuid)
        request = post_training_pb2.WatchJobRequest(
            job_uuid=job.job_uuid, kinds=[post_training_pb2.JOB_EVENT_KIND_METRICS]
        )
        seen = []
        async with aclosing(there.jobs.watch(request)) as watched, asyncio.timeout(10):
            for step in range(1, 20):
                await here.store.append(lease, Batch([metrics(step, loss=1.0)]))
                event = await anext(watched)
                seen.append(time.time() - event.timestamp.ToMicroseconds() / 1e6)
        assert sorted(seen)[len(seen) // 2] < 0.2
        assert not there.store._watching._wakers


async def test_a_watch_with_trials_sends_theirs_before_the_searchs_end(idle: Replica) -> None:
    request = a_request()
    request.hyperparam_search_config.parameters["training_config.optimizer_config.lr"].values.add(number_value=0.1)
    search = await idle.create(request)
    trial = await idle.creating.create_trial(search, request, trials_of(request)[0])
    watching = asyncio.create_task(idle.watched(search.job_uuid, include_trials=True))
    lease = await claim(idle, search.job_uuid)
    child = await claim(idle, trial)
    await idle.store.append(child, Batch([metrics(1, loss=1.0)]))
    await end(idle, child)
    await end(idle, lease)
    found = await watching
    assert found[-1].end.job.job_uuid == search.job_uuid
    own = [event.sequence for event in found if event.job_uuid == trial]
    assert own == [1, 2, 3, 4, 5]
    assert (await idle.get(search.job_uuid)).child_job_uuids == [trial]


async def test_jobs_are_listed_newest_first_by_what_they_are(idle: Replica) -> None:
    made = [(await idle.create(a_request(labels={"note": number % 2}))).job_uuid for number in range(6)]
    await end(idle, await claim(idle, made[0]))
    await idle.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=made[1]))

    async def names(**wanted: Any) -> list[str]:
        return [job.job_uuid for job in (await idle.jobs.list(listed(**wanted))).items.data]

    assert await names() == made[::-1]
    assert await names(statuses=[jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_CANCELLED]) == [made[1], made[0]]
    assert await names(labels={"note": "1"}) == [made[5], made[3], made[1]]
    assert await names(labels={"note": "1", "steps": "6"}) == []
    assert await names(kinds=[jobs_pb2.JOB_KIND_PREFERENCE_OPTIMIZE]) == []
    third = (await idle.get(made[2])).scheduled_at
    assert await names(scheduled_before=third) == [made[1], made[0]]
    assert await names(scheduled_after=third) == made[:1:-1]
    whole = (await idle.jobs.list(listed())).items.data
    assert not any(job.WhichOneof("request") or job.checkpoints for job in whole)
    assert [job.queue_position for job in whole] == [4, 3, 2, 1, 0, 0]
    assert [job.last_sequence for job in whole] == [1, 1, 1, 1, 3, 4]


async def test_pages_hold_every_job_once_and_the_last_one_says_so(idle: Replica) -> None:
    made = [(await idle.create(a_request())).job_uuid for _ in range(7)]
    found, token, sizes = [], "", []
    while True:
        page = await idle.jobs.list(listed(page_size=3, page_token=token))
        found += [job.job_uuid for job in page.items.data]
        sizes.append(len(page.items.data))
        token = page.next_token
        if not token:
            break
    assert (found, sizes) == (made[::-1], [3, 3, 1])
    assert not (await idle.jobs.list(listed(page_size=7))).next_token
    with pytest.raises(InvalidArgumentError):
        await idle.jobs.list(listed(page_token="nonsense"))


async def test_a_deleted_job_is_gone_with_everything_and_its_name_is_free(idle: Replica) -> None:
    job = await idle.create(a_request(job_uuid="mine"))
    delete = post_training_pb2.DeleteJobRequest(job_uuid="mine", request_id="once")
    with pytest.raises(FailedPreconditionError) as caught:
        await idle.jobs.delete(delete)
    assert caught.value.reason == "JOB_NOT_ENDED"
    idle.storage.job("mine").mkdir()
    await end(idle, await claim(idle, job.job_uuid))
    await idle.jobs.delete(delete)
    await idle.jobs.delete(delete)
    with pytest.raises(NotFoundError):
        await idle.get("mine")
    assert not idle.storage.job("mine").exists()
    left = [name async for name in idle.connection._client.scan_iter(f"{keys.TAG}:*")]
    assert sorted(name.decode() for name in left) == sorted(
        [keys.dataset(DATASET), keys.dataset_revisions(DATASET), keys.request("DeleteJob", "once")]
    )
    assert (await idle.create(a_request(3, job_uuid="mine"))).revision == 1


async def test_a_jobs_time_is_over_after_its_retention(idle: Replica) -> None:
    request = a_request()
    request.retention.FromMilliseconds(20)
    short, kept = await idle.create(request), await idle.create(a_request())
    for job in (short, kept):
        await end(idle, await claim(idle, job.job_uuid))
    assert (await idle.get(short.job_uuid)).HasField("expires_at")
    await asyncio.sleep(0.05)
    await idle.retention.sweep()
    assert [job.job_uuid for job in (await idle.jobs.list(listed())).items.data] == [kept.job_uuid]


async def test_files_of_a_deletion_that_was_cut_short_are_swept_before_the_name_is_free(idle: Replica) -> None:
    job = await idle.create(a_request(job_uuid="mine"))
    await end(idle, await claim(idle, job.job_uuid))
    await idle.store.delete(await idle.store.read("mine"))
    idle.storage.job("mine").mkdir()
    with pytest.raises(Exception, match="still being removed"):
        await idle.create(a_request(job_uuid="mine"))
    await idle.retention.sweep()
    assert not idle.storage.job("mine").exists()
    await idle.create(a_request(job_uuid="mine"))


async def test_ten_thousand_finished_jobs_are_listed(idle: Replica, job_server: ValkeyServer) -> None:
    job = await idle.create(a_request(labels={"note": "one of many"}))
    await end(idle, await claim(idle, job.job_uuid))
    with redis.Redis(port=job_server.port) as client:
        copy_job(client, job.job_uuid, 10_000)
    token, count = "", 0
    while True:
        page = await idle.jobs.list(listed(page_size=1000, page_token=token))
        count += len(page.items.data)
        token = page.next_token
        if not token:
            break
    assert count == 10_000
