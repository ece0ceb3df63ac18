"""Speaks to providers: what they are and serve, and what they shall load (`caravan.providers.v1.ProviderService`)."""

import grpc

from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from gateway.registry.kinds import Key
from services.core.channels import ClientTlsSettings, call_timeout, open_channel
from services.core.status import error_from_rpc

_DESCRIBE_SECONDS = 1.0
_LOAD_SECONDS = 900.0
_UNLOAD_SECONDS = 30.0
# A replica that comes back is to be seen within a second.
_OPTIONS = (("grpc.max_reconnect_backoff_ms", 500),)


class Providers:
    """ProviderService on every replica, one channel each."""

    def __init__(self, tls: ClientTlsSettings | None = None) -> None:
        """Makes a client of no replica yet.

        Args:
            tls: TLS towards replicas. None: plain text.
        """
        self._tls = tls
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def describe(self, address: str) -> providers_pb2.DescribeProviderResponse:
        """Asks a replica what it is and serves.

        Raises:
            CaravanError: It does not answer.
        """
        try:
            return await self._stub(address).DescribeProvider(
                providers_pb2.DescribeProviderRequest(), timeout=_DESCRIBE_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def load(self, address: str, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Asks a replica to load a resource; returns it with what the provider knows of it.

        Raises:
            CaravanError: It refuses or does not answer; code, reason and details are the provider's.
        """
        request = providers_pb2.LoadResourceRequest(resource=resource)
        try:
            response = await self._stub(address).LoadResource(request, timeout=call_timeout(_LOAD_SECONDS))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        return response.resource

    async def unload(self, address: str, key: Key, discarded: providers_pb2.Resource | None = None) -> None:
        """Asks a replica to drop a resource.

        Args:
            address: The replica.
            key: The resource.
            discarded: What was registered, when its user has unregistered it: what is kept for it is deleted too.

        Raises:
            CaravanError: It does not answer.
        """
        request = providers_pb2.UnloadResourceRequest(kind=key[0], resource_id=key[1], discarded=discarded)
        try:
            await self._stub(address).UnloadResource(request, timeout=_UNLOAD_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def forget(self, addresses: set[str]) -> None:
        """Closes the channels to all replicas but those at `addresses`."""
        for address in self._channels.keys() - addresses:
            await self._channels.pop(address).close()

    async def close(self) -> None:
        """Closes all channels."""
        await self.forget(set())

    def _stub(self, address: str) -> "providers_pb2_grpc.ProviderServiceAsyncStub":
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address, self._tls, options=_OPTIONS)
        return providers_pb2_grpc.ProviderServiceStub(channel)
