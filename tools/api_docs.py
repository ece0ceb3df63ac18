"""Writes `docs/api.md` from the contract: `python -m tools.api_docs`."""

import re
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

from caravan.options.v1 import options_pb2
from tools.contract import Contract, Element, field_rules, message_rules, routes, routing

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
INTRODUCTION = """\
# API reference

<!-- Made by `make docs` from protos/. Edit the comments there. -->

Every RPC, message and field of Caravan. *HTTP* is the Llama Stack route of an RPC; *goes to* says who answers it: the gateway itself, the
provider of the resource that a request field names, or the only provider of the API. Errors carry `google.rpc.ErrorInfo` with the domain
`caravan`; [architecture.md](architecture.md) says how the parts fit.
"""
_SCALAR = descriptor_pb2.FieldDescriptorProto.Type
_RESOURCE = options_pb2.ResourceKind


def render(contract: Contract) -> str:
    """Returns the whole page as Markdown."""
    packages = {file.package: [] for file in sorted(contract.files, key=lambda file: file.package)}
    for element in contract.elements.values():
        packages[element.package].append(element)
    parts = [INTRODUCTION, *_overview(contract, list(packages))]
    for package, elements in packages.items():
        parts += [f"## {package}\n", _prose(contract.package_comments[package]) + "\n"]
        parts += [part for service in elements if _is(service, "Service") for part in _service(contract, service)]
        parts += [part for message in elements if _is(message, "") for part in _message(contract, message)]
        parts += [part for enum in elements if _is(enum, "Enum") for part in _enum(contract, enum)]
        parts += [_extension(element) for element in elements if _is(element, "Field") and element.parent is None]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def _is(element: Element, kind: str) -> bool:
    return isinstance(element.proto, getattr(descriptor_pb2, f"{kind}DescriptorProto"))


def _overview(contract: Contract, packages: list[str]) -> Iterator[str]:
    yield "| package | services |\n|---|---|"
    for package in packages:
        names = [_link(service) for service in contract.services() if service.package == package]
        yield f"| [{package}](#{package.replace('.', '')}) | {', '.join(names) or '-'} |"
    yield ""


def _service(contract: Contract, service: Element) -> Iterator[str]:
    yield f'### <a id="{service.name}"></a>{service.proto.name}\n'
    yield _prose(service.comment) + "\n"
    yield "| RPC | request | response | HTTP | goes to |\n|---|---|---|---|---|"
    for method in contract.methods(service):
        proto = method.proto
        http = "<br>".join(f"`{verb} {path}`" for verb, path in routes(method))
        request = ("stream " if proto.client_streaming else "") + _type(contract, proto.input_type)
        response = ("stream " if proto.server_streaming else "") + _type(contract, proto.output_type)
        yield f"| {proto.name} | {request} | {response} | {http or '-'} | {_destination(method)} |"
    yield ""
    for method in contract.methods(service):
        yield f"**{method.proto.name}.** {_prose(method.comment)}\n"


def _destination(method: Element) -> str:
    rule = routing(method)
    if rule.gateway:
        return "the gateway"
    if rule.field:
        kind = _RESOURCE.Name(rule.resource).removeprefix("RESOURCE_KIND_").lower().replace("_", " ")
        return f"provider of the {kind} in `{rule.field}`"
    return "the API's provider" if method.proto.options.HasExtension(options_pb2.routing) else "not routed"


def _message(contract: Contract, message: Element) -> Iterator[str]:
    yield f'### <a id="{message.name}"></a>{_short(message)}\n'
    yield _prose(message.comment) + "\n"
    yield from (f"Rule: {_cel(rule)}\n" for rule in message_rules(message).cel)
    if fields := contract.fields(message):
        yield "| field | # | type | meaning |\n|---|---|---|---|"
        yield from (_field(contract, message, field) for field in fields)
    yield ""


def _field(contract: Contract, message: Element, field: Element) -> str:
    proto = field.proto
    kind = _field_type(contract, message, proto)
    if proto.HasField("oneof_index") and not proto.proto3_optional:
        kind += f"<br>one of *{message.proto.oneof_decl[proto.oneof_index].name}*"
    elif proto.proto3_optional:
        kind += "<br>optional"
    rules = ", ".join(_rules(field_rules(field)))
    meaning = _prose(field.comment, "<br>") + (f" *Valid: {rules}.*" if rules else "")
    if proto.options.Extensions[options_pb2.secret]:
        meaning += " *Secret.*"
    return f"| `{proto.name}` | {proto.number} | {kind} | {meaning.replace('|', chr(92) + '|')} |"


def _field_type(contract: Contract, message: Element, proto: descriptor_pb2.FieldDescriptorProto) -> str:
    name = (
        _type(contract, proto.type_name) if proto.type_name else _SCALAR.Name(proto.type).removeprefix("TYPE_").lower()
    )
    if proto.label != descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED:
        return name
    entries = {
        f".{message.name}.{nested.name}": nested for nested in message.proto.nested_type if nested.options.map_entry
    }
    if entry := entries.get(proto.type_name):
        return " to ".join(
            ["map of " + _field_type(contract, message, entry.field[0]), _field_type(contract, message, entry.field[1])]
        )
    return f"repeated {name}"


def _enum(contract: Contract, enum: Element) -> Iterator[str]:
    yield f'### <a id="{enum.name}"></a>{_short(enum)}\n'
    yield _prose(enum.comment) + "\n"
    yield "| value | # | meaning |\n|---|---|---|"
    for value in contract.values(enum):
        yield f"| `{value.proto.name}` | {value.proto.number} | {_prose(value.comment, '<br>')} |"
    yield ""


def _extension(element: Element) -> str:
    return f"Option `({element.name})` of `{element.proto.extendee.removeprefix('.')}`: {_prose(element.comment)}\n"


def _rules(rules: Message, prefix: str = "") -> Iterator[str]:
    """Flattens validation rules to phrases such as `string.min_len 1`."""
    for descriptor, value in rules.ListFields():
        name = f"{prefix}{descriptor.name}"
        if descriptor.name in {"cel", "cel_expression"}:
            yield from (_cel(rule) for rule in value)
        elif isinstance(value, Message) and descriptor.message_type.full_name.startswith("buf.validate."):
            yield from _rules(value, f"{name}.")
        elif isinstance(value, Message):
            yield f"`{name} {value.ToJsonString() if hasattr(value, 'ToJsonString') else value}`"
        elif value is True:
            yield f"`{name}`"
        elif descriptor.enum_type:
            yield f"`{name} {descriptor.enum_type.values_by_number[value].name}`"
        else:
            yield f"`{name} {list(value) if isinstance(value, list | tuple) or hasattr(value, 'append') else value}`"


def _cel(rule: Message | str) -> str:
    return f"`{rule}`" if isinstance(rule, str) else (rule.message or f"`{rule.expression}`")


def _prose(comment: str, joint: str = "\n\n") -> str:
    """Unwraps a comment's lines; paragraphs and list items stay apart."""
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", comment)
    return joint.join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _short(element: Element) -> str:
    return element.name.removeprefix(f"{element.package}.")


def _link(element: Element) -> str:
    return f"[{_short(element)}](#{element.name})"


def _type(contract: Contract, name: str) -> str:
    element = contract.elements.get(name.removeprefix("."))
    return _link(element) if element else f"`{name.removeprefix('.')}`"


if __name__ == "__main__":
    PAGE.write_text(render(Contract.load()))
