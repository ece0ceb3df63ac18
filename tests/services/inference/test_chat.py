"""Chat answers from generated pieces."""

from collections.abc import Sequence

from caravan.types.v1 import types_pb2
from services.inference.chat import ChatStream, PlainText, whole_answer
from services.inference.generation import Piece
from services.inference.usage import usage

CALL = types_pb2.ToolCall(call_id="1", tool_name="f", arguments_json="{}")


class HoldsEverythingBack:
    """A decoder that says nothing until the end."""

    def __init__(self, *at_the_end: types_pb2.ContentDelta) -> None:
        self._at_the_end = at_the_end

    def feed(self, piece: Piece) -> Sequence[types_pb2.ContentDelta]:
        return ()

    def finish(self, stop_reason: types_pb2.StopReason.ValueType) -> Sequence[types_pb2.ContentDelta]:
        return self._at_the_end


def tool_delta(status: types_pb2.ToolCallParseStatus.ValueType, **content: object) -> types_pb2.ContentDelta:
    return types_pb2.ContentDelta(tool_call={"parse_status": status, **content})


def logprob(token: str) -> types_pb2.TokenLogProbs:
    return types_pb2.TokenLogProbs(logprobs_by_token={token: -0.5})


def test_a_stream_is_one_start_then_progress_then_one_complete() -> None:
    stream = ChatStream(PlainText())
    events = [stream.start()]
    events += stream.events(Piece("Hel"))
    events += stream.events(
        Piece("lo", stop_reason=types_pb2.STOP_REASON_END_OF_TURN, metrics=usage(prompt=3, completion=2))
    )
    assert [event.WhichOneof("event") for event in events] == ["start", "progress", "progress", "complete"]
    assert "".join(event.progress.delta.text for event in events) == "Hello"
    complete = events[-1].complete
    assert complete.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert {metric.metric: metric.value for metric in complete.metrics} == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }


def test_a_delta_carries_the_logprobs_of_its_own_tokens_only() -> None:
    stream = ChatStream(PlainText())
    (first,) = stream.events(Piece("a", logprobs=[logprob("a")]))
    (second,) = stream.events(Piece("b", logprobs=[logprob("b")]))
    assert list(first.progress.logprobs) == [logprob("a")]
    assert list(second.progress.logprobs) == [logprob("b")]


def test_logprobs_of_text_that_is_held_back_come_with_what_follows() -> None:
    stream = ChatStream(HoldsEverythingBack())
    assert not list(stream.events(Piece("{", logprobs=[logprob("{")])))
    (complete,) = stream.events(Piece("}", logprobs=[logprob("}")], stop_reason=types_pb2.STOP_REASON_END_OF_TURN))
    assert list(complete.complete.logprobs) == [logprob("{"), logprob("}")]


def test_an_answer_that_calls_a_tool_ends_the_message_not_the_turn() -> None:
    stream = ChatStream(HoldsEverythingBack(tool_delta(types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED, tool_call=CALL)))
    *_, complete = stream.events(Piece("", stop_reason=types_pb2.STOP_REASON_END_OF_TURN))
    assert complete.complete.stop_reason == types_pb2.STOP_REASON_END_OF_MESSAGE


def test_running_out_of_tokens_is_never_hidden_by_a_call() -> None:
    decoder = HoldsEverythingBack(tool_delta(types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED, tool_call=CALL))
    answer = whole_answer(decoder, Piece("", stop_reason=types_pb2.STOP_REASON_OUT_OF_TOKENS))
    assert answer.completion_message.stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS


def test_what_looked_like_a_call_and_was_none_is_text_in_a_whole_answer() -> None:
    decoder = HoldsEverythingBack(
        types_pb2.ContentDelta(text="I tried "),
        tool_delta(types_pb2.TOOL_CALL_PARSE_STATUS_STARTED),
        tool_delta(types_pb2.TOOL_CALL_PARSE_STATUS_FAILED, text='{"name": "g"'),
    )
    message = whole_answer(decoder, Piece("", stop_reason=types_pb2.STOP_REASON_END_OF_TURN)).completion_message
    assert message.content.items[0].text == 'I tried {"name": "g"'
    assert not message.tool_calls
    assert message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN


def test_an_answer_of_calls_alone_has_no_content() -> None:
    decoder = HoldsEverythingBack(tool_delta(types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED, tool_call=CALL))
    message = whole_answer(decoder, Piece("", stop_reason=types_pb2.STOP_REASON_END_OF_TURN)).completion_message
    assert list(message.tool_calls) == [CALL]
    assert not message.content.items
