"""Receipts in the database: they make a repeated mutation return the first one's result."""

import sqlite3
from typing import Any

from services.core.errors import AbortedError
from services.memory.ports import RECEIPT_SECONDS
from services.memory.providers.embedded.transaction import Transaction
from services.memory.records import KeptReceipt, Receipt


def check(tx: Transaction, receipt: Receipt | None) -> None:
    """Refuses a mutation that has been done already.

    Raises:
        AbortedError: It has; reason `RECEIPT_EXISTS`.
    """
    if receipt is not None and find(tx.connection, receipt.rpc, receipt.request_id, tx.now) is not None:
        message = f"request_id {receipt.request_id!r} was used already; its response is kept"
        raise AbortedError(message, reason="RECEIPT_EXISTS")


def keep(tx: Transaction, receipt: Receipt | None, result: Any) -> None:
    """Keeps the response to a mutation."""
    if receipt is not None:
        tx.execute(
            "INSERT OR REPLACE INTO receipts (rpc, request_id, fingerprint, response, expires_at) VALUES (?, ?, ?, ?, ?)",
            receipt.rpc,
            receipt.request_id,
            receipt.fingerprint,
            receipt.respond(result).SerializeToString(),
            tx.now + RECEIPT_SECONDS,
        )


def find(connection: sqlite3.Connection, rpc: str, request_id: str, now: float) -> KeptReceipt | None:
    """Returns the receipt that an earlier mutation left."""
    row = connection.execute(
        "SELECT fingerprint, response FROM receipts WHERE rpc = ? AND request_id = ? AND expires_at > ?",
        (rpc, request_id, now),
    ).fetchone()
    return None if row is None else KeptReceipt(*row)
