"""Rows that are added: all or none, in races too."""

import asyncio
import json

import grpc
import pytest

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.post_training import keys
from tests.services.post_training.datasets.server import DIALOG, Served, dialog, digest_of, refused, served
from tests.support.valkey import ValkeyServer

ABORTED, INVALID = grpc.StatusCode.ABORTED, grpc.StatusCode.INVALID_ARGUMENT


async def test_added_rows_make_a_revision_with_the_digest_of_all(service: Served):
    made = await service.create([{"a": 1}])
    current = await service.append(made.dataset_id, [{"a": 2}, {"a": 3}])
    assert (current.revision, current.row_count) == (2, 3)
    rows = [{"a": 1}, {"a": 2}, {"a": 3}]
    whole = await service.create(rows)
    assert current.sha256 == whole.current.sha256 == digest_of(rows)
    assert current.size_bytes == whole.current.size_bytes
    got = (await service.sets.GetDataset(datasets_pb2.GetDatasetRequest(dataset_id=made.dataset_id))).dataset
    assert got.current == current


async def test_rows_that_do_not_fit_add_nothing(service: Served):
    made = await service.create([dialog("a", "b")], format=DIALOG)
    files = service.files()
    request = datasetio_pb2.AppendRowsRequest(
        dataset_id=made.dataset_id, rows_json=[json.dumps(dialog("a", "b")), "{}"]
    )
    request.rows.add().update({"dialog": "x"})
    error = await refused(service.io.AppendRows(request))
    assert (error.code, error.reason) == (INVALID, "ROWS_DO_NOT_FIT")
    assert list(error.fields) == ["rows[0].dialog", "rows[2].dialog"]
    error = await refused(service.append(made.dataset_id, [{**dialog("a", "b"), "new": 1}]))
    assert error.fields == {"rows[0]": 'has the column "new", which dataset_schema has not'}
    assert service.files() == files


async def test_a_stale_revision_is_refused_and_nothing_changes(service: Served):
    made = await service.create([{"a": 1}])
    await service.append(made.dataset_id, [{"a": 2}], revision=1)
    files = service.files()
    error = await refused(service.append(made.dataset_id, [{"a": 3}], revision=1))
    assert (error.code, error.reason) == (ABORTED, "STALE_REVISION")
    error = await refused(
        service.sets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(dataset_id=made.dataset_id, revision=1))
    )
    assert (error.code, error.reason) == (ABORTED, "STALE_REVISION")
    assert service.files() == files


async def test_a_repeated_request_id_adds_nothing_twice(service: Served):
    made = await service.create([{"a": 1}])
    calls = [service.append(made.dataset_id, [{"a": 2}], request_id=f"r-{made.dataset_id}") for _ in range(5)]
    first, *others = await asyncio.gather(*calls)
    assert first.revision == 2
    assert all(other == first for other in others)
    error = await refused(service.append(made.dataset_id, [{"a": 3}], request_id=f"r-{made.dataset_id}"))
    assert (error.code, error.reason) == (INVALID, "REQUEST_ID_REUSED")
    assert await service.rows(made.dataset_id) == [{"a": 1}, {"a": 2}]


async def test_two_replicas_that_append_at_the_same_time_lose_and_double_nothing(service: Served, valkey: ValkeyServer):
    made = await service.create([{"who": "first", "n": 0}])
    async with served(valkey, service.storage.root) as other:
        calls = [
            (service, other)[number % 2].append(
                made.dataset_id, [{"who": "x", "n": number}], request_id=f"race-{number}"
            )
            for number in range(40)
        ]
        revisions = await asyncio.gather(*calls)
        assert sorted(one.revision for one in revisions) == list(range(2, 42))
        rows = await other.rows(made.dataset_id)
    assert sorted(row["n"] for row in rows[1:]) == list(range(40))
    newest = max(revisions, key=lambda one: one.revision)
    assert newest.sha256 == digest_of(rows)
    by_revision = {one.revision: one for one in revisions}
    assert by_revision[20].sha256 == digest_of(rows[:20])


