"""RoutesService: for clients that dial replicas themselves."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from caravan.options.v1 import options_pb2
from caravan.registry.v1 import routes_pb2, routes_pb2_grpc
from gateway.follower import Follower
from gateway.routing import RoutingTable, Target, kind_name
from services.core.errors import NotFoundError, UnavailableError

_TTL_SECONDS = 10
_LOOK_SECONDS = 30.0

Context = grpc.aio.ServicerContext[Any, Any]


class RoutesServicer(routes_pb2_grpc.RoutesServiceServicer):
    """`caravan.registry.v1.RoutesService` over the published view."""

    def __init__(
        self,
        follower: Follower,
        table: Callable[[], RoutingTable],
        usable: Callable[[str], bool],
        *,
        rng: random.Random | None = None,
    ) -> None:
        """Makes the servicer.

        Args:
            follower: Knows the published view.
            table: Returns the index over it.
            usable: Tells whether this worker has the replica at an address connected and serving.
            rng: Where the order of replicas comes from.
        """
        self._follower = follower
        self._table = table
        self._usable = usable
        self._random = rng or random.Random()  # noqa: S311 - no secret
        self._closing = asyncio.Event()

    def end_streams(self) -> None:
        """Ends all watches: this worker goes away."""
        self._closing.set()

    async def Resolve(self, request: routes_pb2.ResolveRequest, context: Context) -> routes_pb2.ResolveResponse:
        """Resolves a resource, or an API without resources."""
        try:
            target = self._find(request)
        except NotFoundError:
            if not await self._follower.look():
                raise
            target = self._find(request)
        addresses = [address for address in target.addresses if self._usable(address)]
        if not addresses:
            what = f"{kind_name(request.kind)} {request.resource_id!r}" if request.kind else request.service
            message = f"no replica of provider {target.provider_id} serves {what} now; try again"
            raise UnavailableError(message, reason="NO_REPLICA", metadata={"provider_id": target.provider_id})
        self._random.shuffle(addresses)
        response = routes_pb2.ResolveResponse(
            endpoints=[routes_pb2.Endpoint(address=address, healthy=True) for address in addresses],
            provider_id=target.provider_id,
            snapshot_version=self._table().version,
        )
        response.ttl.FromSeconds(_TTL_SECONDS)
        return response

    async def WatchSnapshot(
        self, request: routes_pb2.WatchSnapshotRequest, context: Context
    ) -> AsyncIterator[routes_pb2.WatchSnapshotResponse]:
        """Streams the snapshot: the current one at once, then each new one."""
        known = request.known_version
        closing = asyncio.create_task(self._closing.wait())
        try:
            while not self._closing.is_set():
                snapshot = self._follower.view.snapshot
                if snapshot.version > known:
                    known = snapshot.version
                    yield routes_pb2.WatchSnapshotResponse(snapshot=snapshot)
                    continue
                newer = asyncio.create_task(self._wait_beyond(known))
                await asyncio.wait((newer, closing), return_when=asyncio.FIRST_COMPLETED)
                newer.cancel()
        finally:
            closing.cancel()

    async def _wait_beyond(self, version: int) -> None:
        await self._follower.wait_for(lambda view: view.version > version, _LOOK_SECONDS)

    def _find(self, request: routes_pb2.ResolveRequest) -> Target:
        if request.kind == options_pb2.RESOURCE_KIND_UNSPECIFIED:
            return self._table().service(request.service)
        return self._table().resource(request.kind, request.resource_id, request.service)
