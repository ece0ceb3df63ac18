"""A replica that inserts documents and prints the name of each once it is acknowledged: `memory_writer.py DSN SCHEMA NAME`.

While the database is away it tries again.
"""

import asyncio
import itertools
import sys

from services.core.errors import UnavailableError
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from tests.services.memory.providers.postgres.building import vector_bank, vectors, write


async def main(dsn: str, schema: str, name: str) -> None:
    store = PostgresStore(PostgresConfig(dsn=dsn, schema_name=schema))
    await store.start()
    await store.open_bank(vector_bank("b"))
    for number in itertools.count():
        texts = [f"passage {at} of {name} {number}" for at in range(5)]
        made = write(f"{name}{number}", texts, vectors(5, seed=number))
        for at, chunk in enumerate(made.batch.chunks if made.batch else ()):
            chunk.location.chunk_index = at
        while True:
            try:
                await store.write_documents("b", [made])
            except UnavailableError:
                await asyncio.sleep(0.05)
            else:
                break
        print(f"{name}{number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
