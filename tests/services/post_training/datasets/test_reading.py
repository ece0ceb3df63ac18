"""Rows as they are read: pages, filters, streams, revisions."""

import asyncio
import json
from typing import Any

import grpc
import pytest

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.post_training.datasets import segments
from tests.services.post_training.datasets.server import Served, refused

ROWS = [{"n": number, "label": "xyz"[number % 3], "length": number / 2} for number in range(250)]


async def all_pages(service: Served, dataset_id: str, **fields: Any) -> tuple[list[Any], list[int]]:
    """The rows of all pages, and how many each had."""
    rows: list[Any] = []
    counts, token = [], ""
    while True:
        page = await service.page(dataset_id, page_token=token, **fields)
        rows += map(json.loads, page.rows_json)
        counts.append(len(page.rows_json))
        token = page.next_page_token
        if not token:
            return rows, counts


@pytest.fixture(scope="module")
async def numbers(service: Served) -> str:
    """A data set of several revisions."""
    made = await service.create(ROWS[:100])
    await service.append(made.dataset_id, ROWS[100:101])
    await service.append(made.dataset_id, ROWS[101:])
    return made.dataset_id


async def test_pages_hold_all_rows_in_their_order(service: Served, numbers: str):
    assert await all_pages(service, numbers) == (ROWS, [100, 100, 50])
    assert await all_pages(service, numbers, rows_in_page=99) == (ROWS, [99, 99, 52])
    assert await all_pages(service, numbers, rows_in_page=-1) == (ROWS, [250])
    assert (await service.page(numbers)).total_count == 250


async def test_rows_come_as_structs_unless_texts_are_asked_for(service: Served, numbers: str):
    page = await service.io.GetRowsPaginated(datasetio_pb2.GetRowsPaginatedRequest(dataset_id=numbers, rows_in_page=3))
    assert [dict(row) for row in page.rows] == ROWS[:3]
    assert not page.rows_json


async def test_every_revision_stays_as_it_was(service: Served, numbers: str):
    for revision, count in ((1, 100), (2, 101), (3, 250)):
        assert await service.rows(numbers, revision=revision) == ROWS[:count]
        page = await service.page(numbers, revision=revision)
        assert (page.total_count, page.revision) == (count, revision)
    error = await refused(service.page(numbers, revision=4))
    assert (error.code, error.message) == (
        grpc.StatusCode.NOT_FOUND,
        f"data set {numbers!r} has the revisions 1 to 3, and not 4",
    )


async def test_the_pages_of_one_listing_are_of_one_revision(service: Served):
    made = await service.create(ROWS[:10])
    first = await service.page(made.dataset_id, rows_in_page=4)
    await service.append(made.dataset_id, ROWS[10:])
    rest = await service.page(made.dataset_id, rows_in_page=100, page_token=first.next_page_token)
    assert ([json.loads(text) for text in rest.rows_json], rest.revision) == (ROWS[4:10], 1)


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ('label == "x"', lambda row: row["label"] == "x"),
        ('label == "x" and n > 100', lambda row: row["label"] == "x" and row["n"] > 100),
        ("length >= 1.5 and length < 20", lambda row: 1.5 <= row["length"] < 20),
        ('`label` != "x" and n <= 9', lambda row: row["label"] != "x" and row["n"] <= 9),
        ("n == 1.0", lambda row: row["n"] == 1),
        ("n < 0", lambda row: False),
        ("label > 3", lambda row: False),
        ("label != null", lambda row: True),
    ],
)
async def test_filtered_pages_hold_what_fits_and_count_it(service: Served, numbers: str, condition: str, fits: Any):
    wanted = [row for row in ROWS if fits(row)]
    rows, counts = await all_pages(service, numbers, filter_condition=condition, rows_in_page=7)
    assert rows == wanted
    assert all(count == 7 for count in counts[:-1])
    page = await service.page(numbers, filter_condition=condition, rows_in_page=2)
    assert page.total_count == len(wanted)
    if page.next_page_token:
        after = await service.page(numbers, filter_condition=condition, page_token=page.next_page_token)
        assert after.total_count == len(wanted)


