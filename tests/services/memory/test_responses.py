"""Responses that fit into one message."""

import pytest

from caravan.memory.v1 import query_pb2
from services.core.errors import ResourceExhaustedError
from services.memory.content import of_text
from services.memory.responses import Responses

OVERHEAD = 32_768


class Entries:
    """Entries of some sizes, and how many of them were read at a time."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self.reads: list[int] = []

    async def following(self, last: int | None, limit: int) -> list[int]:
        self.reads.append(limit)
        first = 0 if last is None else last + 1
        return list(range(len(self.sizes)))[first : first + limit]

    async def of(self, keys) -> dict[str, int]:
        self.reads.append(len(keys))
        return {key: int(key) for key in keys if int(key) < len(self.sizes)}

    def size(self, entry: int) -> int:
        return self.sizes[entry]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 299, 300, 301])
async def test_a_page_of_small_entries_is_full(count):
    entries = Entries(*[10] * 300)
    found, more = await Responses(OVERHEAD + 10_000).page(entries.following, count, entries.size)
    assert found == list(range(min(count, 300)))
    assert more == (count < 300)


async def test_a_page_of_large_entries_is_shorter_and_nothing_more_is_read():
    entries = Entries(*[1000] * 300)
    found, more = await Responses(OVERHEAD + 20_000).page(entries.following, 100, entries.size)
    assert (found, more) == (list(range(20)), True)
    assert sum(entries.reads) < 40
    assert await Responses(OVERHEAD + 10).page(entries.following, 100, entries.size) == ([0], True)


async def test_all_entries_are_read_in_portions_or_refused_early():
    entries = Entries(*[100] * 300)
    keys = [str(number) for number in range(310)]
    found = await Responses(OVERHEAD + 60_000).every(keys, entries.of, entries.size, "ask for fewer")
    assert list(found) == keys[:300]
    assert len(entries.reads) < 8
    entries.reads.clear()
    with pytest.raises(ResourceExhaustedError, match="ask for fewer") as refused:
        await Responses(OVERHEAD + 1000).every(keys, entries.of, entries.size, "ask for fewer", portion=1)
    assert refused.value.reason == "RESPONSE_TOO_LARGE"
    assert sum(entries.reads) < 20


def test_a_response_that_is_too_large_is_refused():
    chunk = query_pb2.Chunk(content=of_text("x" * 1000))
    assert Responses(OVERHEAD + 2000).checked(chunk, "less") is chunk
    with pytest.raises(ResourceExhaustedError, match="less"):
        Responses(OVERHEAD + 900).checked(chunk, "less")
