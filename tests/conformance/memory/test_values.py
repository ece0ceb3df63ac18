"""Values by key: compare and set, order, pages."""

import asyncio

import pytest

from caravan.memory.v1 import keyvalue_pb2
from services.core.errors import AbortedError
from services.memory.ports import Store
from tests.conformance.memory.building import Clock, at, text_value

Value = keyvalue_pb2.TypedValue


async def test_a_value_comes_back_as_it_was_put(store: Store, pairs: str, clock: Clock) -> None:
    entry = await store.put_value(pairs, "k", text_value("v"))
    assert (entry.key, entry.value, entry.revision, entry.updated_at) == ("k", text_value("v"), 1, at(clock.now))
    assert not entry.HasField("expires_at")
    assert await store.get_values(pairs, ["k", "missing"]) == {"k": entry}


async def test_values_of_every_type_keep_their_type(store: Store, pairs: str) -> None:
    values = {
        "text": Value(text="ü\x00"),
        "data": Value(data=bytes(range(256))),
        "integer": Value(integer=2**63 - 1),
        "number": Value(number=0.1),
        "boolean": Value(boolean=False),
        "timestamp": Value(timestamp=at(1.5)),
    }
    values["json"] = Value()
    values["json"].json.struct_value.update({"a": [1, None, {"b": "c"}]})
    for key, value in values.items():
        await store.put_value(pairs, key, value)
    stored = await store.get_values(pairs, list(values))
    assert {key: entry.value for key, entry in stored.items()} == values


async def test_every_change_has_the_next_revision(store: Store, pairs: str) -> None:
    revisions = [(await store.put_value(pairs, "k", text_value(str(place)))).revision for place in range(3)]
    assert revisions == [1, 2, 3]


async def test_a_put_with_a_stale_revision_changes_nothing(store: Store, pairs: str) -> None:
    await store.put_value(pairs, "k", text_value("first"))
    for expected in (0, 2):
        with pytest.raises(AbortedError) as caught:
            await store.put_value(pairs, "k", text_value("second"), expected_revision=expected)
        assert caught.value.reason == "STALE_REVISION"
        assert caught.value.metadata == {"revision": "1"}
    assert (await store.get_values(pairs, ["k"]))["k"].value == text_value("first")
    assert (await store.put_value(pairs, "k", text_value("second"), expected_revision=1)).revision == 2
    with pytest.raises(AbortedError):
        await store.put_value(pairs, "new", text_value("x"), expected_revision=1)


async def test_of_concurrent_writers_that_compare_and_set_none_is_lost(store: Store, pairs: str) -> None:
    await store.put_value(pairs, "count", Value(integer=0))

    async def increment() -> None:
        while True:
            entry = (await store.get_values(pairs, ["count"]))["count"]
            try:
                value = Value(integer=entry.value.integer + 1)
                await store.put_value(pairs, "count", value, expected_revision=entry.revision)
            except AbortedError:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(12)))
    entry = (await store.get_values(pairs, ["count"]))["count"]
    assert (entry.value.integer, entry.revision) == (12, 13)


async def test_a_deleted_key_begins_anew(store: Store, pairs: str) -> None:
    await store.put_value(pairs, "k", text_value("v"))
    await store.put_value(pairs, "k", text_value("w"))
    assert await store.delete_value(pairs, "k") is True
    assert await store.get_values(pairs, ["k"]) == {}
    assert (await store.put_value(pairs, "k", text_value("x"), expected_revision=0)).revision == 1


async def test_deleting_what_is_missing_is_no_error_whatever_is_expected(store: Store, pairs: str) -> None:
    assert await store.delete_value(pairs, "missing") is False
    assert await store.delete_value(pairs, "missing", expected_revision=5) is False


async def test_a_deletion_with_a_stale_revision_deletes_nothing(store: Store, pairs: str) -> None:
    await store.put_value(pairs, "k", text_value("v"))
    with pytest.raises(AbortedError) as caught:
        await store.delete_value(pairs, "k", expected_revision=2)
    assert caught.value.reason == "STALE_REVISION"
    assert await store.delete_value(pairs, "k", expected_revision=1) is True


async def test_lists_are_in_the_order_of_bytes_and_paged(store: Store, pairs: str) -> None:
    keys = sorted(["a", "B", "ab", "ä", "z", "漢", "🔑", "a/b", "a\x00b"], key=str.encode)
    for key in reversed(keys):
        await store.put_value(pairs, key, text_value(key))
    seen: list[str] = []
    while page := await store.list_values(pairs, prefix="", after=seen[-1] if seen else "", limit=2):
        seen += [entry.key for entry in page]
        assert all(entry.value.text == entry.key for entry in page)
    assert seen == keys


async def test_a_prefix_is_taken_literally(store: Store, pairs: str) -> None:
    keys = ["user/1", "user/2", "user%", "user_", "users", "use", "ä1", "ä2", "\U0010fffd1"]
    for key in keys:
        await store.put_value(pairs, key, text_value("v"))

    async def listed(prefix: str, after: str = "") -> list[str]:
        return [entry.key for entry in await store.list_values(pairs, prefix=prefix, after=after, limit=100)]

    assert await listed("user/") == ["user/1", "user/2"]
    assert await listed("user%") == ["user%"]
    assert await listed("user_") == ["user_"]
    assert await listed("ä") == ["ä1", "ä2"]
    assert await listed("ä", after="ä1") == ["ä2"]
    assert await listed("\U0010fffd") == ["\U0010fffd1"]
    assert await listed("nobody") == []


async def test_a_list_of_keys_leaves_the_values_out(store: Store, pairs: str) -> None:
    await store.put_value(pairs, "k", text_value("v"))
    (entry,) = await store.list_values(pairs, prefix="", after="", limit=10, keys_only=True)
    assert (entry.key, entry.revision, entry.HasField("value")) == ("k", 1, False)


async def test_large_values_are_kept(store: Store, pairs: str) -> None:
    value = Value(data=b"x" * (4 << 20))
    await store.put_value(pairs, "k" * 1024, value)
    assert (await store.get_values(pairs, ["k" * 1024]))["k" * 1024].value == value


async def test_statistics_count_keys(store: Store, pairs: str) -> None:
    for key in "abc":
        await store.put_value(pairs, key, text_value("v"))
    await store.put_value(pairs, "a", text_value("w"))
    await store.delete_value(pairs, "b")
    assert (await store.statistics(pairs)).document_count == 2
