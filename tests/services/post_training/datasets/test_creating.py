"""Data sets as they are made: what is told of them, what fits, and what is refused."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import grpc
import pyarrow as pa
import pytest
from pyarrow import parquet

from caravan.datasets.v1 import datasets_pb2
from tests.services.post_training.datasets.server import DIALOG, Served, dialog, digest_of, refused

INSTRUCT = datasets_pb2.DATASET_FORMAT_INSTRUCT
PREFERENCE = datasets_pb2.DATASET_FORMAT_PREFERENCE
PROMPT = datasets_pb2.DATASET_FORMAT_PROMPT
INVALID = grpc.StatusCode.INVALID_ARGUMENT

ROWS = [{"text": f"Zeile {number}, ä\n", "length": number, "good": number % 2 == 0} for number in range(7)]


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(
        {name: json.dumps(value) if isinstance(value, bool) else value for name, value in row.items()} for row in rows
    )
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=2).encode()


FORMS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "rows.jsonl": as_jsonl,
    "rows.csv": as_csv,
    "rows.parquet": as_parquet,
    "rows.json": as_json,
}


def types_of(dataset: datasets_pb2.Dataset) -> dict[str, str]:
    name = datasets_pb2.ColumnType.Name
    return {
        key: name(column.type).removeprefix("COLUMN_TYPE_") + ("?" if column.nullable else "")
        for key, column in dataset.dataset_schema.items()
    }


@pytest.mark.parametrize("name", FORMS)
async def test_the_same_rows_have_one_digest_and_one_schema_in_whatever_form_they_come(service: Served, name: str):
    made = await service.upload(FORMS[name](ROWS), name)
    inline = await service.create(ROWS)
    assert made.current.sha256 == inline.current.sha256 == digest_of(ROWS)
    assert types_of(made) == types_of(inline) == {"text": "STRING", "length": "NUMBER", "good": "BOOLEAN"}
    assert made.current.row_count == len(ROWS)
    assert await service.rows(made.dataset_id) == ROWS


@pytest.mark.parametrize("name", FORMS)
async def test_the_form_of_a_file_is_told_from_its_content_or_its_name(service: Served, name: str):
    nameless = FORMS[name](ROWS)
    if name == "rows.csv":
        error = await refused(service.upload(nameless))
        assert error.fields == {"data": "is neither Parquet nor JSON, and its name tells no form; set file_format"}
        made = await service.upload(nameless, file_format=datasets_pb2.DATASET_FILE_FORMAT_CSV)
    else:
        made = await service.upload(nameless)
    assert made.current.row_count == len(ROWS)


async def test_structs_and_texts_make_the_same_rows(service: Served):
    request = datasets_pb2.CreateDatasetRequest()
    for row in ROWS[:3]:
        request.source.rows.rows.add().update(row)
    request.source.rows.rows_json.extend(json.dumps(row) for row in ROWS[3:])
    made = (await service.sets.CreateDataset(request)).dataset
    assert made.current.sha256 == digest_of(ROWS)
    assert await service.rows(made.dataset_id) == ROWS


async def test_order_of_keys_and_large_integers_survive_and_whole_numbers_become_integers(service: Served):
    text = '{"z":9007199254740993,"a":{"y":1.0,"x":18446744073709551615},"m":2.50}'
    made = await service.create([text])
    page = await service.page(made.dataset_id)
    assert page.rows_json == ['{"z":9007199254740993,"a":{"y":1,"x":18446744073709551615},"m":2.5}']
    other = await service.create(['{"m": 25e-1, "a": {"x": 18446744073709551615, "y": 1}, "z": 9007199254740993}'])
    assert other.current.sha256 == made.current.sha256


async def test_a_column_that_is_null_is_the_same_as_one_that_is_missing(service: Served):
    one = await service.create([{"a": 1, "b": None}, {"a": 2, "b": "x"}])
    two = await service.create([{"a": 1}, {"b": "x", "a": 2}])
    assert one.current.sha256 == two.current.sha256
    assert types_of(one) == types_of(two) == {"a": "NUMBER", "b": "STRING?"}


async def test_types_are_told_from_the_rows(service: Served):
    made = await service.create(
        [
            {**dialog("a", "b"), "tags": ["x"], "facts": {"n": 1}, "mixed": 1, "none": None},
            {**dialog("c", "d"), "tags": [], "facts": {}, "mixed": "1", "late": True},
        ]
    )
    assert types_of(made) == {
        "dialog": "DIALOG",
        "tags": "ARRAY",
        "facts": "OBJECT",
        "mixed": "JSON",
        "none": "JSON?",
        "late": "BOOLEAN?",
    }


FITS: dict[str, tuple[list[Any], list[Any]]] = {
    "STRING": (["", "x"], [1, ["x"], {}, True]),
    "TEXT": (["x"], [1]),
    "NUMBER": ([1, 2.5, -3], ["1", True, [1]]),
    "BOOLEAN": ([True, False], [0, "true"]),
    "ARRAY": ([[], [1, "x"]], ["[]", {}]),
    "OBJECT": ([{}, {"a": 1}], [[], "{}"]),
    "JSON": ([1, "x", [], {}, True], []),
    "UNION": ([1, "x", [], {}, True], []),
    "DIALOG": (
        [[{"role": "user", "content": "x"}]],
        [[], "x", [{"role": "user"}], [{"role": "king", "content": "x"}], [1]],
    ),
    "CHAT_COMPLETION_INPUT": (
        [[{"role": "user", "content": "x"}], '[{"role": "user", "content": [{"type": "text", "text": "x"}]}]'],
        ["x", "[]", [{"role": "user", "content": 3}], [{"role": "user", "content": [{"type": "text"}]}]],
    ),
    "COMPLETION_INPUT": (["x", ["x", {"type": "image", "url": {"uri": "https://x/y.png"}}]], [3, [], [3]]),
    "AGENT_TURN_INPUT": ([[{"role": "user", "content": "x"}]], [[{"role": "assistant", "content": "x"}]]),
    "MEDIA": (["https://x/y.png", "data:image/png;base64,AA=="], ["y.png", 3]),
}


@pytest.mark.parametrize("kind", FITS)
async def test_values_are_checked_against_their_columns_type(service: Served, kind: str):
    schema = {"value": datasets_pb2.DatasetColumn(type=datasets_pb2.ColumnType.Value(f"COLUMN_TYPE_{kind}"))}
    good, bad = FITS[kind]
    made = await service.create([{"value": value} for value in good], dataset_schema=schema)
    assert made.current.row_count == len(good)
    for value in [*bad, None]:
        error = await refused(service.create([{"value": good[0]}, {"value": value}], dataset_schema=schema))
        assert (error.code, error.reason) == (INVALID, "ROWS_DO_NOT_FIT")
        assert list(error.fields) == ["source.rows[1].value"], value


def test_every_type_of_column_has_examples():
    names = {value.name.removeprefix("COLUMN_TYPE_") for value in datasets_pb2.ColumnType.DESCRIPTOR.values}
    assert set(FITS) == names - {"UNSPECIFIED"}


USER, ASSISTANT = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
SYSTEM = {"role": "system", "content": "z"}
FORMATS: list[tuple[int, dict[str, Any], list[tuple[dict[str, Any], str]]]] = [
    (
        DIALOG,
        {"dialog": [SYSTEM, USER, ASSISTANT]},
        [
            ({"dialog": [USER]}, "dialog"),
            ({"dialog": [ASSISTANT, USER]}, "dialog"),
            ({"dialog": [SYSTEM, USER]}, "dialog"),
            ({"dialog": json.dumps([USER, ASSISTANT])}, "dialog"),
            ({"messages": [USER, ASSISTANT]}, "dialog"),
        ],
    ),
    (
        INSTRUCT,
        {"chat_completion_input": [USER], "expected_answer": "y"},
        [
            ({"chat_completion_input": [USER]}, "expected_answer"),
            ({"chat_completion_input": [USER], "expected_answer": 3}, "expected_answer"),
            ({"chat_completion_input": "x", "expected_answer": "y"}, "chat_completion_input"),
        ],
    ),
    (
        PREFERENCE,
        {"prompt": "x", "chosen": [ASSISTANT], "rejected": "n"},
        [
            ({"prompt": "x", "chosen": "y"}, "rejected"),
            ({"prompt": "", "chosen": "y", "rejected": "n"}, "prompt"),
            ({"prompt": "x", "chosen": [], "rejected": "n"}, "chosen"),
        ],
    ),
    (PROMPT, {"prompt": [USER]}, [({"question": "x"}, "prompt"), ({"prompt": 3}, "prompt")]),
]


@pytest.mark.parametrize(("number", "good", "bad"), FORMATS)
async def test_rows_are_checked_for_their_format(
    service: Served, number: Any, good: dict[str, Any], bad: list[tuple[dict[str, Any], str]]
):
    made = await service.create([good], format=number)
    assert made.format == number
    for row, column in bad:
        error = await refused(service.create([good, row], format=number))
        assert (error.code, list(error.fields)) == (INVALID, [f"source.rows[1].{column}"]), row


async def test_a_schema_without_a_column_of_the_format_is_refused_at_once(service: Served):
    schema = {"text": datasets_pb2.DatasetColumn(type=datasets_pb2.COLUMN_TYPE_STRING)}
    error = await refused(service.create([{"text": "x"}], dataset_schema=schema, format=PROMPT))
    assert error.fields == {"dataset_schema": "lacks prompt, which rows of DATASET_FORMAT_PROMPT have"}


async def test_the_first_faults_are_told_with_row_and_column(service: Served):
    rows: list[Any] = [{"a": 1}] * 100
    rows[17], rows[40], rows[41] = {"a": "x"}, "{broken", {"a": 1, "it's": 2}
    schema = {"a": datasets_pb2.DatasetColumn(type=datasets_pb2.COLUMN_TYPE_NUMBER)}
    error = await refused(service.create(rows, dataset_schema=schema))
    assert error.fields == {
        "source.rows[17].a": "is no number",
        "source.rows[40]": "is no JSON: expecting property name enclosed in double quotes at character 1",
        "source.rows[41]": 'has the column "it\'s", which dataset_schema has not',
    }
    assert error.message == "source.rows[17].a: is no number (and 2 more)"
    assert service.files() == [path for path in service.files() if path.suffix in (".jsonl", ".index")]


async def test_no_more_than_twenty_faults_are_looked_for(service: Served):
    schema = {"a": datasets_pb2.DatasetColumn(type=datasets_pb2.COLUMN_TYPE_NUMBER)}
    error = await refused(service.create([{"a": "x"}] * 1000, dataset_schema=schema))
    assert error.message == "source.rows[0].a: is no number (and 19 more)"


async def test_validate_only_checks_everything_and_creates_nothing(service: Served):
    before = service.files()
    made = await service.create(ROWS, dataset_id="not-yet", validate_only=True)
    assert (made.current.row_count, made.current.sha256) == (len(ROWS), digest_of(ROWS))
    assert not made.HasField("created_at")
    assert service.files() == before
    get = datasets_pb2.GetDatasetRequest(dataset_id="not-yet")
    assert (await refused(service.sets.GetDataset(get))).code is grpc.StatusCode.NOT_FOUND
    await service.create(ROWS, dataset_id="not-yet")
    again = await service.create(ROWS, dataset_id="not-yet", validate_only=True)
    assert again.dataset_id == "not-yet"
    error = await refused(service.create(ROWS[:1], dataset_id="not-yet", validate_only=True))
    assert error.code is grpc.StatusCode.ALREADY_EXISTS


async def test_the_same_data_set_again_is_the_same_and_another_of_its_name_is_refused(service: Served):
    one = await service.create(ROWS, dataset_id="twice", metadata={"by": "me"})
    files = service.files()
    assert await service.create(ROWS, dataset_id="twice", metadata={"by": "me"}) == one
    for other in ({"rows": ROWS[1:]}, {"rows": ROWS, "metadata": {"by": "you"}}):
        error = await refused(service.create(**other, dataset_id="twice"))
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert service.files() == files


async def test_a_repeated_request_id_gets_the_first_answer_and_creates_nothing(service: Served):
    one = await service.create(ROWS, request_id="r1")
    files = service.files()
    assert await service.create(ROWS, request_id="r1") == one
    assert service.files() == files
    error = await refused(service.create(ROWS[1:], request_id="r1"))
    assert (error.code, error.reason) == (INVALID, "REQUEST_ID_REUSED")
    # Also when the data set has gone meanwhile.
    await service.sets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(dataset_id=one.dataset_id))
    assert await service.create(ROWS, request_id="r1") == one


async def test_what_is_told_of_a_data_set_is_what_was_given(service: Served):
    made = await service.create(
        ROWS, dataset_id="a/b:c@d", metadata={"by": "me", "n": [1]}, provider_dataset_id="mine", provider_id="datasets"
    )
    got = (await service.sets.GetDataset(datasets_pb2.GetDatasetRequest(dataset_id="a/b:c@d"))).dataset
    assert got == made
    assert (got.provider_id, got.provider_dataset_id, dict(got.metadata)["by"]) == ("datasets", "mine", "me")
    assert got.source.HasField("rows")
    assert not got.source.rows.rows_json
    assert not got.HasField("url")
    assert got.created_at == got.current.created_at


async def test_wrong_descriptions_are_refused(service: Served):
    assert (await refused(service.create(ROWS, provider_id="other"))).fields.keys() == {"provider_id"}
    assert (await refused(service.create(ROWS, metadata={"x": "y" * 70_000}))).fields.keys() == {"metadata"}
    assert (await refused(service.create(ROWS, dataset_id="../x"))).fields.keys() == {"dataset_id"}
    assert (await refused(service.create())).code is INVALID


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1]", "is no JSON object"),
        ('"x"', "is no JSON object"),
        ('{"a": NaN}', "holds NaN, which is no JSON number"),
        ('{"a": -Infinity}', "holds -Infinity, which is no JSON number"),
        ('{"a": 1e999}', "holds inf, which is no JSON number"),
        ('{"a": 1, "a": 2}', 'has the key "a" twice'),
        ('{"a": {"b": 1, "b": 1}}', 'has the key "b" twice'),
        ('{"a": "\\ud800"}', "holds half of a surrogate pair, which is no Unicode text"),
        ('{"a": 18446744073709551616}', "holds an integer of more than 64 bits; write it as a text"),
        ('{"a": ' + "9" * 5000 + "}", "holds an integer of more than 64 bits; write it as a text"),
        ('{"a": ' + "[" * 32 + "]" * 32 + "}", "is nested more than 32 deep"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "is nested more than 32 deep"),
        ('{"": 1}', "has a column whose name has 0 characters; it must have 1 to 256"),
        ('{"a": 1', "is no JSON: expecting ',' delimiter at character 7"),
        ('{"a": "' + "x" * 4_000_000 + '"}', "has more than 4000000 bytes, the most that a row may have"),
        (json.dumps(dict.fromkeys(map(str, range(2000)), 1)), "has 2000 columns; a data set has at most 1024"),
    ],
)
async def test_a_row_that_cannot_be_kept_is_refused(service: Served, text: str, what: str):
    error = await refused(service.create(['{"a": 1}', text]))
    assert (error.code, error.fields) == (INVALID, {"source.rows[1]": what})


async def test_a_row_as_deep_as_it_may_be_comes_back_as_a_struct(service: Served):
    deep: Any = 1
    for level in range(31):
        deep = [deep] if level % 2 else {"x": deep}
    made = await service.create([{"a": deep}])
    request = datasets_pb2.GetDatasetRequest(dataset_id=made.dataset_id)
    assert (await service.sets.GetDataset(request)).dataset == made
    from caravan.datasets.v1 import datasetio_pb2

    page = await service.io.GetRowsPaginated(datasetio_pb2.GetRowsPaginatedRequest(dataset_id=made.dataset_id))
    assert len(page.rows) == 1
