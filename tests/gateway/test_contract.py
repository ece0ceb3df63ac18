import pytest
from google.protobuf import descriptor_pb2

from caravan.options.v1 import options_pb2
from gateway import contract


def test_every_method_of_the_contract_is_known_and_routed_as_it_declares():
    methods = contract.load()
    chat = methods["/caravan.inference.v1.InferenceService/StreamChatCompletion"]
    assert (chat.kind, chat.field, chat.field_number, chat.prefix_number) == (
        options_pb2.RESOURCE_KIND_MODEL,
        "model_id",
        1,
        2,
    )
    assert (chat.client_streaming, chat.server_streaming, chat.gateway) == (False, True, False)
    assert (chat.http_method, chat.http_path) == ("POST", "/v1/inference/chat-completion")
    assert methods["/caravan.registry.v1.ModelsService/ListModels"].gateway
    assert not methods["/caravan.providers.v1.ProviderService/DescribeProvider"].routed


def test_only_the_providers_own_service_is_not_routed():
    unrouted = {method.service for method in contract.load().values() if not method.routed}
    assert unrouted == {"caravan.providers.v1.ProviderService"}


def image(
    field="model_id", *, kind=options_pb2.RESOURCE_KIND_MODEL, type_=descriptor_pb2.FieldDescriptorProto.TYPE_STRING
):
    file = descriptor_pb2.FileDescriptorProto(package="caravan.new.v1", name="new.proto")
    request = file.message_type.add(name="Request")
    request.field.add(name="model_id", number=7, type=type_, label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED)
    method = file.service.add(name="NewService").method.add(name="Do", input_type=".caravan.new.v1.Request")
    routing = method.options.Extensions[options_pb2.routing]
    routing.resource = kind
    routing.field = field
    return descriptor_pb2.FileDescriptorSet(file=[file])


def test_a_new_api_needs_no_code():
    (method,) = contract.methods_of(image()).values()
    assert (method.path, method.field_number, method.field_repeated) == ("/caravan.new.v1.NewService/Do", 7, True)


def test_a_kind_without_entries_in_the_registry_belongs_to_the_apis_provider():
    (method,) = contract.methods_of(image(kind=options_pb2.RESOURCE_KIND_DATASET)).values()
    assert method.kind == options_pb2.RESOURCE_KIND_UNSPECIFIED


@pytest.mark.parametrize(
    "wrong",
    [image("nope"), image(""), image(type_=descriptor_pb2.FieldDescriptorProto.TYPE_INT32)],
    ids=["no such field", "no field", "no string"],
)
def test_a_wrong_routing_option_is_told_at_the_start(wrong):
    with pytest.raises(contract.ContractError, match=r"caravan\.new\.v1"):
        contract.methods_of(wrong)
