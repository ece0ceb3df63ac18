"""The tables, and how they come to be.

What all banks share is in a few tables; what a bank holds is in tables of its own, named by the bank's number: dimensions differ, indexes
are a bank's own, one bank's statistics are not another's, and dropping a bank is quick and leaves nothing behind. The columns:

- Identifiers and keys are texts in the order of their code points (`COLLATE "C"`), without U+0000 (`text.quoted`). Where a text may be
  longer than an index entry, its digest is the primary key.
- Times are seconds since the epoch.
- `facts` are metadata as filters ask for them (`facets`); `record` and `body` are messages.
"""

from typing import Any

import asyncpg

from services.core.errors import FailedPreconditionError
from services.memory.providers.postgres.text import INDEXED
from services.memory.providers.postgres.vectors import Space
from services.memory.records import BankKind, BankSpec

VERSION = 1
"""Version of the tables; a store refuses a database of a later one."""
_LOCK = 0x63617261_76616E00
"""Key of the advisory lock under which the schema changes."""
_LEAST_PGVECTOR = (0, 8)

_MIGRATIONS = {
    1: """
        CREATE TABLE banks (
            number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest bytea NOT NULL UNIQUE,
            bank_id text COLLATE "C" NOT NULL,
            dropped boolean NOT NULL DEFAULT false,
            params bytea NOT NULL,
            dimension integer,
            documents bigint NOT NULL DEFAULT 0,
            chunks bigint NOT NULL DEFAULT 0,
            tokens bigint NOT NULL DEFAULT 0,
            words bigint NOT NULL DEFAULT 0,
            graph_revision bigint NOT NULL DEFAULT 0,
            updated_at double precision NOT NULL
        ) WITH (fillfactor = 50);
        CREATE TABLE receipts (
            bank integer NOT NULL,
            rpc text COLLATE "C" NOT NULL,
            request_id text COLLATE "C" NOT NULL,
            fingerprint bytea NOT NULL,
            response bytea NOT NULL,
            expires_at double precision NOT NULL,
            PRIMARY KEY (bank, rpc, request_id)
        );
        CREATE INDEX receipts_expiry ON receipts (bank, expires_at);
        CREATE SEQUENCE chunk_keys;
    """,
}
"""What makes each version of the version before."""

_DOCUMENTS = """
    CREATE TABLE documents_{n} (
        document_id text COLLATE "C" PRIMARY KEY,
        revision bigint NOT NULL,
        recipe bytea NOT NULL,
        inserted_at double precision NOT NULL,
        updated_at double precision NOT NULL,
        expires_at double precision,
        facts jsonb NOT NULL,
        record bytea NOT NULL,
        content bytea NOT NULL
    );
    CREATE INDEX documents_{n}_facts ON documents_{n} USING gin (facts jsonb_path_ops) WITH (fastupdate = off);
    CREATE INDEX documents_{n}_expiry ON documents_{n} (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE chunks_{n} (
        key bigint PRIMARY KEY,
        chunk_id text COLLATE "C" NOT NULL UNIQUE,
        document_id text COLLATE "C" NOT NULL,
        alone boolean NOT NULL,
        inserted_at double precision NOT NULL,
        own_expiry double precision,
        expires_at double precision,
        tokens integer NOT NULL,
        words integer NOT NULL,
        facts jsonb NOT NULL
    );
    CREATE INDEX chunks_{n}_document ON chunks_{n} (document_id);
    CREATE INDEX chunks_{n}_facts ON chunks_{n} USING gin (facts jsonb_path_ops) WITH (fastupdate = off);
    CREATE INDEX chunks_{n}_expiry ON chunks_{n} (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE texts_{n} (
        key bigint PRIMARY KEY,
        length integer NOT NULL,
        words tsvector NOT NULL,
        body bytea NOT NULL
    );
    ALTER TABLE texts_{n} ALTER words SET STORAGE MAIN, ALTER body SET STORAGE EXTERNAL;
    CREATE INDEX texts_{n}_words ON texts_{n} USING gin (words) WITH (fastupdate = on);
"""
_VECTORS = """
    CREATE TABLE vectors_{n} (
        key bigint PRIMARY KEY,
        norm double precision NOT NULL,
        embedding vector({dimension}) NOT NULL
    );
    ALTER TABLE vectors_{n} ALTER embedding SET STORAGE {storage};
"""
_VECTOR_INDEX = "CREATE INDEX vectors_{n}_nearest ON vectors_{n} USING hnsw ({index});"
_VALUES = """
    CREATE TABLE values_{n} (
        digest bytea PRIMARY KEY,
        key text COLLATE "C" NOT NULL,
        value bytea NOT NULL,
        revision bigint NOT NULL,
        updated_at double precision NOT NULL,
        expires_at double precision
    );
    CREATE INDEX values_{n}_order ON values_{n} (left(key, {indexed}));
    CREATE INDEX values_{n}_expiry ON values_{n} (expires_at) WHERE expires_at IS NOT NULL;
"""
_GRAPH = """
    CREATE TABLE entities_{n} (
        digest bytea PRIMARY KEY,
        key text COLLATE "C" NOT NULL,
        entity_type text COLLATE "C" NOT NULL,
        own boolean NOT NULL,
        entity bytea NOT NULL,
        vector bytea
    );
    CREATE INDEX entities_{n}_order ON entities_{n} (left(key, {indexed}));
    CREATE TABLE relations_{n} (
        digest bytea PRIMARY KEY,
        subject bytea NOT NULL,
        object bytea NOT NULL,
        subject_key text COLLATE "C" NOT NULL,
        relation_type text COLLATE "C" NOT NULL,
        object_key text COLLATE "C" NOT NULL,
        own boolean NOT NULL,
        relation bytea NOT NULL
    );
    CREATE INDEX relations_{n}_subject ON relations_{n} (subject);
    CREATE INDEX relations_{n}_object ON relations_{n} (object);
    CREATE INDEX relations_{n}_order ON relations_{n} (left(subject_key, {indexed}));
    CREATE TABLE sources_{n} (
        fact bytea NOT NULL,
        document_id text COLLATE "C" NOT NULL,
        PRIMARY KEY (fact, document_id)
    );
    CREATE INDEX sources_{n}_document ON sources_{n} (document_id);
    CREATE TABLE mentions_{n} (
        chunk bigint NOT NULL,
        entity bytea NOT NULL,
        PRIMARY KEY (chunk, entity)
    );
    CREATE INDEX mentions_{n}_entity ON mentions_{n} (entity);
"""
TABLES = ("documents", "chunks", "texts", "vectors", "values", "entities", "relations", "sources", "mentions")
"""The tables that a bank may have."""


