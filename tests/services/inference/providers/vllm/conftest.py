"""One real engine for all tests of the provider."""

from collections.abc import Iterator

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.providers.v1 import providers_pb2_grpc
from tests.support.engine import Engine


@pytest.fixture
def inference(engine: Engine) -> Iterator[inference_pb2_grpc.InferenceServiceStub]:
    """A stub of the engine's service."""
    with grpc.insecure_channel(engine.address) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.fixture
def provider(engine: Engine) -> Iterator[providers_pb2_grpc.ProviderServiceStub]:
    """A stub of what the gateway calls."""
    with grpc.insecure_channel(engine.address) as channel:
        yield providers_pb2_grpc.ProviderServiceStub(channel)
