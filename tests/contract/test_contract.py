"""Rules of the contract that buf does not know; `make lint` runs buf's own."""

import re

import pytest
from google.protobuf import descriptor_pb2

from caravan.options.v1 import options_pb2
from tools.contract import Contract, Element, routes, routing

FIELD = descriptor_pb2.FieldDescriptorProto
# Spoken between the gateway and the providers behind it, never through the gateway.
NOT_ROUTED = {"caravan.providers.v1.ProviderService"}


def fields_of(contract: Contract, message: Element | None) -> dict[str, FIELD]:
    return {field.proto.name: field.proto for field in contract.fields(message)} if message else {}


def routed(contract: Contract) -> list[Element]:
    return [method for method in contract.methods() if method.parent and method.parent.name not in NOT_ROUTED]


def test_every_api_is_in_the_image(contract: Contract):
    apis = {file.package.split(".")[1] for file in contract.files}
    assert apis >= {"inference", "registry", "inspect", "agents", "safety", "memory", "post_training", "datasets"}
    assert apis >= {"reward_scoring", "synthetic_data", "telemetry", "providers", "types", "options"}


def test_everything_has_a_comment(contract: Contract):
    assert [name for name, element in contract.elements.items() if not element.comment] == []


def test_every_package_has_a_comment(contract: Contract):
    assert [package for package, comment in contract.package_comments.items() if not comment] == []


def test_every_rpc_has_its_own_request_and_response(contract: Contract):
    wrong = []
    for method in contract.methods():
        request, response = contract.request(method), contract.response(method)
        expected = (f"{method.proto.name}Request", f"{method.proto.name}Response")
        if (request and request.proto.name, response and response.proto.name) != expected:
            wrong.append(method.name)
    assert wrong == []


def test_every_enum_starts_with_unspecified_and_prefixes_its_values(contract: Contract):
    wrong = []
    for enum in contract.enums():
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", enum.proto.name).upper()
        values = {value.number: value.name for value in enum.proto.value}
        if values.get(0) != f"{prefix}_UNSPECIFIED" or any(not name.startswith(prefix) for name in values.values()):
            wrong.append(enum.name)
    assert wrong == []


def test_every_rpc_says_how_it_is_routed(contract: Contract):
    silent = [m.name for m in routed(contract) if not m.proto.options.HasExtension(options_pb2.routing)]
    assert silent == []


def test_only_the_providers_own_api_is_not_routed(contract: Contract):
    hidden = {
        method.parent.name
        for method in contract.methods()
        if method.parent and not method.proto.options.HasExtension(options_pb2.routing)
    }
    assert hidden == NOT_ROUTED


def test_a_routing_field_is_a_string_of_the_request(contract: Contract):
    wrong = []
    for method in routed(contract):
        rule, fields = routing(method), fields_of(contract, contract.request(method))
        if rule.field and (rule.field not in fields or fields[rule.field].type != FIELD.TYPE_STRING):
            wrong.append(method.name)
        if rule.prefix_field and rule.prefix_field not in fields:
            wrong.append(method.name)
    assert wrong == []


def test_a_routing_field_and_its_kind_of_resource_come_together(contract: Contract):
    wrong = [
        method.name for method in routed(contract) if bool(routing(method).field) != bool(routing(method).resource)
    ]
    assert wrong == []


def test_a_call_that_the_gateway_answers_is_routed_nowhere_else(contract: Contract):
    wrong = [m.name for m in routed(contract) if routing(m).gateway and (routing(m).field or routing(m).resource)]
    assert wrong == []


def test_variables_of_http_routes_are_request_fields(contract: Contract):
    wrong = []
    for method in contract.methods():
        fields = fields_of(contract, contract.request(method))
        for verb, path in routes(method):
            if not path.startswith("/v1/") or {v.split("=")[0] for v in re.findall(r"{([^}]+)}", path)} - set(fields):
                wrong.append((method.name, verb, path))
    assert wrong == []


def test_an_http_route_belongs_to_one_rpc_and_its_stream(contract: Contract):
    owners: dict[tuple[str, str], set[str]] = {}
    for method in contract.methods():
        for route in routes(method):
            owners.setdefault(route, set()).add(method.name.replace(".Stream", "."))
    assert {route: names for route, names in owners.items() if len(names) > 1} == {}


def test_a_stream_takes_the_request_of_its_unary_twin(contract: Contract):
    """The two are wire-compatible, so that one code path serves both."""
    wrong = []
    for stream in contract.methods():
        twin = contract.elements.get(stream.name.replace(".Stream", ".")) if ".Stream" in stream.name else None
        if twin is None:
            continue
        streamed = {field.number: field for field in fields_of(contract, contract.request(stream)).values()}
        for field in fields_of(contract, contract.request(twin)).values():
            same = streamed.get(field.number)
            if same is None or (same.name, same.type, same.label) != (field.name, field.type, field.label):
                wrong.append(f"{stream.name}: {field.name}")
    assert wrong == []


def test_lists_page(contract: Contract):
    wrong = []
    for method in contract.methods():
        if method.proto.name.startswith("List") and not method.proto.server_streaming:
            asked, answered = (fields_of(contract, m) for m in (contract.request(method), contract.response(method)))
            if not {"page_size", "page_token"} <= set(asked) or "next_page_token" not in answered:
                wrong.append(method.name)
    assert wrong == []


@pytest.mark.parametrize("word", ["password", "secret", "token", "api_key"])
def test_credentials_are_marked_secret(contract: Contract, word: str):
    wrong = [
        field.name
        for field in contract.fields()
        if re.search(rf"(^|_){word}$", field.proto.name)
        and field.proto.name not in {"page_token", "next_page_token", "token"}
        and field.proto.type == FIELD.TYPE_STRING
        and not field.proto.options.Extensions[options_pb2.secret]
    ]
    assert wrong == []


def test_unary_mutations_can_be_retried_with_a_request_id(contract: Contract):
    verbs = r"(Append|Cancel|Create|Delete|Execute|Insert|Put|Register|Resume|Save|Start|Unregister|Update|Upsert)[A-Z]"
    wrong = [
        method.name
        for method in routed(contract)
        if re.match(verbs, method.proto.name)
        and not method.proto.client_streaming
        and "request_id" not in fields_of(contract, contract.request(method))
    ]
    assert wrong == []
