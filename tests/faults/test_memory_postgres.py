"""Memory banks on PostgreSQL whose replicas and whose server are killed."""

import asyncio
import os
import random
import signal
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.core.errors import ResourceExhaustedError, UnavailableError
from services.core.readiness import Readiness
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import Selection, Word, WordQuery
from tests.services.memory.providers.postgres.building import vector_bank, vectors, write
from tests.support.eventually import until
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

ROOT = Path(__file__).resolve().parents[2]
CHUNKS = 5


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
async def store(server: PostgresServer, request: pytest.FixtureRequest) -> AsyncIterator[PostgresStore]:
    readiness = Readiness()
    store = PostgresStore(PostgresConfig(dsn=server.url, schema_name=_schema(request)), readiness=readiness)
    await store.start()
    await store.open_bank(vector_bank("b"))
    yield store
    await store.stop()


def _schema(request: pytest.FixtureRequest) -> str:
    """A schema of its own for every test, and for every round of it."""
    return f"test_{zlib.crc32(request.node.nodeid.encode()):08x}"


class Writer:
    """Another replica of the service, in a process of its own, that inserts documents one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.acknowledged: list[str] = []

    @classmethod
    async def start(cls, server: PostgresServer, schema: str, name: str) -> "Writer":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "tests" / "faults" / "memory_writer.py"),
            server.url,
            schema,
            name,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return cls(process)

    async def read(self, documents: int) -> None:
        """Waits until so many more documents are acknowledged."""
        assert self._process.stdout is not None
        async with asyncio.timeout(120):
            for _ in range(documents):
                line = await self._process.stdout.readline()
                assert line, "the writer ended"
                self.acknowledged.append(line.decode().strip())

    async def kill(self) -> None:
        """SIGKILL, and what it had acknowledged before."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.stdout is not None
        rest = await self._process.stdout.read()
        self.acknowledged += rest.decode().split("\n")[:-1]
        await self._process.wait()


async def check_whole(store: PostgresStore, acknowledged: list[str]) -> None:
    """Every acknowledged document is there, and every document that is there is whole."""
    listed: list[str] = []
    while page := await store.list_documents("b", after=listed[-1] if listed else "", limit=1000):
        listed += [document.document_id for document in page]
    assert set(acknowledged) <= set(listed)
    matches = await store.search_vectors("b", vectors(1)[0], 10_000, exact=True)
    shown = (await store.get_chunks("b", [match.key for match in matches], embeddings=True)).values()
    held = {name: sorted(c.location.chunk_index for c in shown if c.document_id == name) for name in listed}
    assert held == {name: list(range(CHUNKS)) for name in listed}
    assert len(matches) == CHUNKS * len(listed)
    words = await store.search_words("b", WordQuery([Word("passage")]), 10_000)
    assert {match.key for match in words} == {match.key for match in matches}
    statistics = await store.statistics("b")
    assert (statistics.document_count, statistics.chunk_count) == (len(listed), len(matches))


async def test_a_killed_replica_leaves_every_acknowledged_document_and_no_half_one(
    server: PostgresServer, store: PostgresStore, request: pytest.FixtureRequest
) -> None:
    acknowledged: list[str] = []
    for turn in range(3):
        writer = await Writer.start(server, _schema(request), f"w{turn}")
        await writer.read(10 + 7 * turn)
        await writer.kill()
        acknowledged += writer.acknowledged
    await check_whole(store, acknowledged)
    # What the dead held is free.
    assert (await store.write_documents("b", [write(acknowledged[-1], ["new"], vectors(1))]))[0].revision == 2


async def test_two_replicas_write_one_bank_while_others_read_it(
    server: PostgresServer, store: PostgresStore, request: pytest.FixtureRequest
) -> None:
    writers = [await Writer.start(server, _schema(request), name) for name in ("same", "same", "other")]
    reading = asyncio.gather(*(writer.read(40) for writer in writers))
    while not reading.done():
        matches = await store.search_vectors("b", vectors(1)[0], 50)
        shown = await store.get_chunks("b", [match.key for match in matches])
        assert all(chunk.content.items[0].text.startswith("passage") for chunk in shown.values())
        await asyncio.sleep(0.01)
    await reading
    for writer in writers:
        await writer.kill()
    await check_whole(store, [name for writer in writers for name in writer.acknowledged])


async def test_a_killed_server_comes_back_with_all_it_had_acknowledged() -> None:
    readiness = Readiness()
    with postgres_server() as server:
        store = PostgresStore(PostgresConfig(dsn=server.url), readiness=readiness)
        await store.start()
        await store.open_bank(vector_bank("b"))
        writer = await Writer.start(server, "caravan_memory", "w")
        acknowledged: list[str] = []
        refused: set[str] = set()
        for turn in range(3):
            await writer.read(10)
            server.kill()
            with pytest.raises(UnavailableError) as away:
                await store.get_documents("b", ["w0"])
            assert away.value.retry_after
            refused.add(away.value.reason)
            await until(lambda: not readiness.ready)
            server.start()
            await until(lambda: readiness.ready, 30)
            acknowledged = writer.acknowledged
            await store.write_documents("b", [write(f"own{turn}", ["own"], vectors(1))])
        # The writer has gone on by itself after every restart.
        await writer.read(5)
        await writer.kill()
        assert refused == {"STORE_UNREACHABLE"}
        for turn in range(3):
            assert len(await store.get_documents("b", [f"own{turn}"])) == 1
        assert await store.delete_documents("b", Selection(document_ids=["own0", "own1", "own2"])) == 3
        await check_whole(store, acknowledged)
        await store.stop()


async def written_until_full(store: PostgresStore) -> list[str]:
    """Writes documents until there is no room; returns those that are acknowledged."""
    written: list[str] = []
    for count in range(100):
        made = write(f"d{count}", _long_passages(count), vectors(CHUNKS, seed=count))
        for at, chunk in enumerate(made.batch.chunks if made.batch else ()):
            chunk.location.chunk_index = at
        try:
            await store.write_documents("b", [made])
        except ResourceExhaustedError as error:
            if error.reason != "NO_ROOM":
                raise
            return written
        written.append(f"d{count}")
    message = "the disk is not full"
    raise AssertionError(message)


async def test_a_full_disk_of_the_server_refuses_writes_and_loses_nothing(
    server: PostgresServer, store: PostgresStore, request: pytest.FixtureRequest
) -> None:
    sql = await asyncpg.connect(server.url)
    with tempfile.TemporaryDirectory(prefix="caravan-full-") as folder, small_disk(Path(folder), 16) as disk:
        # The server's own user.
        os.chown(disk, 65534, 65534)
        await sql.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        number = await sql.fetchval(f"SELECT number FROM {_schema(request)}.banks")
        for table in ("documents", "texts"):
            await sql.execute(f"ALTER TABLE {_schema(request)}.{table}_{number} SET TABLESPACE small")
        written = await written_until_full(store)
        assert written
        await check_whole(store, written)
        await store.delete_documents("b", Selection(document_ids=written[:1]))
        assert (await store.write_documents("b", [write("small", ["passage"], vectors(1))]))[0].revision == 1
        await store.drop_bank("b")
        await sql.execute("DROP TABLESPACE small")
    await sql.close()


def _long_passages(seed: int) -> list[str]:
    """Text that cannot be compressed away."""
    noise = random.Random(seed)
    return [f"passage {at} {noise.randbytes(100_000).hex()}" for at in range(CHUNKS)]
