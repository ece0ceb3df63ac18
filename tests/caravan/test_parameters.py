import json

import pytest

from caravan import parameters
from caravan.errors import InvalidInputError
from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2


def chat(**given):
    return parameters.chat_request(inference_pb2.ChatCompletionRequest, "m", "Hi", given)


def test_what_is_not_given_is_not_sent():
    request = chat()
    for field in ("sampling_params", "response_format", "logprobs", "tool_config"):
        assert not request.HasField(field)


@pytest.mark.parametrize(
    ("given", "strategy"),
    [
        ({"temperature": 0}, "greedy"),
        ({"temperature": 0, "top_p": 0.5}, "greedy"),
        ({"temperature": 0.7}, "top_p"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5, "temperature": 0.7}, "top_k"),
    ],
)
def test_numbers_choose_the_strategy(given, strategy):
    assert chat(**given).sampling_params.WhichOneof("strategy") == strategy


def test_a_temperature_alone_cuts_no_tail():
    assert chat(temperature=0.7).sampling_params.top_p.top_p == 1.0
    assert not chat(top_k=5).sampling_params.top_k.HasField("top_p")


def test_zero_counts_as_given():
    assert chat(seed=0).sampling_params.seed == 0
    assert chat(seed=0).sampling_params.HasField("seed")
    assert chat(logprobs=0).HasField("logprobs")


def test_a_schema_keeps_the_order_of_its_keys():
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    text = chat(json_schema=schema).response_format.json_schema_text
    assert list(json.loads(text)["properties"]) == ["z", "a"]


def test_openai_s_tool_definitions_are_taken():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Where."}, "days": {"type": ["integer", "null"]}},
        "required": ["city"],
    }
    tool = {"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": schema}}
    [definition] = chat(tools=[tool]).tools
    assert (definition.tool_name, definition.description) == ("weather", "Tells.")
    assert definition.parameters["city"].param_type == "string"
    assert definition.parameters["city"].required
    assert not definition.parameters["days"].required
    assert definition.parameters["days"].schema["type"][0] == "integer"


def test_a_tool_may_be_a_message_or_a_built_in_tool_s_name():
    definition = types_pb2.ToolDefinition(tool_name="f")
    assert [tool.tool_name for tool in chat(tools=[definition, "brave_search"]).tools] == ["f", "brave_search"]


def test_a_stream_s_request_is_its_twin_s():
    given = {"max_tokens": 3, "tools": ["brave_search"], "tool_choice": "none"}
    unary = parameters.chat_request(inference_pb2.ChatCompletionRequest, "m", "Hi", given)
    streamed = parameters.chat_request(inference_pb2.StreamChatCompletionRequest, "m", "Hi", given)
    assert unary.SerializeToString(deterministic=True) == streamed.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sampling_params": {"max_tokens": 1}, "max_tokens": 2}, "give sampling_params or max_tokens, not both"),
        ({"tool_config": {"tool_choice": "auto"}, "tool_choice": "none"}, "give tool_config or tool_choice"),
        ({"json_schema": {}, "grammar": "x"}, "give one of json_schema, grammar"),
        ({"max_tokens": -1}, "sampling_params.max_tokens"),
        ({"max_tokens": "3"}, "sampling_params.max_tokens"),
        ({"tools": [{"name": "f"}]}, r"tools\[0\]: unknown field 'name'; known are description, parameters, tool_name"),
        ({"max_coalescing_delay": 0.1}, "only a stream has it; pass stream=True"),
        ({"temprature": 1}, "temprature: there is no such parameter"),
    ],
)
def test_what_does_not_fit_is_told(given, problem):
    with pytest.raises(InvalidInputError, match=problem):
        chat(**given)


def test_one_text_or_several_contents_are_embedded():
    assert len(parameters.embeddings_request("e", "abc").contents) == 1
    request = parameters.embeddings_request("e", ["a", {"type": "text", "text": "b"}], 64, "end")
    assert [content.items[0].text for content in request.contents] == ["a", "b"]
    assert request.output_dimension == 64
    assert request.text_truncation == inference_pb2.TEXT_TRUNCATION_END
