"""Every RPC of every service, called with what it must not take: never UNKNOWN, never INTERNAL, and the process lives on."""

import importlib
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from gateway import contract
from tests.support.stack import Stack

FORBIDDEN = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
SEEDS = range(6)
SECONDS = 10.0
DEPTH = 4


def rpcs() -> list[MethodDescriptor]:
    for module in contract.stub_modules():
        importlib.import_module(module)
    pool = descriptor_pool.Default()
    services = contract.services_of(contract.load())
    return [method for name in sorted(services) for method in pool.FindServiceByName(name).methods]


@pytest.fixture(scope="module")
def channels(stack: Stack) -> Iterator[dict[str, grpc.Channel]]:
    opened = {name: grpc.insecure_channel(address) for name, address in stack.addresses.items()}
    yield opened
    for channel in opened.values():
        channel.close()


@pytest.mark.parametrize("method", rpcs(), ids=lambda method: method.full_name.removeprefix("caravan."))
def test_bad_input_is_never_unknown_or_internal(channels: dict[str, grpc.Channel], method: MethodDescriptor) -> None:
    requests = [b"", b"\xff\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x02\xff\xfe"]
    requests += [wild(method, seed) for seed in SEEDS]
    for name, channel in channels.items():
        for request in requests:
            code = call(channel, method, request)
            assert code not in FORBIDDEN, f"{name}: {code} for {request[:80]!r}"


def test_everybody_is_well_after_all_of_it(channels: dict[str, grpc.Channel]) -> None:
    response = inspect_pb2_grpc.InspectServiceStub(channels["gateway"]).Health(inspect_pb2.HealthRequest())
    assert response.status == inspect_pb2.HEALTH_STATUS_OK


def call(channel: grpc.Channel, method: MethodDescriptor, request: bytes) -> grpc.StatusCode:
    """Calls a method with raw bytes and returns how it ended; a stream is read a little."""
    proto = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(proto)
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = ("stream" if proto.client_streaming else "unary") + "_" + ("stream" if proto.server_streaming else "unary")
    argument: Any = iter([request, request]) if proto.client_streaming else request
    try:
        answer = getattr(channel, kind)(path)(argument, timeout=SECONDS)
        if proto.server_streaming:
            for _ in zip(range(3), answer, strict=False):
                pass
            answer.cancel()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def wild(method: MethodDescriptor, seed: int) -> bytes:
    """A request of the right type with values that nobody means."""
    chance = random.Random(f"{method.full_name} {seed}")
    message = message_factory.GetMessageClass(method.input_type)()
    fill(message, chance, DEPTH)
    return message.SerializeToString()


def fill(message: Any, chance: random.Random, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.3 or (depth == 0 and field.message_type):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            entry = getattr(message, field.name)
            if field.message_type.fields_by_name["value"].message_type:
                fill(entry[wild_text(chance)], chance, depth - 1)
        elif field.message_type:
            target = getattr(message, field.name)
            for part in [target.add() for _ in range(chance.randint(0, 3))] if field.is_repeated else [target]:
                part.SetInParent()
                fill(part, chance, depth - 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(wild_value(field, chance) for _ in range(chance.randint(0, 3)))
        else:
            setattr(message, field.name, wild_value(field, chance))


def wild_text(chance: random.Random) -> str:
    return chance.choice(
        ["", "x", "\x00", "../../etc/passwd", "caravan-chat", "é" * 300, "{{7*7}}", "a\nb", "*", "http://127.0.0.1:1/"]
    )


def wild_value(field: FieldDescriptor, chance: random.Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.choice([b"", b"\xff\xfe", b"x" * 1000])
        case FieldDescriptor.CPPTYPE_STRING:
            return wild_text(chance)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice([0.0, -1.0, float("nan"), float("inf"), 1e30])
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice([0, 1, 99])
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return chance.choice([0, 1, 2**31, 2**32 - 1])
        case _:
            return chance.choice([0, -1, 1, 2**31 - 1])
