"""Whether members of a stack can serve."""

from collections.abc import Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from caravan import AsyncClient
from caravan.errors import RpcError
from caravan.registry.v1 import entry_pb2, models_pb2

# The types that come with grpcio-health-checking lag behind it.
_health: Any = health_pb2
_SECONDS = 2.0


async def serves(address: str) -> bool:
    """Whether a server says, by gRPC's health protocol, that it can serve.

    Args:
        address: Where it is.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(_health.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == _health.HealthCheckResponse.SERVING)


async def served_models(client: AsyncClient, providers: Collection[str]) -> list[models_pb2.Model]:
    """The models that can be requested; none as long as one of the providers has none.

    Args:
        client: A client of the gateway.
        providers: Identifiers of the providers that must be there.
    """
    try:
        models = [model async for model in client.with_options(timeout=_SECONDS).models.list()]
    except RpcError:
        return []
    served = [model for model in models if model.entry.availability == entry_pb2.AVAILABILITY_SERVED]
    return served if {model.provider_id for model in served} >= set(providers) else []