async def prepare(connection: Any, schema: str) -> str:
    """Makes the tables, or brings them to this version; several replicas may do so at once.

    Args:
        connection: An asyncpg connection, on which nothing else runs.
        schema: Name of the schema that holds them, fit for SQL as it is.

    Returns:
        The schema that pgvector is installed in.

    Raises:
        FailedPreconditionError: The database cannot be used, or is of a later version.
    """
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise FailedPreconditionError("the database's encoding must be UTF8; make another one", reason="STORE_REFUSES")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        extension = await _extension(connection)
        if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        await connection.execute(f'SET LOCAL search_path TO "{schema}", "{extension}"')
        await connection.execute("CREATE TABLE IF NOT EXISTS version (version integer NOT NULL)")
        version = await connection.fetchval("SELECT max(version) FROM version") or 0
        if version > VERSION:
            raise FailedPreconditionError(
                f"schema {schema} is of version {version}, and this store knows {VERSION} at most; update the service",
                reason="STORE_TOO_NEW",
            )
        for step in range(version + 1, VERSION + 1):
            await connection.execute(_MIGRATIONS[step])
            await connection.execute("INSERT INTO version VALUES ($1)", step)
    return extension


async def _extension(connection: Any) -> str:
    """Makes sure of pgvector; returns the schema it is in."""
    known = "SELECT nspname, extversion FROM pg_extension e JOIN pg_namespace s ON s.oid = extnamespace WHERE extname = 'vector'"
    found = await connection.fetchrow(known)
    if found is None:
        try:
            await connection.execute("CREATE EXTENSION vector")
        except (
            asyncpg.InsufficientPrivilegeError,
            asyncpg.UndefinedFileError,
            asyncpg.FeatureNotSupportedError,
        ) as error:
            raise FailedPreconditionError(
                "the database has no pgvector and the provider's user may not, or cannot, install it; install pgvector on the server "
                "and run CREATE EXTENSION vector as its administrator",
                reason="STORE_REFUSES",
            ) from error
        found = await connection.fetchrow(known)
    version = tuple(int(part) for part in found["extversion"].split(".")[:2])
    if version < _LEAST_PGVECTOR:
        raise FailedPreconditionError(
            f"pgvector {found['extversion']} is too old; install 0.8 or later and run ALTER EXTENSION vector UPDATE",
            reason="STORE_REFUSES",
        )
    return str(found["nspname"])


def bank_tables(number: int, spec: BankSpec) -> str:
    """Returns the statements that make a bank's tables.

    Args:
        number: Number of the bank.
        spec: What the bank is.
    """
    if spec.kind is BankKind.KEYVALUE:
        return _VALUES.format(n=number, indexed=INDEXED)
    statements = [_DOCUMENTS.format(n=number)]
    if spec.kind is BankKind.GRAPH:
        statements.append(_GRAPH.format(n=number, indexed=INDEXED))
    if spec.dimension is not None:
        space = Space(spec)
        statements.append(_VECTORS.format(n=number, dimension=spec.dimension, storage=space.storage))
        if space.indexed:
            statements.append(_VECTOR_INDEX.format(n=number, index=space.index))
    return "".join(statements)
