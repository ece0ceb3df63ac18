"""Caravan's Python client: `Client`, `AsyncClient`, and what they take and return.

    import caravan

    with caravan.Client("localhost:8321") as client:
        print(client.chat("caravan-chat", "What is Caravan?").text)

The generated stubs stand beside this: `caravan.inference.v1.inference_pb2`, `caravan.inference.v1.inference_pb2_grpc` and so on. Names of
this module load on first use, so that a program that needs the stubs alone pays for them alone.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caravan import errors
    from caravan._async.client import AsyncClient
    from caravan._async.streams import AsyncStream
    from caravan._sync.client import Client
    from caravan._sync.streams import Stream
    from caravan.config import TLS, RetryPolicy
    from caravan.errors import CaravanError
    from caravan.messages import text_of, tool_arguments
    from caravan.replies import Reply

_HOMES = {
    "AsyncClient": "caravan._async.client",
    "AsyncStream": "caravan._async.streams",
    "CaravanError": "caravan.errors",
    "Client": "caravan._sync.client",
    "Reply": "caravan.replies",
    "RetryPolicy": "caravan.config",
    "TLS": "caravan.config",
    "Stream": "caravan._sync.streams",
    "text_of": "caravan.messages",
    "tool_arguments": "caravan.messages",
}

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncStream",
    "CaravanError",
    "Client",
    "Reply",
    "RetryPolicy",
    "Stream",
    "errors",
    "text_of",
    "tool_arguments",
]


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("caravan.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    message = f"module 'caravan' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