async def test_many_rows_are_added_in_another_process(service: Served):
    made = await service.create([{"n": 0, "text": ""}])
    rows = [{"n": number, "text": "x" * 100} for number in range(5000)]
    current = await service.append(made.dataset_id, rows)
    assert (current.row_count, current.sha256) == (5001, digest_of([{"n": 0, "text": ""}, *rows]))


async def test_limits_hold_for_the_sum(valkey: ValkeyServer, service: Served, tmp_path):
    async with served(valkey, tmp_path, max_rows=5, max_bytes=200, max_revisions=3, max_columns=2) as small:
        made = await small.create([{"a": 1}] * 3)
        error = await refused(small.append(made.dataset_id, [{"a": 1}] * 3))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DATASET_TOO_LARGE")
        assert (await small.append(made.dataset_id, [{"a": 1}])).row_count == 4
        assert (await small.append(made.dataset_id, [{"a": 1}])).row_count == 5
        assert (await refused(small.create([{"a": 1}] * 6))).reason == "DATASET_TOO_LARGE"
        assert (await refused(small.create([{"a": "x" * 300}]))).reason == "DATASET_TOO_LARGE"
        assert (await refused(small.upload(b'{"a":1}\n' * 100, "x.jsonl"))).reason == "DATASET_TOO_LARGE"
        assert (await refused(small.create([{"a": 1, "b": 1, "c": 1}]))).code is INVALID
        error = await refused(small.append(made.dataset_id, [{"a": 1}]))
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        revised = await small.create([{"a": 1}])
        for _ in range(2):
            await small.append(revised.dataset_id, [{"a": 1}])
        error = await refused(small.append(revised.dataset_id, [{"a": 1}]))
        assert "4 revisions" in error.message
        assert len(small.files()) == 2 * (3 + 3)


async def test_deleting_removes_the_rows_and_frees_the_name(service: Served):
    made = await service.create([{"a": 1}], dataset_id="goes")
    delete = datasets_pb2.DeleteDatasetRequest(dataset_id="goes", request_id="delete-goes")
    files = set(service.files())
    await service.sets.DeleteDataset(delete)
    assert len(files - set(service.files())) == 2
    await service.sets.DeleteDataset(delete)
    other = await service.create([{"b": 2}], dataset_id="goes")
    assert other.current.sha256 != made.current.sha256
    await service.sets.DeleteDataset(delete)
    assert await service.rows("goes") == [{"b": 2}]


async def test_a_data_set_that_a_job_uses_stays(service: Served, valkey: ValkeyServer):
    import redis

    made = await service.create([{"a": 1}])
    users = keys.dataset_users(made.dataset_id)
    delete = datasets_pb2.DeleteDatasetRequest(dataset_id=made.dataset_id)
    with redis.Redis(port=valkey.port) as client:
        client.sadd(users, "job-7")
        error = await refused(service.sets.DeleteDataset(delete))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_IN_USE")
        assert "'job-7'" in error.message
        client.srem(users, "job-7")
    await service.sets.DeleteDataset(delete)


@pytest.mark.parametrize("name", ["x:y", "revisions:x"])
async def test_names_with_colons_do_not_meet(service: Served, name: str):
    one, two = (
        await service.create([{"a": 1}], dataset_id=name),
        await service.create([{"b": 1}], dataset_id=f"{name}:revisions"),
    )
    assert await service.rows(one.dataset_id) == [{"a": 1}]
    assert await service.rows(two.dataset_id) == [{"b": 1}]


async def test_a_store_that_is_away_is_unavailable_and_leaves_nothing_half_done(tmp_path):
    from tests.support.valkey import valkey_server

    with valkey_server(durable=True) as own:
        async with served(own, tmp_path, retry=0.3) as service:
            made = await service.create([{"a": 1}])
            own.kill()
            for call in (
                service.create([{"a": 2}]),
                service.append(made.dataset_id, [{"a": 2}]),
                service.page(made.dataset_id),
            ):
                error = await refused(call)
                assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            await asyncio.to_thread(own.start)
            assert await service.rows(made.dataset_id) == [{"a": 1}]
