"""`caravan memory put`, `value`, `keys` and `remove`: key-value banks."""

import json
from typing import Annotated, Any

import typer

from caravan.cli.session import Session, with_session
from caravan.documents import plain_value
from caravan.errors import InvalidInputError
from caravan.memory.v1 import keyvalue_pb2

BankId = Annotated[str, typer.Argument(help="Identifier of the memory bank, a key-value bank.", show_default=False)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]
Revision = Annotated[int | None, typer.Option("--revision", min=0, help="Only if the key still has this revision.")]


@with_session
def put(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    name: Key,
    text: Annotated[str, typer.Argument(metavar="VALUE", help="The value, a text.", show_default=False)],
    is_json: Annotated[bool, typer.Option("--as-json", help="The value is JSON: a number, true, a list, ...")] = False,
    ttl: Annotated[int | None, typer.Option("--ttl", min=1, help="Life in seconds. Default: the bank's.")] = None,
    revision: Revision = None,
) -> None:
    """Set the value of a key. --revision 0: only if it does not exist."""
    value: Any = text
    if is_json:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidInputError(f"the value is no JSON: {error}") from error
    entry = session.client.memory.put_value(bank_id, name, value, ttl_seconds=ttl, revision=revision)
    if session.json:
        session.write_json(entry)
    else:
        session.err.print(f"{name} is set, revision {entry.revision}", markup=False)


@with_session
def value(session: Session, bank_id: BankId, name: Key) -> None:
    """Show the value of a key."""
    entry = session.client.memory.get_value(bank_id, name)
    if session.json:
        session.write_json(entry)
    else:
        session.write(f"{_written(entry)}\n")


@with_session
def keys(
    session: Session,
    bank_id: BankId,
    prefix: Annotated[str, typer.Option("--prefix", help="Only keys that begin with this.", show_default=False)] = "",
) -> None:
    """List keys with their values."""
    entries = list(session.client.memory.list_values(bank_id, prefix=prefix))
    if session.json:
        session.write_list("entries", entries)
        return
    rows = [[entry.key, _written(entry), str(entry.revision)] for entry in entries]
    session.write_table(["key", "value", "revision"], rows, empty=f"{bank_id} holds no such keys")


@with_session
def remove(session: Session, bank_id: BankId, name: Key, revision: Revision = None) -> None:
    """Delete a key."""
    deleted = session.client.memory.delete_value(bank_id, name, revision=revision)
    if session.json:
        session.write(json.dumps({"deleted": deleted}) + "\n")
    else:
        session.err.print(f"{name} is deleted" if deleted else f"{name} was not there", markup=False)


def _written(entry: keyvalue_pb2.KeyValueEntry) -> str:
    plain = plain_value(entry.value)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, bytes):
        return f"{len(plain)} bytes"
    return json.dumps(plain, ensure_ascii=False, default=str)