async def test_large_data_sets_are_looked_through_outside_the_process(service: Served):
    rows = [{"n": number, "text": "x" * 2000} for number in range(1500)]
    made = await service.upload("".join(json.dumps(row) + "\n" for row in rows).encode(), "rows.jsonl")
    found, counts = await all_pages(service, made.dataset_id, filter_condition="n >= 700 and n < 1300")
    assert [row["n"] for row in found] == list(range(700, 1300))
    assert counts == [100] * 6
    # 2 MB rows in a page of 4 MiB.
    assert len((await service.page(made.dataset_id, rows_in_page=-1)).rows_json) == 1500


async def test_a_page_is_never_larger_than_a_client_can_receive(service: Served):
    rows = [{"n": number, "text": "x" * 900_000} for number in range(10)]
    made = await service.upload("".join(json.dumps(row) + "\n" for row in rows).encode(), "rows.jsonl")
    async with grpc.aio.insecure_channel(service.address) as channel:
        small = Served(service.address, service.storage, service.part, channel)
        found, counts = await all_pages(small, made.dataset_id, rows_in_page=-1)
        assert (len(found), counts) == (10, [4, 4, 2])
        assert await small.rows(made.dataset_id) == rows
        found, counts = await all_pages(small, made.dataset_id, filter_condition="n != 3")
        assert [row["n"] for row in found] == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("n", "needs one of ==, !=, <, <=, >, >= at character 1"),
        ("n = 3", "needs one of ==, !=, <, <=, >, >= at character 2"),
        ("n == 3 or n == 4", 'needs "and" or its end at character 7'),
        ("n == 3 and", "needs the name of a column at character 10; put one that is no identifier between backquotes"),
        ("n == x", 'needs a JSON value at character 5, for instance 3, "text" or null'),
        ("n == NaN", 'needs a JSON value at character 5, for instance 3, "text" or null'),
        ("n < null", "orders by < what is neither a number nor a text at character 4"),
        ("m == 3", 'names the column "m", which the data set has not'),
        ("n == " + "[" * 4000, 'needs a JSON value at character 5, for instance 3, "text" or null'),
        ("__import__('os')", "needs one of ==, !=, <, <=, >, >= at character 10"),
    ],
)
async def test_a_filter_that_is_none_is_refused(service: Served, numbers: str, condition: str, what: str):
    error = await refused(service.page(numbers, filter_condition=condition))
    assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"filter_condition": what})


async def test_page_tokens_are_good_for_their_own_list_only(service: Served, numbers: str):
    token = (await service.page(numbers, rows_in_page=3)).next_page_token
    other = (await service.create(ROWS)).dataset_id
    for call in (
        service.page(other, page_token=token),
        service.page(numbers, page_token=token, filter_condition="n > 3"),
        service.page(numbers, page_token=token, revision=2),
        service.page(numbers, page_token="x"),
        service.page(numbers, page_token="ä"),
    ):
        assert (await refused(call)).fields.keys() == {"page_token"}
    assert len((await service.page(numbers, page_token=token, rows_in_page=5)).rows_json) == 5


async def test_a_stream_begins_and_ends_where_it_is_told(service: Served, numbers: str):
    for first, limit in ((0, 0), (99, 3), (249, 10), (250, 0), (1000, 0), (5, 1)):
        end = first + limit if limit else None
        assert await service.rows(numbers, from_row=first, limit=limit) == ROWS[first:end]
    request = datasetio_pb2.StreamRowsRequest(dataset_id=numbers, from_row=98, limit=4)
    responses = [response async for response in service.io.StreamRows(request)]
    assert sum(len(one.rows_json) for one in responses) == 4
    assert (responses[0].first_row, responses[0].revision) == (98, 3)


