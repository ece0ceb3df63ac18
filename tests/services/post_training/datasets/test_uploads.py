"""Files that clients send: in pieces, bounded, whole or not at all."""

import asyncio
import hashlib
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from caravan.datasets.v1 import datasets_pb2
from tests.services.post_training.datasets.server import Served, refused, served
from tests.support.eventually import until
from tests.support.valkey import ValkeyServer

INVALID = grpc.StatusCode.INVALID_ARGUMENT
Request = datasets_pb2.UploadDatasetRequest


async def test_pieces_of_any_size_make_the_file(service: Served):
    content = b"".join(b'{"n":%d}\n' % number for number in range(50))
    for chunk in (1, 7, 1 << 20):
        made = await service.upload(content, "x.jsonl", chunk=chunk, sha256=hashlib.sha256(content).hexdigest())
        assert made.current.row_count == 50


async def test_a_file_that_arrives_as_another_is_data_loss(service: Served):
    error = await refused(service.upload(b'{"n":1}\n', "x.jsonl", sha256="0" * 64))
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "FILE_DAMAGED")


async def test_the_head_comes_once_and_first(service: Served):
    data, head = Request(data=b'{"n":1}\n'), Request(head={"file_name": "x.jsonl"})
    for requests in ([], [data], [head, data, head], [data, head]):
        error = await refused(service.sets.UploadDataset(iter(requests)))
        assert (error.code, list(error.fields)) == (INVALID, ["head"])
    assert (await refused(service.sets.UploadDataset(iter([head])))).fields == {"data": "is empty"}


async def test_a_repeated_upload_gets_the_first_answer(service: Served):
    one = await service.upload(b'{"n":1}\n', "x.jsonl", request_id="upload-1")
    files = service.files()
    assert await service.upload(b'{"n":1}\n', "x.jsonl", request_id="upload-1") == one
    error = await refused(service.upload(b'{"n":2}\n', "x.jsonl", request_id="upload-1"))
    assert (error.code, error.reason) == (INVALID, "REQUEST_ID_REUSED")
    assert service.files() == files


async def test_an_upload_that_stands_still_or_goes_away_leaves_nothing(valkey: ValkeyServer, tmp_path: Path):
    async with served(valkey, tmp_path, upload_idle_seconds=0.3) as service:

        async def slowly() -> AsyncIterator[Request]:
            yield Request(head={"file_name": "x.jsonl"})
            yield Request(data=b'{"n":1}\n' * (1 << 18))
            await asyncio.sleep(30)

        error = await refused(service.sets.UploadDataset(slowly()))
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "UPLOAD_IDLE")
        assert service.files() == []
    async with served(valkey, tmp_path) as service:
        call = service.sets.UploadDataset(slowly())
        await until(lambda: len(service.files()) == 1)
        call.cancel()
        await until(lambda: service.files() == [])


async def test_only_so_many_come_in_at_a_time(valkey: ValkeyServer, tmp_path: Path):
    async with served(valkey, tmp_path, concurrency=2) as service:
        go = asyncio.Event()

        async def waiting() -> AsyncIterator[Request]:
            yield Request(head={"file_name": "x.jsonl"})
            await go.wait()
            yield Request(data=b'{"n":1}\n')

        calls = [asyncio.ensure_future(service.sets.UploadDataset(waiting())) for _ in range(2)]
        await asyncio.sleep(0.3)
        error = await refused(service.upload(b'{"n":1}\n', "x.jsonl"))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_IMPORTS")
        go.set()
        await asyncio.gather(*calls)
        assert (await service.upload(b'{"n":1}\n', "x.jsonl")).current.row_count == 1


async def test_a_call_that_is_cancelled_while_rows_are_read_leaves_nothing(
    service: Served, valkey: ValkeyServer, tmp_path
):
    rows = b"".join(b'{"n":%d,"text":"%s"}\n' % (number, b"x" * 100) for number in range(200_000))
    async with served(valkey, tmp_path) as own:
        call = asyncio.ensure_future(own.upload(rows, "x.jsonl"))
        await until(lambda: any(path.name.endswith(".part") for path in own.files()))
        call.cancel()
        await until(lambda: own.files() == [])
        assert (await own.upload(b'{"n":1}\n', "x.jsonl")).current.row_count == 1


@pytest.mark.slow
async def test_a_hundred_megabytes_need_no_memory_of_that_order_and_hold_up_nobody(
    valkey: ValkeyServer, tmp_path: Path
):
    piece = b"".join(json.dumps({"text": "x" * 1000, "n": number}).encode() + b"\n" for number in range(1000))

    async def pieces() -> AsyncIterator[Request]:
        yield Request(head={"file_name": "x.jsonl", "dataset_id": "large"})
        for _ in range(100):
            yield Request(data=piece)

    async with served(valkey, tmp_path) as service:
        await service.create([{"a": 1}], dataset_id="small")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call = asyncio.ensure_future(service.sets.UploadDataset(pieces()))
        slowest = 0.0
        while not call.done():
            began = asyncio.get_running_loop().time()
            await service.sets.GetDataset(datasets_pb2.GetDatasetRequest(dataset_id="small"))
            slowest = max(slowest, asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.02)
        made = (await call).dataset
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert made.current.row_count == 100_000
        assert grown < 48 << 10, f"{grown >> 10} MiB"
        assert slowest < 5.0, "a busy machine is slow, but nobody waits for all of the rows"
        assert len((await service.page("large", filter_condition="n == 999", rows_in_page=1000)).rows_json) == 100
