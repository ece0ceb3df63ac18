"""Writes TOML, as far as settings need it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def dumps(table: Mapping[str, Any], path: str = "") -> str:
    """Writes a table.

    Args:
        table: Values by name: strings, numbers, booleans, lists of these, tables, lists of tables. None is left out.
        path: Name of the table.
    """
    plain = {name: value for name, value in table.items() if value is not None and not _is_table(value)}
    lines = [f"{name} = {_value(value)}" for name, value in plain.items()]
    blocks = ["\n".join(lines) + "\n"] if lines else []
    for name, value in table.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            blocks.append(f"[{where}]\n{dumps(value, where)}")
        elif _is_table(value):
            blocks += [f"[[{where}]]\n{dumps(entry, where)}" for entry in value]
    return "\n".join(blocks)


def _is_table(value: Any) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], Mapping)
    return isinstance(value, Mapping) or bool(listed)


def _value(value: Any) -> str:
    if isinstance(value, str | bool | int | float):
        # JSON's strings and numbers are TOML's; DEL is the one character that JSON leaves as it is and TOML does not.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "[" + ", ".join(_value(item) for item in value) + "]"