async def test_a_stream_reads_only_as_fast_as_it_is_read(service: Served, monkeypatch: pytest.MonkeyPatch):
    rows = [{"n": number, "text": "x" * 10_000} for number in range(3000)]
    made = await service.upload("".join(json.dumps(row) + "\n" for row in rows).encode(), "rows.jsonl")
    read = 0
    original = segments.read

    def counted(*arguments: Any) -> list[bytes]:
        nonlocal read
        found = original(*arguments)
        read += len(found)
        return found

    monkeypatch.setattr(segments, "read", counted)
    call = service.io.StreamRows(datasetio_pb2.StreamRowsRequest(dataset_id=made.dataset_id))
    await call.read()
    await asyncio.sleep(0.5)
    assert read < 1000, "30 MB, and the reader has asked for one message"
    call.cancel()


async def test_a_data_set_that_is_deleted_while_it_is_read_is_not_found(service: Served):
    rows = [{"n": number, "text": "x" * 10_000} for number in range(3000)]
    made = await service.upload("".join(json.dumps(row) + "\n" for row in rows).encode(), "rows.jsonl")
    call = service.io.StreamRows(datasetio_pb2.StreamRowsRequest(dataset_id=made.dataset_id))
    await call.read()
    await service.sets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(dataset_id=made.dataset_id))

    async def drain() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    assert (await refused(drain())).code is grpc.StatusCode.NOT_FOUND


async def test_unknown_data_sets_are_not_found(service: Served):
    calls = [
        service.page("none"),
        service.rows("none"),
        service.append("none", [{"a": 1}]),
        service.sets.GetDataset(datasets_pb2.GetDatasetRequest(dataset_id="none")),
        service.sets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(dataset_id="none")),
        service.sets.ListDatasetRevisions(datasets_pb2.ListDatasetRevisionsRequest(dataset_id="none")),
    ]
    for call in calls:
        error = await refused(call)
        assert (error.code, error.message) == (
            grpc.StatusCode.NOT_FOUND,
            "there is no data set 'none'; ListDatasets names those that there are",
        )


async def test_a_revisions_files_hold_exactly_its_rows(service: Served, numbers: str):
    for revision, count in ((None, 250), (2, 101)):
        files = await service.part.datasets.rows_file(numbers, revision)
        texts = [line for path in files.paths for line in path.read_text().splitlines()]
        assert [json.loads(text) for text in texts] == ROWS[:count]
        assert (files.row_count, sum(files.row_counts), files.revision) == (count, count, revision or 3)
        listed = await service.sets.ListDatasetRevisions(datasets_pb2.ListDatasetRevisionsRequest(dataset_id=numbers))
        assert files.sha256 in {one.sha256 for one in listed.data}


async def test_data_sets_and_revisions_are_listed_page_by_page(service: Served):
    names = [f"list/{number:02}" for number in range(25)]
    for number, name in enumerate(reversed(names)):
        await service.create([{"prompt": "x"}], dataset_id=name, format=number % 2 * datasets_pb2.DATASET_FORMAT_PROMPT)
    found, token = [], ""
    while True:
        page = await service.sets.ListDatasets(datasets_pb2.ListDatasetsRequest(page_size=7, page_token=token))
        found += [one.dataset_id for one in page.data]
        token = page.next_page_token
        if not token:
            break
    assert [name for name in found if name.startswith("list/")] == names
    assert found == sorted(found)
    prompts = await service.sets.ListDatasets(
        datasets_pb2.ListDatasetsRequest(format=datasets_pb2.DATASET_FORMAT_PROMPT, page_size=1000)
    )
    assert [one.dataset_id for one in prompts.data if one.dataset_id.startswith("list/")] == names[1::2]
    for number in range(9):
        await service.append(names[0], [{"prompt": str(number)}])
    revisions: list[int] = []
    token = ""
    while True:
        listed = await service.sets.ListDatasetRevisions(
            datasets_pb2.ListDatasetRevisionsRequest(dataset_id=names[0], page_size=4, page_token=token)
        )
        revisions += [one.revision for one in listed.data]
        token = listed.next_page_token
        if not token:
            break
    assert revisions == list(range(10, 0, -1))
