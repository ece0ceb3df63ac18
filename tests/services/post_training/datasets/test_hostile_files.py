"""Files that are broken, lie, or are made to hurt: refused with a reason, at no cost to anybody else."""

import io
import json
import random
import resource
from typing import Any

import grpc
import pyarrow as pa
import pytest
from pyarrow import parquet

from caravan.datasets.v1 import datasets_pb2
from tests.services.post_training.datasets.server import Served, refused, served
from tests.support.valkey import ValkeyServer

INVALID = grpc.StatusCode.INVALID_ARGUMENT
CSV = datasets_pb2.DATASET_FILE_FORMAT_CSV
PARQUET = datasets_pb2.DATASET_FILE_FORMAT_PARQUET
JSON = datasets_pb2.DATASET_FILE_FORMAT_JSON


def parquet_of(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


async def test_byte_order_marks_line_ends_and_blank_lines_do_no_harm(service: Served):
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "ü\ny"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    table = 'a,b\r\n1,x\r\n2,"ü\ny"\r\n'
    for content, name in (
        (b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode() + b"\r\n\r\n", "rows.jsonl"),
        ("\n".join(lines).encode(), "rows.jsonl"),
        (b"\xef\xbb\xbf" + json.dumps(rows).encode(), "rows.json"),
        (b"\xef\xbb\xbf" + table.encode(), "rows.csv"),
    ):
        made = await service.upload(content, name)
        assert await service.rows(made.dataset_id) == rows


async def test_json_lines_that_are_called_json_are_read(service: Served):
    assert (await service.upload(b'{"a": 1}\n{"a": 2}\n', "rows.json")).current.row_count == 2
    error = await refused(service.upload(b'{"a": 1}\n', "rows.json", file_format=JSON))
    assert "is no JSON list of objects" in error.fields["data"]


@pytest.mark.parametrize(
    ("content", "name", "field", "what"),
    [
        (b"", "rows.jsonl", "data", "is empty"),
        (b"\n \n", "rows.jsonl", "data", "holds no rows"),
        (b"[]", "rows.json", "data", "holds no rows"),
        (b"a,b\n", "rows.csv", "data", "holds no rows"),
        (b"\x1f\x8b\x08\x00", "rows.jsonl", "data", "is compressed; send it as it is"),
        (b"PK\x03\x04....", "rows.json", "data", "is compressed; send it as it is"),
        (b'{"a": "\xff"}\n', "rows.jsonl", "rows[0]", "is not UTF-8 at byte 7"),
        (b'{"a": 1}\n{"a": \n', "rows.jsonl", "rows[1]", "is no JSON: expecting value at character 5"),
        (b'[{"a": 1}, {"a": }]', "rows.json", "rows[1]", "is no JSON: expecting value at character 6"),
        (b'[{"a": 1}, {"a": 2}', "rows.json", "data", "is a JSON list without an end: it was cut off"),
        (b'[{"a": 1}] x', "rows.json", "data", "holds something after its JSON list"),
        (b"a,b\n1,2\n3\n", "rows.csv", "rows[1]", "has 1 cells where the header has 2"),
        (b'a,b\n1,"x\n', "rows.csv", "rows[0]", "is no CSV: unexpected end of data"),
        (b"a,a\n1,2\n", "rows.csv", "data", 'has the column "a" twice in its header line'),
        (b"a,\n1,2\n", "rows.csv", "data", "has no name for column 2 in its header line"),
        (b"a\n\xff\n", "rows.csv", "data", "is not UTF-8"),
        (b"PAR1" + b"x" * 100, "rows.parquet", "data", "cannot be read as Parquet: "),
    ],
)
async def test_a_broken_file_is_refused_where_it_breaks(
    service: Served, content: bytes, name: str, field: str, what: str
):
    error = await refused(service.upload(content, name))
    assert error.code is INVALID
    assert list(error.fields) == [field]
    assert error.fields[field].startswith(what)


async def test_cells_become_what_all_cells_of_their_column_look_like(service: Served):
    table = 'zip,n,yes,list,mixed,blank,text\n007,1.50,true,[1],1,,\n123,-2,false,"[""a"", 2]",x,,z\n'
    made = await service.upload(table.encode(), "rows.csv")
    assert await service.rows(made.dataset_id) == [
        {"zip": "007", "n": 1.5, "yes": True, "list": [1], "mixed": "1", "blank": "", "text": ""},
        {"zip": "123", "n": -2, "yes": False, "list": ["a", 2], "mixed": "x", "blank": "", "text": "z"},
    ]
    types = {"zip": "NUMBER", "n": "STRING", "text": "STRING?", "blank": "JSON?", "yes": "JSON", "list": "ARRAY"}
    schema = {
        name: datasets_pb2.DatasetColumn(
            type=datasets_pb2.ColumnType.Value("COLUMN_TYPE_" + kind.rstrip("?")), nullable=kind.endswith("?")
        )
        for name, kind in {**types, "mixed": "STRING"}.items()
    }
    error = await refused(service.upload(table.encode(), "rows.csv", dataset_schema=schema))
    assert error.fields == {"rows[0].zip": "is no JSON: extra data at character 1"}
    schema["zip"].type = datasets_pb2.COLUMN_TYPE_TEXT
    made = await service.upload(table.encode(), "rows.csv", dataset_schema=schema)
    assert (await service.rows(made.dataset_id))[0] == {
        "zip": "007",
        "n": "1.50",
        "yes": True,
        "list": [1],
        "mixed": "1",
    }


async def test_a_dialog_in_a_csv_cell_is_read_as_one(service: Served):
    dialog = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    sink = '"{}"'.format(json.dumps(dialog).replace('"', '""'))
    made = await service.upload(f"dialog\n{sink}\n".encode(), "x.csv", format=datasets_pb2.DATASET_FORMAT_DIALOG)
    assert await service.rows(made.dataset_id) == [{"dialog": dialog}]
    prompts = await service.upload(b"prompt\n1\n2\n", "x.csv", format=datasets_pb2.DATASET_FORMAT_PROMPT)
    assert await service.rows(prompts.dataset_id) == [{"prompt": "1"}, {"prompt": "2"}]


async def test_values_of_parquet_become_json(service: Served):
    import datetime as dt
    import decimal

    image = b"\x89PNG\r\n\x1a\nxx"
    rows = [
        {
            "at": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
            "day": dt.date(2026, 1, 2),
            "price": decimal.Decimal("1.50"),
            "image": {"bytes": image, "path": "x.png"},
            "none": None,
            "dialog": [{"role": "user", "content": "x", "name": None}],
        }
    ]
    made = await service.upload(parquet_of(pa.Table.from_pylist(rows)), "x.parquet")
    (row,) = await service.rows(made.dataset_id)
    assert row["at"] == "2026-01-02T03:04:05+00:00"
    assert (row["day"], row["price"]) == ("2026-01-02", 1.5)
    assert row["image"].startswith("data:image/png;base64,iVBOR")
    assert "none" not in row
    assert made.dataset_schema["dialog"].type == datasets_pb2.COLUMN_TYPE_DIALOG


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "holds nan, which is no JSON number"),
        (float("inf"), "holds inf, which is no JSON number"),
        (b"\x00\x01", "holds bytes that are no image; only images may be binary"),
    ],
)
async def test_values_of_parquet_that_json_has_not_are_refused_by_row_and_column(
    service: Served, value: object, what: str
):
    table = pa.table({"fine": ["x", "y"], "odd": pa.array([None, value])})
    error = await refused(service.upload(parquet_of(table), "x.parquet"))
    assert error.fields == {"rows[1].odd": what}


