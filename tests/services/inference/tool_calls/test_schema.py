"""JSON Schemas of tools."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.types.v1 import types_pb2
from services.inference.tool_calls.schema import coerce, parameters_schema, type_schema
from tests.services.inference.conversation import parameter, tool


def test_required_parameters_come_first_then_by_name():
    defined = tool(
        "f",
        b=parameter(required=False),
        z=parameter(),
        a=parameter(required=False),
        y=parameter(required=True),
    )
    schema = parameters_schema(defined)
    assert list(schema["properties"]) == ["y", "z", "a", "b"]
    assert schema["required"] == ["y", "z"]
    assert schema["additionalProperties"] is False


def test_a_tool_without_parameters_takes_an_empty_object():
    assert parameters_schema(tool("f")) == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("str", {"type": "string"}),
        ("String", {"type": "string"}),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("dict", {"type": "object"}),
        ("list", {"type": "array"}),
        ("list[str]", {"type": "array", "items": {"type": "string"}}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("Dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("whatever", {}),
        ("list[" * 200 + "int" + "]" * 200, None),
    ],
)
def test_types_may_be_pythons_or_json_schemas(name, schema):
    made = type_schema(name)
    if schema is not None:
        assert made == schema


def test_description_and_default_go_along():
    defined = tool("f", n=parameter("int", "How many.", required=False, default=5.0))
    assert parameters_schema(defined)["properties"]["n"] == {
        "type": "integer",
        "description": "How many.",
        "default": 5,
    }


def test_a_schema_of_its_own_wins_over_the_type():
    own = {"type": "array", "items": {"type": "string", "maxLength": 3.0}, "description": "Mine."}
    defined = tool("f", x=parameter("str", "Theirs.", schema=own))
    schema = parameters_schema(defined)["properties"]["x"]
    assert schema == {"type": "array", "items": {"type": "string", "maxLength": 3}, "description": "Mine."}
    assert isinstance(schema["items"]["maxLength"], int)


def test_references_within_a_parameters_schema_keep_their_target():
    own = {
        "$defs": {"d": {"type": "integer"}},
        "anyOf": [{"$ref": "#/$defs/d"}, {"$ref": "#"}, {"$ref": "https://x.y/z"}],
    }
    (one, two, three) = parameters_schema(tool("f", x=parameter(schema=own)))["properties"]["x"]["anyOf"]
    assert one == {"$ref": "#/properties/x/$defs/d"}
    assert two == {"$ref": "#/properties/x"}
    assert three == {"$ref": "https://x.y/z"}


@pytest.mark.parametrize(
    ("name", "key"),
    [("brave_search", "query"), ("wolfram_alpha", "query"), ("photogen", "query"), ("code_interpreter", "code")],
)
def test_builtin_tools_have_a_parameter_without_being_told(name, key):
    bare = tool(name)
    assert parameters_schema(bare)["required"] == [key]
    assert bare == types_pb2.ToolDefinition(tool_name=name)
    assert list(parameters_schema(tool(name, other=parameter()))["properties"]) == ["other"]


json_documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["array", "object", "integer", "[1]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "items", "properties", "$ref", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_documents, json_documents)
def test_any_value_and_any_schema_will_do(value, schema):
    coerce(value, schema)
    if isinstance(schema, dict):
        parameters_schema(tool("f", a=parameter(schema=schema)))


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("10", {"type": "integer"}, 10),
        ("-3", {"type": "integer"}, -3),
        ("010", {"type": "integer"}, "010"),
        ("1.5", {"type": "integer"}, "1.5"),
        (5.0, {"type": "integer"}, 5),
        (5.5, {"type": "integer"}, 5.5),
        ("1.5", {"type": "number"}, 1.5),
        ("nan", {"type": "number"}, "nan"),
        ("True", {"type": "boolean"}, True),
        ("yes", {"type": "boolean"}, "yes"),
        (1, {"type": "boolean"}, 1),
        (7, {"type": "string"}, "7"),
        (7.5, {"type": "string"}, 7.5),
        (True, {"type": "string"}, True),
        ('["1"]', {"type": "array", "items": {"type": "integer"}}, [1]),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ('{"a": 1}', {"type": "array"}, '{"a": 1}'),
        ("[1", {"type": "array"}, "[1"),
        ("[" * 100_000, {"type": "array"}, "[" * 100_000),
        ("10", {"type": ["integer", "null"]}, "10"),
        ("10", {}, "10"),
        ("10", None, "10"),
        (None, {"type": "integer"}, None),
    ],
)
def test_values_are_brought_to_the_schemas_type_only_where_nothing_is_lost(value, schema, expected):
    made = coerce(value, schema)
    assert (made, type(made)) == (expected, type(expected))
