"""Whatever comes in is judged: nothing crashes a shield, and what is bad is found wherever it stands."""

import asyncio
import json

from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.safety.judging import Judge
from services.safety.running import Runner
from tests.services.safety.test_running import Nobody, register
from tests.services.safety.word_shield import ERROR, WordProvider

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ITEMS = st.lists(
    st.builds(lambda text: types_pb2.InterleavedContentItem(text=text), TEXTS)
    | st.just(types_pb2.InterleavedContentItem(image=types_pb2.Image(data=b"\x89PNG"))),
    max_size=4,
).map(lambda items: types_pb2.InterleavedContent(items=items))
CALLS = st.builds(
    lambda name, text: types_pb2.ToolCall(tool_name="t", call_id=name, arguments_json=text),
    st.sampled_from(["", "c1", "c1"]),
    TEXTS | st.dictionaries(TEXTS, VALUES, max_size=3).map(json.dumps),
)
MESSAGES = st.one_of(
    st.builds(lambda a, b: types_pb2.Message(user=types_pb2.UserMessage(content=a, context=b)), ITEMS, ITEMS),
    ITEMS.map(lambda content: types_pb2.Message(system=types_pb2.SystemMessage(content=content))),
    ITEMS.map(lambda content: types_pb2.Message(tool=types_pb2.ToolResponseMessage(content=content))),
    st.builds(
        lambda content, calls: types_pb2.Message(
            assistant=types_pb2.CompletionMessage(content=content, tool_calls=calls)
        ),
        ITEMS,
        st.lists(CALLS, max_size=3),
    ),
)
# Every letter of the word in another disguise.
DISGUISED = st.tuples(
    *(st.sampled_from(forms) for forms in (["b", "\uff42", "b\u200b"], ["o", "о", "ö"], ["m", "𝓂"], ["b"]))
).map("".join)


def judge(messages: list[types_pb2.Message]) -> safety_pb2.RunShieldsResponse:
    async def run() -> safety_pb2.RunShieldsResponse:
        provider = WordProvider()
        await register(provider, "words")
        request = safety_pb2.RunShieldsRequest(shield_ids=["words"], messages=messages)
        return await Runner(provider, Judge(), Nobody()).run_shields(request)

    return asyncio.run(run())


@given(st.lists(MESSAGES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_any_messages_are_judged(messages: list[types_pb2.Message]):
    response = judge(messages)
    assert len(response.results) == 1
    assert not response.results[0].HasField("error")
    for message in response.masked_messages:
        message.SerializeToString()


@given(st.lists(MESSAGES, min_size=1, max_size=3), MESSAGES, DISGUISED, st.data())
@settings(deadline=None, max_examples=100)
def test_a_bad_word_is_found_in_any_message(
    others: list[types_pb2.Message], message: types_pb2.Message, word: str, data: st.DataObject
):
    places = ["content"]
    if message.HasField("assistant"):
        places.append("arguments")
    if message.HasField("user"):
        places.append("context")
    match data.draw(st.sampled_from(places)):
        case "content":
            role = message.WhichOneof("role") or "user"
            getattr(message, role).content.items.add(text=f" {word} ")
        case "context":
            message.user.context.items.add(text=f" {word} ")
        case _:
            arguments = struct_pb2.Struct()
            arguments.update({"note": f"a {word}"})
            text = data.draw(st.sampled_from(["", json.dumps({"note": f"a {word}"})]))
            message.assistant.tool_calls.add(tool_name="t", arguments=arguments, arguments_json=text)
    messages = [*others, message]
    response = judge(data.draw(st.permutations(messages)))
    assert response.violation.violation_level == ERROR