async def test_a_million_columns_are_refused(service: Served):
    wide = b",".join(b"c%d" % number for number in range(1_000_000))
    error = await refused(service.upload(wide + b"\n", "x.csv", file_format=CSV))
    assert error.code is INVALID
    assert "columns" in error.fields["data"] or "header" in error.fields["data"]
    row = b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}\n"
    error = await refused(service.upload(row, "x.jsonl"))
    assert error.fields == {"rows[0]": "has 300000 columns; a data set has at most 1024"}
    table = pa.table({f"c{number}": [1] for number in range(5000)})
    error = await refused(service.upload(parquet_of(table), "x.parquet"))
    assert error.fields == {"data": "has 5000 columns; a data set has at most 1024"}


async def test_a_parquet_file_that_unpacks_to_gigabytes_is_refused(valkey: ValkeyServer, tmp_path):
    # A dictionary of one long text, a million times: a few kilobytes.
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), pa.array(["x" * 100_000]))
    bomb = parquet_of(pa.table({"a": column}), compression="zstd")
    assert len(bomb) < 1 << 20
    async with served(valkey, tmp_path, max_bytes=64 << 20) as service:
        error = await refused(service.upload(bomb, "bomb.parquet"))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DATASET_TOO_LARGE")
        assert service.files() == []
        long = parquet_of(pa.table({"a": ["x", "x" * 5_000_000]}), compression="zstd")
        error = await refused(service.upload(long, "long.parquet"))
        assert error.fields == {"rows[1]": "has more than 4000000 bytes, the most that a row may have"}


