"""Which RPC a request message belongs to, read from the descriptors: every RPC has a request message of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from caravan.errors import InvalidInputError
from caravan.options.v1 import options_pb2


@dataclass(frozen=True)
class Method:
    """One RPC."""

    path: str
    """Path of the RPC, `/package.Service/Method`."""
    service: str
    """Full name of the service."""
    response: type[Message]
    """Class of the response, or of each response of a stream."""
    streams: bool
    """The response is a stream."""
    routing: options_pb2.Routing
    """How the gateway finds the provider."""

    def resource_id(self, request: Message) -> str:
        """The resource that a request names; empty when it names none.

        Args:
            request: A request of this RPC.
        """
        if not self.routing.field:
            return ""
        value = getattr(request, self.routing.field)
        return value if isinstance(value, str) else next(iter(value), "")


def method_of(request: Message) -> Method:
    """Finds the RPC that a request belongs to.

    Args:
        request: A request message.

    Raises:
        InvalidInputError: The message is no request of an RPC.
    """
    return _method(request.DESCRIPTOR)


@cache
def _method(request: Descriptor) -> Method:
    for file in _files(request):
        for service in file.services_by_name.values():
            for method in service.methods:
                if method.input_type is request:
                    return _described(method)
    problem = f"{request.full_name} is no request of an RPC in {request.file.name}"
    raise InvalidInputError(problem)


def _files(request: Descriptor) -> Iterator[FileDescriptor]:
    """The files that may have the RPC: the request's own, and the one that is named after the API."""
    yield request.file
    folder = request.file.name.rpartition("/")[0]
    try:
        yield request.file.pool.FindFileByName(f"{folder}/{request.file.package.split('.')[1]}.proto")
    except (KeyError, IndexError):
        return


def _described(method: MethodDescriptor) -> Method:
    service = method.containing_service.full_name
    return Method(
        path=f"/{service}/{method.name}",
        service=service,
        response=GetMessageClass(method.output_type),
        streams=method.server_streaming,
        routing=method.GetOptions().Extensions[options_pb2.routing],
    )
