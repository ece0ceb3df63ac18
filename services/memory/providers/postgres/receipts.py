"""Receipts: what a mutation has answered, kept in its own transaction."""

from typing import Any

from services.core.errors import AbortedError
from services.memory.ports import RECEIPT_SECONDS
from services.memory.providers.postgres.banks import Bank
from services.memory.providers.postgres.database import Connection
from services.memory.providers.postgres.text import quoted
from services.memory.records import KeptReceipt, Receipt


async def claim(connection: Connection, bank: Bank, receipt: Receipt | None, now: float) -> None:
    """Takes a receipt's place, before anything else is done: who comes second waits for the first, and then learns that it was done.

    Raises:
        AbortedError: There is one already.
    """
    if receipt is None:
        return
    claimed = await connection.fetchval(
        "INSERT INTO receipts AS r VALUES ($1, $2, $3, $4, '', $5) ON CONFLICT (bank, rpc, request_id) DO UPDATE "
        "SET fingerprint = excluded.fingerprint, expires_at = excluded.expires_at WHERE r.expires_at <= $6 RETURNING 1",
        bank.number,
        receipt.rpc,
        quoted(receipt.request_id),
        receipt.fingerprint,
        now + RECEIPT_SECONDS,
        now,
    )
    if claimed is None:
        raise AbortedError(
            f"request_id {receipt.request_id!r} was used before; its response is kept", reason="RECEIPT_EXISTS"
        )


async def fill(connection: Connection, bank: Bank, receipt: Receipt | None, result: Any) -> None:
    """Keeps the response that a claimed receipt makes of the result."""
    if receipt is None:
        return
    await connection.execute(
        "UPDATE receipts SET response = $4 WHERE bank = $1 AND rpc = $2 AND request_id = $3",
        bank.number,
        receipt.rpc,
        quoted(receipt.request_id),
        receipt.respond(result).SerializeToString(),
    )


async def find(connection: Connection, bank: Bank, rpc: str, request_id: str, now: float) -> KeptReceipt | None:
    """Returns the receipt that an earlier mutation left."""
    row = await connection.fetchrow(
        "SELECT fingerprint, response FROM receipts WHERE bank = $1 AND rpc = $2 AND request_id = $3 AND expires_at > $4",
        bank.number,
        rpc,
        quoted(request_id),
        now,
    )
    return None if row is None else KeptReceipt(row["fingerprint"], row["response"])
