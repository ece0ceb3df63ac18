"""Models of other families: their chat template and vLLM's tool parsers."""

from collections.abc import Iterator

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.types.v1 import types_pb2
from tests.support.chatml import make_chatml
from tests.support.processes import CHAT_MODEL, serving, vllm_arguments
from tests.support.requests import WEATHER, chat, completion, metrics, sampling, streamed, text_of, user, violations

Stub = inference_pb2_grpc.InferenceServiceStub
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>'


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    model = make_chatml(CHAT_MODEL, tmp_path_factory.mktemp("models") / "chatml")
    arguments = vllm_arguments(model, max_model_len=1024, tool_call_parser="hermes")
    with serving("services.inference", *arguments) as (_, address), grpc.insecure_channel(address) as channel:
        yield Stub(channel)


def test_a_chat_goes_through_the_models_own_template(inference: Stub) -> None:
    response = inference.ChatCompletion(chat("Hello!", model_id="chatml", sampling_params=sampling(8)))
    assert metrics(response.metrics)["prompt_tokens"] < 30


def test_a_completion_needs_no_token_of_llama(inference: Stub) -> None:
    response = inference.Completion(completion("The gateway", model_id="chatml", sampling_params=sampling(4)))
    assert metrics(response.metrics)["completion_tokens"] <= 4
    with pytest.raises(grpc.RpcError) as caught:
        inference.Completion(completion("word " * 2000, model_id="chatml"))
    assert violations(caught.value) == ["content"]


def test_a_required_call_is_enforced_whatever_the_family(inference: Stub) -> None:
    request = chat(
        "Hello!",
        model_id="chatml",
        tools=[WEATHER],
        tool_config={"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED},
        sampling_params=sampling(128),
    )
    message = inference.ChatCompletion(request).completion_message
    assert [call.tool_name for call in message.tool_calls] == ["get_weather"]
    *events, _ = inference.StreamChatCompletion(streamed(request))
    assert events[-1].progress.delta.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED


def test_offered_tools_stand_in_the_prompt_and_text_stays_text(inference: Stub) -> None:
    plain = inference.ChatCompletion(chat("Hello!", model_id="chatml", sampling_params=sampling(8)))
    offered = inference.ChatCompletion(chat("Hello!", model_id="chatml", tools=[WEATHER], sampling_params=sampling(8)))
    assert metrics(offered.metrics)["prompt_tokens"] > metrics(plain.metrics)["prompt_tokens"]
    assert text_of(offered.completion_message)


def test_an_image_is_refused_at_its_place(inference: Stub) -> None:
    message = user("look")
    message.user.content.items.add(image={"data": b"x"})
    with pytest.raises(grpc.RpcError) as caught:
        inference.ChatCompletion(chat(model_id="chatml", messages=[message]))
    assert violations(caught.value) == ["messages[0].user.content.items[1].image"]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_parsers_calls_are_whole_whatever_the_pieces(size: int) -> None:
    deltas = read("Let me look. " + CALL, size=size, is_streamed=True)
    assert "".join(delta.text for delta in deltas if delta.WhichOneof("delta") == "text").strip() == "Let me look."
    assert_is_the_call(deltas)


def test_a_parser_reads_a_whole_answer_at_its_end() -> None:
    assert_is_the_call(read(CALL, size=1000, is_streamed=False))


def test_an_answer_without_calls_is_text() -> None:
    for is_streamed in (True, False):
        deltas = read("Just words.", size=4, is_streamed=is_streamed)
        assert "".join(delta.text for delta in deltas) == "Just words."


def assert_is_the_call(deltas: list[types_pb2.ContentDelta]) -> None:
    (call,) = [delta.tool_call.tool_call for delta in deltas if delta.tool_call.HasField("tool_call")]
    assert call.tool_name == "get_weather"
    assert dict(call.arguments) == {"city": "Oslo", "days": 2}


def read(text: str, *, size: int, is_streamed: bool) -> list[types_pb2.ContentDelta]:
    """Feeds an answer to a real parser in pieces of `size` tokens."""
    from transformers import AutoTokenizer
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    from services.inference.generation import Piece
    from services.inference.prompts.families import to_template_tools
    from services.inference.providers.vllm.template import ParsedAnswer

    tokenizer = AutoTokenizer.from_pretrained(CHAT_MODEL)
    request = ChatCompletionRequest(messages=[], tools=to_template_tools([WEATHER]), tool_choice="auto")
    parser = ToolParserManager.get_tool_parser("hermes")(tokenizer, request.tools)
    answer = ParsedAnswer(parser, request, is_streamed=is_streamed)
    ids = tokenizer.encode(text, add_special_tokens=False)
    deltas: list[types_pb2.ContentDelta] = []
    for start in range(0, len(ids), size):
        batch = ids[start : start + size]
        deltas += answer.feed(Piece(tokenizer.decode(batch), tuple(batch)))
    return [*deltas, *answer.finish(types_pb2.STOP_REASON_END_OF_TURN)]
