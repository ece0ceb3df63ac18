"""The options that say how Llama Stack's JSON looks can be followed: no two things of one message have the same name in it."""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2

from caravan.options.v1 import options_pb2
from tools.contract import Contract, Element

FIELD = descriptor_pb2.FieldDescriptorProto


def names_in_json(contract: Contract, message: Element) -> Iterator[str]:
    """The properties that a message's JSON object may have, each as often as it may come from different places."""
    members: dict[int, list[FIELD]] = {}
    for field in contract.fields(message):
        proto = field.proto
        if proto.HasField("oneof_index") and not proto.proto3_optional:
            members.setdefault(proto.oneof_index, []).append(proto)
        else:
            yield proto.name
    for index, fields in members.items():
        shape = message.proto.oneof_decl[index].options.Extensions[options_pb2.oneof_json]
        if shape.property:
            yield shape.property
            continue
        if shape.discriminator:
            yield shape.discriminator
        # Only one member of a oneof is there: the same name in two of them is no clash.
        yield from set().union(*(member_names(contract, field) for field in fields))


def member_names(contract: Contract, field: FIELD) -> set[str]:
    if not field.options.Extensions[options_pb2.member_json].flatten:
        return {field.name}
    return set(names_in_json(contract, contract.elements[field.type_name.removeprefix(".")]))


def test_no_two_properties_of_a_json_object_share_a_name(contract: Contract):
    clashes = {}
    for message in contract.messages():
        names = list(names_in_json(contract, message))
        if twice := {name for name in names if names.count(name) > 1}:
            clashes[message.name] = twice
    assert clashes == {}


def test_only_a_message_of_a_oneof_with_a_discriminator_is_flattened(contract: Contract):
    wrong = []
    for field in contract.fields():
        if field.proto.options.Extensions[options_pb2.member_json].flatten and field.parent:
            oneof = field.parent.proto.oneof_decl[field.proto.oneof_index]
            has_discriminator = oneof.options.Extensions[options_pb2.oneof_json].discriminator
            if field.proto.type != FIELD.TYPE_MESSAGE or not has_discriminator:
                wrong.append(field.name)
    assert wrong == []


def test_tags_of_a_oneof_differ(contract: Contract):
    tags: dict[tuple[str, int, str], list[str]] = {}
    for field in contract.fields():
        if field.parent and field.proto.HasField("oneof_index") and not field.proto.proto3_optional:
            tag = field.proto.options.Extensions[options_pb2.member_json].tag or field.proto.name
            tags.setdefault((field.parent.name, field.proto.oneof_index, tag), []).append(field.name)
    assert [names for names in tags.values() if len(names) > 1] == []


def test_a_bare_form_names_a_field_of_its_message(contract: Contract):
    wrong = []
    for message in contract.messages():
        names = {field.proto.name: field.proto for field in contract.fields(message)}
        shape = message.proto.options.Extensions[options_pb2.message_json]
        wrong += [message.name for name in (shape.bare_string_field, shape.value_field) if name and name not in names]
    assert wrong == []
