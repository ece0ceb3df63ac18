"""Metadata filters as SQL. Keys and values are parameters; nothing of a filter becomes SQL text."""

from typing import Any

from caravan.memory.v1 import filters_pb2
from services.memory.providers.postgres import facets
from services.memory.providers.postgres.text import quoted

FEW = 32
"""Values of a membership that are looked up in the index one by one; more are compared with each row's."""

_INSERTED_AT = "inserted_at"
_OPERATORS = {"equal": "=", "greater": ">", "greater_or_equal": ">=", "less": "<", "less_or_equal": "<="}


class Parameters:
    """The parameters of a statement, in their order."""

    def __init__(self, *values: Any) -> None:
        """Begins with some; they are $1, $2, ..."""
        self.values = list(values)

    def add(self, value: Any) -> str:
        """Adds one, and returns what stands for it in the statement."""
        self.values.append(value)
        return f"${len(self.values)}"


def compiled(condition: filters_pb2.MetadataFilter, table: str, parameters: Parameters) -> str:
    """Returns the SQL of a checked filter; it is true or false, never null.

    Args:
        condition: The filter.
        table: The table, or its alias, with the columns `facts` (`facets`) and `inserted_at`.
        parameters: Gets the filter's keys and values.
    """
    match condition.WhichOneof("condition"):
        case "all_of" | "any_of" as member:
            parts = [compiled(part, table, parameters) for part in getattr(condition, member).filters]
            return f"({(' AND ' if member == 'all_of' else ' OR ').join(parts)})"
        case "negation":
            return f"(NOT {compiled(condition.negation.filter, table, parameters)})"
        case "not_equal":
            return f"(NOT {_compared('equal', condition.not_equal, table, parameters)})"
        case "present":
            if condition.present.key == _INSERTED_AT:
                return "true"
            return f"({table}.facts ? {parameters.add(quoted(condition.present.key))}::text)"
        case "one_of":
            return _membership(condition.one_of, table, parameters)
        case "equal" | "greater" | "greater_or_equal" | "less" | "less_or_equal" as member:
            return _compared(member, getattr(condition, member), table, parameters)
        case _:
            return "true"


def _compared(member: str, comparison: filters_pb2.MetadataComparison, table: str, parameters: Parameters) -> str:
    value = facets.of_value(comparison.value)
    if comparison.key == _INSERTED_AT:
        if not isinstance(value, dict):
            return "false"
        return f"({_moment(table)} {_OPERATORS[member]} {parameters.add(value['t'])}::bigint)"
    if member == "equal":
        wanted = facets.written({quoted(comparison.key): value})
        return f"({table}.facts @> {parameters.add(wanted)}::jsonb)"
    if isinstance(value, bool):
        return "false"
    held = f"({table}.facts -> {parameters.add(quoted(comparison.key))}::text)"
    if isinstance(value, str):
        wanted = f"{parameters.add(value)}::text"
        return f"((jsonb_typeof({held}) = 'string' AND ({held} #>> '{{}}') COLLATE \"C\" {_OPERATORS[member]} {wanted}) IS TRUE)"
    if isinstance(value, dict):
        held, value = f"({held} -> 't')", value["t"]
    # JSON's numbers are compared as decimal numbers, without loss.
    wanted = f"{parameters.add(facets.written(value))}::jsonb"
    return f"((jsonb_typeof({held}) = 'number' AND {held} {_OPERATORS[member]} {wanted}) IS TRUE)"


def _membership(membership: filters_pb2.MetadataMembership, table: str, parameters: Parameters) -> str:
    values = [facets.of_value(value) for value in membership.values]
    if membership.key == _INSERTED_AT:
        moments = [value["t"] for value in values if isinstance(value, dict)]
        return f"({_moment(table)} = ANY ({parameters.add(moments)}::bigint[]))"
    key = quoted(membership.key)
    if len(values) <= FEW:
        # As a value of its own, and as an element of a list.
        forms = [facets.written({key: form}) for value in values for form in (value, [value])]
        return f"({table}.facts @> ANY ({parameters.add(forms)}::jsonb[]))"
    held = f"({table}.facts -> {parameters.add(key)}::text)"
    wanted = parameters.add([facets.written(value) for value in values])
    return (
        f"(EXISTS (SELECT FROM jsonb_array_elements(CASE jsonb_typeof({held}) WHEN 'array' THEN {held} "
        f"ELSE jsonb_build_array({held}) END) AS held(value) WHERE held.value = ANY ({wanted}::jsonb[])))"
    )


def _moment(table: str) -> str:
    """The microseconds at which it was inserted."""
    return f"round({table}.inserted_at * 1000000)::bigint"
