"""What is asked of servers, and what is refused because a server would not heed it."""

from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.inference.models import ServedModel
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.dialects import DIALECTS
from services.inference.providers.remote_openai.requests import RequestWriter
from tests.services.inference.conversation import assistant, call, content, parameter, system, tool, tool_response, user

MODEL = ServedModel("alias", "served-name", models_pb2.MODEL_TYPE_LLM, {"context_length": 4096.0})
SCHEMA_TEXT = '{"type": "object", "properties": {"z": {"type": "string"}, "a": {"minimum": 9007199254740993}}}'
SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"minimum": 9007199254740993}}}
ALL = sorted(DIALECTS)
TOOL = tool("f", "does f", x=parameter("int"))


def writer(dialect: str, **more: Any) -> RequestWriter:
    return RequestWriter(RemoteOpenAIConfig.model_validate({"base_url": "http://x/v1", "dialect": dialect, **more}))


def chat(dialect: str, *, stream: bool = False, config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    request = inference_pb2.ChatCompletionRequest(model_id="alias", **{"messages": [user("hi")], **fields})
    return writer(dialect, **(config or {})).chat(request, MODEL, stream=stream)


def completion(dialect: str, *, config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    request = inference_pb2.CompletionRequest(model_id="alias", content=content("Once"), **fields)
    return writer(dialect, **(config or {})).completion(request, MODEL, stream=False)


def embeddings(dialect: str, **fields: Any) -> dict[str, Any]:
    request = inference_pb2.EmbeddingsRequest(model_id="alias", **{"contents": [content("a")], **fields})
    return writer(dialect).embeddings(request, MODEL)


def sampling(**fields: Any) -> types_pb2.SamplingParams:
    return types_pb2.SamplingParams(**fields)


@pytest.mark.parametrize("dialect", ALL)
def test_a_bare_chat_is_greedy_and_names_the_servers_model(dialect: str):
    body = chat(dialect)
    assert body["model"] == "served-name"
    assert body["temperature"] == 0.0
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert not {"tools", "tool_choice", "stream", "stream_options", "response_format", "logprobs", "seed"} & set(body)


@pytest.mark.parametrize("dialect", ALL)
def test_a_streamed_chat_asks_for_usage(dialect: str):
    body = chat(dialect, stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_nvidia_gets_one_choice_and_its_extensions():
    params = sampling(top_k={"top_k": 5, "temperature": 0.7}, repetition_penalty=1.2)
    body = chat("nvidia", sampling_params=params, response_format={"json_schema_text": SCHEMA_TEXT})
    assert body["n"] == 1
    assert body["nvext"] == {"guided_json": SCHEMA, "top_k": 5, "repetition_penalty": 1.2}
    assert body["temperature"] == 0.7
    grammar = chat("nvidia", response_format={"grammar": {"bnf": 'root ::= "a"'}})
    assert grammar["nvext"] == {"guided_grammar": 'root ::= "a"'}


def test_vllm_gets_all_parameters_and_no_defaults_of_its_own():
    plain = chat("vllm")
    assert (plain["top_k"], plain["min_p"], plain["repetition_penalty"]) == (-1, 0.0, 1.0)
    params = sampling(
        top_k={"top_k": 5},
        repetition_penalty=0.5,
        seed=0,
        frequency_penalty=0,
        presence_penalty=-1.5,
        stop=["x"],
        max_tokens=9,
    )
    body = chat("vllm", sampling_params=params, response_format={"grammar": {"bnf": "root ::= x"}})
    assert body["structured_outputs"] == {"grammar": "root ::= x"}
    expected = {"top_k": 5, "temperature": 1.0, "top_p": 1.0, "repetition_penalty": 0.5, "seed": 0, "max_tokens": 9}
    assert body.items() >= expected.items()
    assert (body["frequency_penalty"], body["presence_penalty"], body["stop"]) == (0, -1.5, ["x"])


def test_the_defaults_of_top_p_are_the_contracts():
    assert chat("openai", sampling_params=sampling(top_p={}))["top_p"] == 0.95
    assert chat("openai", sampling_params=sampling(top_p={}))["temperature"] == 1.0
    body = chat("openai", sampling_params=sampling(top_p={"temperature": 0.3, "top_p": 0.1}))
    assert (body["temperature"], body["top_p"]) == (0.3, 0.1)


def test_the_servers_own_sampling_can_be_left_to_it():
    config = {"default_sampling": "server"}
    assert not {"temperature", "top_k", "repetition_penalty"} & set(chat("vllm", config=config))
    assert chat("vllm", config=config, sampling_params=sampling(greedy={}))["temperature"] == 0.0


@pytest.mark.parametrize("dialect", ALL)
def test_a_completion_honours_sampling(dialect: str):
    params = sampling(top_p={"temperature": 0.5, "top_p": 0.9}, max_tokens=7, seed=3, stop=["."], frequency_penalty=1)
    body = completion(dialect, sampling_params=params)
    expected = {"prompt": "Once", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["."]}
    assert body.items() >= {**expected, "frequency_penalty": 1}.items()


def test_a_completion_without_limit_fills_the_context_or_says_that_it_cannot():
    assert "max_tokens" not in completion("ollama")
    assert "max_tokens" not in completion("tgi")
    assert completion("vllm")["max_tokens"] == 4096
    for dialect in ("openai", "nvidia"):
        with pytest.raises(InvalidArgumentError, match="default_max_tokens") as caught:
            completion(dialect)
        assert caught.value.violations[0].field == "sampling_params.max_tokens"
        assert completion(dialect, config={"default_max_tokens": 50})["max_tokens"] == 50


def test_openais_chat_names_its_limit_anew():
    assert chat("openai", sampling_params=sampling(max_tokens=5))["max_completion_tokens"] == 5
    assert "max_completion_tokens" not in chat("openai")


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("openai", {"type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA, "strict": True}}),
        ("ollama", {"type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA}}),
        ("vllm", {"type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA}}),
        ("tgi", {"type": "json", "value": SCHEMA}),
    ],
)
def test_a_json_schema_keeps_its_order_and_its_integers(dialect: str, expected: dict[str, Any]):
    body = chat(dialect, response_format={"json_schema_text": SCHEMA_TEXT})
    assert body["response_format"] == expected
    schema = body["response_format"].get("value") or body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["z", "a"]


def test_a_schema_given_as_a_struct_has_integers_where_it_had():
    request = inference_pb2.ChatCompletionRequest(model_id="alias", messages=[user("hi")])
    request.response_format.json_schema.update({"type": "string", "maxLength": 3})
    body = writer("vllm").chat(request, MODEL, stream=False)
    assert repr(body["response_format"]["json_schema"]["schema"]["maxLength"]) == "3"


def test_log_probabilities_are_asked_for_in_each_endpoints_way():
    wanted = types_pb2.LogProbConfig(top_k=0)
    assert chat("openai", logprobs=wanted).items() >= {"logprobs": True, "top_logprobs": 0}.items()
    assert completion("vllm", logprobs=types_pb2.LogProbConfig(top_k=3))["logprobs"] == 3
    assert completion("vllm", logprobs=wanted)["logprobs"] == 0


def test_tools_and_their_choice():
    def of(choice: dict[str, Any], dialect: str = "openai") -> Any:
        return chat(dialect, tools=[TOOL], tool_config=choice).get("tool_choice")

    assert of({}) == "auto"
    assert of({"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}) == "required"
    assert of({"tool_name": "f"}) == {"type": "function", "function": {"name": "f"}}
    assert of({}, "ollama") is None
    none = chat("openai", tools=[TOOL], tool_config={"tool_choice": types_pb2.TOOL_CHOICE_NONE})
    assert not {"tools", "tool_choice"} & set(none)
    assert "tool_choice" not in chat("openai", tool_config={"tool_choice": types_pb2.TOOL_CHOICE_AUTO})
    function = chat("openai", tools=[TOOL])["tools"][0]["function"]
    assert function["name"] == "f"
    assert function["parameters"]["properties"] == {"x": {"type": "integer"}}


def test_vllm_holds_to_a_tools_schema_only_when_told_strict():
    def strict(choice: dict[str, Any], dialect: str = "vllm") -> Any:
        return chat(dialect, tools=[TOOL], tool_config=choice)["tools"][0]["function"].get("strict")

    assert strict({"tool_name": "f"}) is True
    assert strict({"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}) is True
    assert strict({}) is None
    assert strict({"tool_name": "f"}, "openai") is None


def test_a_builtin_tool_is_a_function_of_its_name():
    body = chat("openai", tools=[tool("brave_search")])
    assert body["tools"][0]["function"]["name"] == "brave_search"
    assert body["tools"][0]["function"]["parameters"]["required"] == ["query"]


def test_a_whole_conversation_is_converted():
    png = types_pb2.Image(data=b"\x89PNG\r\n\x1a\nrest")
    body = chat(
        "openai",
        messages=[
            system("Be brief."),
            user("look: ", png, context=["It is late."]),
            assistant(calls=[call("f", {"x": 1}, "c1")]),
            tool_response("42", name="f", call_id="c1"),
        ],
    )
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    parts = body["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "text"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "".join(part.get("text", "") for part in parts) == "look: \n\nIt is late."
    asked = body["messages"][2]["tool_calls"][0]
    assert asked == {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": "42"}


def test_the_operators_fields_are_added_and_do_not_leak_between_requests():
    subject = writer("nvidia", extra_body={"nvext": {"max_thinking_tokens": 9}, "top_p": 0.5})
    request = inference_pb2.ChatCompletionRequest(model_id="alias", messages=[user("hi")])
    request.sampling_params.top_k.top_k = 3
    assert subject.chat(request, MODEL, stream=False)["nvext"] == {"max_thinking_tokens": 9, "top_k": 3}
    request.sampling_params.greedy.SetInParent()
    assert subject.chat(request, MODEL, stream=False)["nvext"] == {"max_thinking_tokens": 9}


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    *[
        (d, "chat", {"sampling_params": {"top_k": {"top_k": 3}}}, "sampling_params.top_k.top_k")
        for d in ("openai", "tgi", "ollama")
    ],
    *[
        (d, "chat", {"sampling_params": {"repetition_penalty": 1.1}}, "sampling_params.repetition_penalty")
        for d in ("openai", "tgi", "ollama")
    ],
    ("tgi", "chat", {"sampling_params": {"presence_penalty": 1}}, "sampling_params.presence_penalty"),
    *[
        (d, "chat", {"response_format": {"grammar": {"bnf": "x"}}}, "response_format.grammar")
        for d in ("openai", "tgi", "ollama")
    ],
    *[
        (d, "completion", {"response_format": {"json_schema_text": "{}"}}, "response_format.json_schema_text")
        for d in ("openai", "tgi", "ollama")
    ],
    *[(d, "completion", {"logprobs": {"top_k": 1}}, "logprobs") for d in ("tgi", "ollama")],
    ("ollama", "chat", {"tools": [TOOL], "tool_config": {"tool_name": "f"}}, "tool_config.tool_name"),
    (
        "ollama",
        "chat",
        {"tools": [TOOL], "tool_config": {"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}},
        "tool_config.tool_choice",
    ),
    (
        "vllm",
        "chat",
        {"tools": [TOOL], "tool_config": {"tool_prompt_format": types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST}},
        "tool_config.tool_prompt_format",
    ),
    (
        "vllm",
        "chat",
        {"tools": [TOOL], "tool_config": {"system_message_behavior": types_pb2.SYSTEM_MESSAGE_BEHAVIOR_REPLACE}},
        "tool_config.system_message_behavior",
    ),
    ("tgi", "embeddings", {"output_dimension": 8}, "output_dimension"),
    ("openai", "embeddings", {"text_truncation": inference_pb2.TEXT_TRUNCATION_END}, "text_truncation"),
    ("ollama", "embeddings", {"text_truncation": inference_pb2.TEXT_TRUNCATION_NONE}, "text_truncation"),
]


@pytest.mark.parametrize(("dialect", "operation", "fields", "field"), REFUSED)
def test_what_a_server_would_drop_silently_is_refused_by_name(
    dialect: str, operation: str, fields: dict[str, Any], field: str
):
    if operation == "completion":
        fields = {"sampling_params": {"max_tokens": 5}, **fields}
    write = {"chat": chat, "completion": completion, "embeddings": embeddings}[operation]
    with pytest.raises(FailedPreconditionError, match=field) as caught:
        write(dialect, **fields)
    assert caught.value.reason == "UNSUPPORTED_BY_PROVIDER"
    assert caught.value.metadata == {"field": field}
    assert DIALECTS[dialect].title in caught.value.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tool_config": {"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}}, "tools"),
        ({"tools": [TOOL], "tool_config": {"tool_name": "g"}}, "tool_config.tool_name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].tool_name"),
        (
            {"tools": [TOOL], "tool_config": {"tool_name": "f"}, "response_format": {"json_schema_text": "{}"}},
            "response_format",
        ),
        ({"response_format": {"json_schema_text": "[1]"}}, "response_format.json_schema_text"),
        ({"response_format": {"json_schema_text": "{" * 5000}}, "response_format.json_schema_text"),
        ({"sampling_params": {"stop": list("abcde")}}, "sampling_params.stop"),
    ],
)
def test_contradictions_are_refused_with_the_fields_path(fields: dict[str, Any], field: str):
    with pytest.raises(InvalidArgumentError) as caught:
        chat("openai", **fields)
    assert caught.value.violations[0].field == field


def test_tgi_is_spared_a_top_p_of_one():
    assert "top_p" not in chat("tgi", sampling_params=sampling(top_p={"top_p": 1}))


def test_embeddings():
    nvidia = embeddings("nvidia", output_dimension=64, text_truncation=inference_pb2.TEXT_TRUNCATION_START)
    assert nvidia == {
        "model": "served-name",
        "input": ["a"],
        "encoding_format": "float",
        "truncate": "START",
        "dimensions": 64,
    }
    assert embeddings("vllm", text_truncation=inference_pb2.TEXT_TRUNCATION_END)["truncation_side"] == "right"
    assert embeddings("openai")["encoding_format"] == "base64"
    assert embeddings("ollama", text_truncation=inference_pb2.TEXT_TRUNCATION_END)["input"] == ["a"]


@pytest.mark.parametrize("bad", [content(""), content(), content("a", types_pb2.Image(data=b"x"))])
def test_images_and_nothing_cannot_be_embedded(bad: types_pb2.InterleavedContent):
    with pytest.raises(InvalidArgumentError) as caught:
        embeddings("openai", contents=[content("a"), bad])
    assert caught.value.violations[0].field.startswith("contents[1]")


def test_a_completion_takes_no_image():
    request = inference_pb2.CompletionRequest(model_id="alias", content=content("a", types_pb2.Image(data=b"x")))
    with pytest.raises(InvalidArgumentError) as caught:
        writer("vllm").completion(request, MODEL, stream=False)
    assert caught.value.violations[0].field == "content.items[1].image"
