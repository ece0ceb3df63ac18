"""The tables of a bank's database."""

VERSION = 1
"""Kept as `user_version`; a database with another one is refused."""

TABLES = """
CREATE TABLE bank (
    bank_id TEXT NOT NULL,
    params BLOB NOT NULL,
    dimension INTEGER,
    updated_at REAL NOT NULL,
    graph_revision INTEGER NOT NULL DEFAULT 0
);

-- `head` is the StoredDocument without content, metadata, revision and times, which have columns of their own.
CREATE TABLE documents (
    document_id TEXT PRIMARY KEY,
    head BLOB NOT NULL,
    metadata BLOB NOT NULL,
    recipe TEXT NOT NULL,
    revision INTEGER NOT NULL,
    inserted_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL
) WITHOUT ROWID;
CREATE INDEX documents_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE contents (document_id TEXT PRIMARY KEY, content BLOB NOT NULL);

-- `own` tells a document's own cutting from what was inserted as chunks. `expires_at` is the chunk's; its document's counts too.
-- AUTOINCREMENT: a key is never given again.
CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    chunk_id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    own INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    inserted_at REAL NOT NULL,
    expires_at REAL,
    body BLOB NOT NULL
);
CREATE INDEX chunks_document ON chunks (document_id);
CREATE INDEX chunks_expiry ON chunks (expires_at) WHERE expires_at IS NOT NULL;
-- Half precision where that loses nothing but digits, else single.
CREATE TABLE vectors (key INTEGER PRIMARY KEY, vector BLOB NOT NULL);

-- Keys as UTF-8 bytes, which is their order.
CREATE TABLE pairs (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL
) WITHOUT ROWID;
CREATE INDEX pairs_expiry ON pairs (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE entities (
    key TEXT PRIMARY KEY,
    entity_type TEXT NOT NULL,
    body BLOB NOT NULL,
    vector BLOB
) WITHOUT ROWID;
CREATE TABLE relations (
    subject TEXT NOT NULL,
    type TEXT NOT NULL,
    object TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (subject, type, object)
) WITHOUT ROWID;
CREATE INDEX relations_object ON relations (object);
-- Who tells of what; an empty document_id is the caller.
CREATE TABLE entity_sources (
    document_id TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (document_id, key)
) WITHOUT ROWID;
CREATE INDEX entity_sources_key ON entity_sources (key);
CREATE TABLE relation_sources (
    document_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    type TEXT NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (document_id, subject, type, object)
) WITHOUT ROWID;
CREATE INDEX relation_sources_relation ON relation_sources (subject, type, object);
CREATE TABLE mentions (
    chunk INTEGER NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (chunk, key)
) WITHOUT ROWID;
CREATE INDEX mentions_key ON mentions (key);

CREATE TABLE receipts (
    rpc TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    response BLOB NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (rpc, request_id)
) WITHOUT ROWID;
CREATE INDEX receipts_expiry ON receipts (expires_at);
"""
