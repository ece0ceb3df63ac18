"""The registry's four services on gRPC: ModelsService, ShieldsService, MemoryBanksService and ToolGroupsService."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc

from caravan.registry.v1 import memory_banks_pb2_grpc, models_pb2_grpc, shields_pb2_grpc, tool_groups_pb2_grpc
from gateway.registry.kinds import KINDS, Kind
from gateway.registry.registry import Registry
from services.core.server import Binding

_ADD: dict[str, Callable[[Any, Any], None]] = {
    "Models": models_pb2_grpc.add_ModelsServiceServicer_to_server,
    "Shields": shields_pb2_grpc.add_ShieldsServiceServicer_to_server,
    "MemoryBanks": memory_banks_pb2_grpc.add_MemoryBanksServiceServicer_to_server,
    "ToolGroups": tool_groups_pb2_grpc.add_ToolGroupsServiceServicer_to_server,
}

Context = grpc.aio.ServicerContext[Any, Any]


def bindings(registry: Registry) -> list[Binding]:
    """Returns the services over a registry."""
    return [
        Binding(f"caravan.registry.v1.{kind.plural}Service", _ADD[kind.plural], _Servicer(kind, registry).methods())
        for kind in KINDS
    ]


class _Servicer:
    """The four RPCs of one kind."""

    def __init__(self, kind: Kind, registry: Registry) -> None:
        self._kind = kind
        self._registry = registry

    def methods(self) -> SimpleNamespace:
        """Returns the RPCs under their names, as a generated servicer has them."""
        singular, plural = self._kind.singular, self._kind.plural
        return SimpleNamespace(
            **{
                f"Register{singular}": self._register,
                f"Get{singular}": self._get,
                f"List{plural}": self._list,
                f"Unregister{singular}": self._unregister,
            }
        )

    async def _register(self, request: Any, context: Context) -> Any:
        del context
        return self._response(f"Register{self._kind.singular}", await self._registry.register(self._kind, request))

    async def _get(self, request: Any, context: Context) -> Any:
        del context
        entry = await self._registry.get(self._kind, self._kind.id_of(request))
        return self._response(f"Get{self._kind.singular}", entry)

    async def _list(self, request: Any, context: Context) -> Any:
        del context
        page = self._registry.page(self._kind, request)
        return self._kind.list_class(data=page.entries, next_page_token=page.next_token)

    async def _unregister(self, request: Any, context: Context) -> Any:
        del context
        await self._registry.unregister(self._kind, request)
        return getattr(self._kind.protos, f"Unregister{self._kind.singular}Response")()

    def _response(self, rpc: str, entry: Any) -> Any:
        return getattr(self._kind.protos, f"{rpc}Response")(**{self._kind.member: entry})