async def test_a_file_that_needs_too_much_memory_costs_its_own_upload_only(valkey: ValkeyServer, tmp_path):
    # Two gigabytes in the first batch.
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * (8 << 20)]))
    bomb = parquet_of(pa.table({"a": column}), compression="zstd")
    async with served(valkey, tmp_path, import_memory_bytes=1 << 30) as service:
        error = await refused(service.upload(bomb, "x.parquet"))
        assert (error.code, error.reason) == (INVALID, "DATASET_UNREADABLE")
        assert (await service.upload(b'{"a":1}\n', "x.jsonl")).current.row_count == 1
        assert len(service.files()) == 2


async def test_deep_and_endless_json_is_refused(service: Served):
    for content, name in (
        (b"[" * 100_000, "x.json"),
        (b'{"a":' * 100_000, "x.jsonl"),
        (b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "x.json"),
        (b'{"a": "' + b"x" * 5_000_000, "x.jsonl"),
        (b'[{"a": "' + b"x" * 5_000_000, "x.json"),
    ):
        assert (await refused(service.upload(content, name))).code is INVALID


async def code_of(call: Any) -> grpc.StatusCode | None:
    """Waits for a call; None when it went well."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def test_no_garbage_makes_anything_but_a_refusal(service: Served):
    chance = random.Random(7)
    good = [
        (b'{"a": 1, "b": [true, null, "x"]}\n{"a": 2, "b": []}\n', "x.jsonl"),
        (b'[{"a": 1, "b": {"c": "\\u00e4"}}, {"a": 2.5e3}]', "x.json"),
        (b'a,b\n1,"x, y"\n2,z\n', "x.csv"),
        (parquet_of(pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})), "x.parquet"),
    ]
    for _ in range(60):
        content, name = chance.choice(good)
        broken = bytearray(content)
        for _ in range(chance.randint(1, 6)):
            match chance.randint(0, 2):
                case 0:
                    broken[chance.randrange(len(broken))] = chance.randrange(256)
                case 1:
                    del broken[chance.randrange(len(broken)) :][:9]
                case _:
                    broken.insert(chance.randrange(len(broken)), chance.choice(b'{}[]",:\n\0\\e9'))
            broken = broken or bytearray(b"x")
        assert await code_of(service.upload(bytes(broken), name)) in (None, INVALID), bytes(broken)
    assert not [path for path in service.files() if path.suffix == ".part" or path.parent == service.storage.spool]


async def test_a_full_disk_is_told_and_leaves_nothing(valkey: ValkeyServer, tmp_path):
    # A limit of the size of files stands for it: the same errors of the same calls.
    rows = b'{"text": "%s"}\n' % (b"x" * 1000) * 4000
    async with served(valkey, tmp_path) as service:
        made = await service.create([{"text": "x"}])
        files = service.files()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
        try:
            error = await refused(service.upload(rows, "x.jsonl"))
            texts = [json.dumps({"text": "x" * 1000})] * 3000
            other = await refused(service.append(made.dataset_id, texts))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        for found in (error, other):
            assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        assert service.files() == files
