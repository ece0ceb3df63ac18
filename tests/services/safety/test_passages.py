import json

from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.safety.judging import Judge
from services.safety.masking import masked_messages
from services.safety.passages import Passage, passages, role_of
from services.safety.texts import Role
from tests.services.safety.word_shield import WordParams, WordShield, ready
from tests.support.requests import content, user


def calling(arguments: str, **fields: str) -> types_pb2.Message:
    call = types_pb2.ToolCall(tool_name="send", call_id="c1", arguments_json=arguments, **fields)
    return types_pb2.Message(assistant={"tool_calls": [call]})


def read(message: types_pb2.Message) -> list[Passage]:
    return list(passages([message], [0]))


def pieces(*texts: str) -> types_pb2.InterleavedContent:
    return types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text) for text in texts])


def test_pieces_of_a_message_are_read_as_one_text():
    (passage,) = read(types_pb2.Message(user={"content": pieces("bo", "mb", "!")}))
    assert passage.text == "bomb!"
    places = [(place.item_index, place.start, place.end) for place in passage.locations(0, 4)]
    assert places == [(0, 0, 2), (1, 0, 2)]


def test_a_users_context_counts_on_after_the_content():
    message = types_pb2.Message(user={"content": pieces("a", "b"), "context": pieces("c")})
    assert [(p.text, p.pieces[0][0]) for p in read(message)] == [("ab", 0), ("c", 2)]


def test_an_image_between_two_texts_does_not_part_them():
    message = types_pb2.Message(user={"content": pieces("bo")})
    message.user.content.items.add(image={"data": b"\x89PNG"})
    message.user.content.items.add(text="mb")
    (passage,) = read(message)
    assert passage.text == "bomb"
    assert [place.item_index for place in passage.locations(0, 4)] == [0, 2]


def test_every_role_is_read():
    messages = [
        user("a"),
        types_pb2.Message(system={"content": content("b")}),
        types_pb2.Message(tool={"call_id": "1", "tool_name": "t", "content": content("c")}),
        types_pb2.Message(assistant={"content": content("d")}),
    ]
    assert [role_of(message) for message in messages] == [Role.USER, Role.SYSTEM, Role.TOOL, Role.ASSISTANT]
    assert [passage.text for passage in passages(messages, range(4))] == ["a", "b", "c", "d"]


def test_arguments_are_read_as_json_and_string_by_string_as_the_tool_gets_them():
    texts = [passage.text for passage in read(calling(r'{"body": "line\nb\u006fmb \ud83d\ude00", "n": 12}'))]
    assert texts == [r'{"body": "line\nb\u006fmb \ud83d\ude00", "n": 12}', "body", "line\nbomb 😀", "n"]


async def test_what_hides_behind_escapes_is_found_where_it_is_in_the_json_text():
    message = calling(r'{"body": "a b\u006fmb"}')
    verdict = await Judge().verdict(ready(), [message])
    (finding,) = verdict.findings
    place = finding.location
    assert message.assistant.tool_calls[0].arguments_json[place.start : place.end] == r"b\u006fmb"
    assert place.call_id == "c1"


async def test_masked_arguments_stay_json_and_both_forms_agree():
    message = calling(r'{"to": "x", "note": "use key-12 and k\u0065y-34", "key-5": 1}')
    verdict = await Judge().verdict(ready(), [message])
    (masked,) = masked_messages([message], verdict.findings)
    call = masked.assistant.tool_calls[0]
    expected = {"to": "x", "note": "use [key] and [key]", "[key]": 1}
    assert json.loads(call.arguments_json) == expected
    assert json_format.MessageToDict(call.arguments) == expected


async def test_arguments_that_came_without_json_text_are_masked_too():
    arguments = struct_pb2.Struct()
    arguments.update({"note": "key-12"})
    message = types_pb2.Message(assistant={"tool_calls": [types_pb2.ToolCall(tool_name="t", arguments=arguments)]})
    verdict = await Judge().verdict(ready(), [message])
    (masked,) = masked_messages([message], verdict.findings)
    assert json_format.MessageToDict(masked.assistant.tool_calls[0].arguments) == {"note": "[key]"}


async def test_a_secret_over_two_pieces_is_masked_in_both():
    message = types_pb2.Message(user={"content": pieces("my key", "-123 here")})
    verdict = await Judge().verdict(ready(), [message])
    (masked,) = masked_messages([message], verdict.findings)
    assert [item.text for item in masked.user.content.items] == ["my [key]", " here"]


@given(st.recursive(st.text(max_size=20) | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=4)))
def test_any_arguments_can_be_masked_and_stay_json(value: object):
    text = json.dumps({"v": value, "k": "key-1 " + json.dumps(value)})
    message = calling(text)
    shield = WordShield(WordParams(secret=r"[a-z0-9\"\\]{2,9}"))
    findings = [
        results_pb2.ShieldFinding(location=place, replacement=one.replacement)
        for passage in read(message)
        for one in shield.scan(passage.as_text())
        for place in passage.locations(one.start, one.end)
        if one.replacement is not None
    ]
    masked = masked_messages([message], findings) or [message]
    json.loads(masked[0].assistant.tool_calls[0].arguments_json)
