"""A document of 50 MB, through the gateway: in one message, in parts, from an address, and back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caravan.documents import file_requests
from caravan.errors import ResourceExhaustedError
from caravan.memory.v1 import memory_pb2
from tests.services.memory.stack import Stack, stack_with
from tests.support.valkey import valkey_server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
SIZE = 50_000_000
LINE = "The tide mill of the village turns twice a day, {:>10}.\n"


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    with valkey_server() as server:
        store = {"type": "inline::embedded", "folder": str(tmp_path_factory.mktemp("large"))}
        async with stack_with(server.url, {"memory": store}) as stack:
            await stack.client.memory_banks.register(
                "large", {"memory_bank_type": "keyword", "chunk_size_in_tokens": 4096, "overlap_size_in_tokens": 0}
            )
            yield stack


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "book.txt"
    lines = SIZE // len(LINE.format(0))
    path.write_text("".join(LINE.format(number) for number in range(lines)) + "The last word is zyzzyva.")
    return path


@pytest.fixture(scope="module")
def text(book: Path) -> str:
    return book.read_text()


async def test_one_message_is_refused_with_what_to_do(stack: Stack, text: str) -> None:
    client = stack.client.with_options(timeout=120)
    with pytest.raises(ResourceExhaustedError, match="in parts") as refused:
        await client.memory.insert("large", {"document_id": "book", "content": text})
    assert refused.value.reason == "MESSAGE_TOO_LARGE"
    assert not (await client.memory.statistics("large")).document_count


async def test_in_parts_it_is_taken_and_found_to_its_last_word_and_read_again(
    stack: Stack, book: Path, text: str
) -> None:
    client = stack.client.with_options(timeout=200)
    events = [event async for event in client.memory.bulk_insert("large", file_requests(book, "book"))]
    (done,) = (event.document for event in events if event.HasField("document"))
    assert done.outcome == memory_pb2.DOCUMENT_OUTCOME_INSERTED
    found = await client.memory.query("large", "zyzzyva", max_chunks=1)
    (chunk,) = found.chunks
    assert chunk.location.end == len(text)
    (head,) = await client.memory.get("large", "book", metadata_only=True)
    assert head.size_bytes == len(text)
    with pytest.raises(ResourceExhaustedError) as refused:
        await client.memory.get("large", "book")
    assert refused.value.reason == "RESPONSE_TOO_LARGE"
