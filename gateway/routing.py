"""Where calls go, read from one snapshot."""

from collections import defaultdict
from dataclasses import dataclass

from caravan.options.v1 import options_pb2
from caravan.registry.v1 import routes_pb2
from gateway.contract import ResourceKind
from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    UnimplementedError,
)

PROVIDER_KEY = "caravan-provider-id"
"""Request metadata that names the provider, for an API that has several and no resource to tell them apart."""

_LISTS = {
    options_pb2.RESOURCE_KIND_MODEL: "caravan.registry.v1.ModelsService/ListModels",
    options_pb2.RESOURCE_KIND_SHIELD: "caravan.registry.v1.ShieldsService/ListShields",
    options_pb2.RESOURCE_KIND_MEMORY_BANK: "caravan.registry.v1.MemoryBanksService/ListMemoryBanks",
    options_pb2.RESOURCE_KIND_TOOL_GROUP: "caravan.registry.v1.ToolGroupsService/ListToolGroups",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The replicas that may answer a call."""

    provider_id: str
    """Their provider."""

    addresses: tuple[str, ...]
    """Their addresses. Empty: nobody serves it now."""

    services: frozenset[str]
    """What they serve, in full names."""


def kind_name(kind: ResourceKind) -> str:
    """Returns a kind of resource in words, for instance "memory bank"."""
    return options_pb2.ResourceKind.Name(kind).removeprefix("RESOURCE_KIND_").lower().replace("_", " ")


def unknown_resource(kind: ResourceKind, resource_id: str, silent: tuple[str, ...] = ()) -> NotFoundError:
    """Returns the error for a resource that nobody serves and nobody registered.

    Args:
        kind: Kind of the resource.
        resource_id: Identifier that was asked for.
        silent: Providers that have not told yet what they serve.
    """
    name = kind_name(kind)
    message = f"{name} {resource_id!r} is not known; {_LISTS[kind]} lists those that can be requested"
    if silent:
        message += f" (not answering yet: {', '.join(silent)})"
    return NotFoundError(message, resource_type=name.replace(" ", "_"), resource_name=resource_id)


class RoutingTable:
    """The routes of one snapshot, indexed. Immutable."""

    def __init__(self, snapshot: routes_pb2.Snapshot) -> None:
        """Indexes a snapshot."""
        self.snapshot = snapshot
        self.version = snapshot.version
        self.addresses = tuple(endpoint.address for provider in snapshot.providers for endpoint in provider.endpoints)
        self._silent = tuple(provider.provider_id for provider in snapshot.providers if not provider.services)
        self._providers: dict[str, Target] = {}
        self._services: defaultdict[str, list[Target]] = defaultdict(list)
        for provider in snapshot.providers:
            addresses = tuple(endpoint.address for endpoint in provider.endpoints)
            target = Target(provider.provider_id, addresses, frozenset(provider.services))
            self._providers[provider.provider_id] = target
            for service in provider.services:
                self._services[service].append(target)
        # Resources of one provider mostly share their replicas: one object for all of them.
        shared: dict[Target, Target] = {}
        self._resources: dict[tuple[int, str], Target] = {}
        for route in snapshot.resources:
            target = Target(route.provider_id, tuple(route.addresses), frozenset(route.services))
            self._resources[route.kind, route.resource_id] = shared.setdefault(target, target)

    def resource(self, kind: ResourceKind, resource_id: str, service: str = "") -> Target:
        """Returns where calls about a resource go.

        Args:
            kind: Kind of the resource.
            resource_id: Its identifier.
            service: Full name of the service that is called. Empty: whatever serves the resource.

        Raises:
            NotFoundError: Nobody serves it and nobody registered it.
            UnimplementedError: No provider serves the API.
            UnavailableError: Perhaps one does, but it has not answered yet.
            FailedPreconditionError: The resource's provider does not serve the API.
        """
        if service and service not in self._services:
            raise self._not_served(service)
        target = self._resources.get((kind, resource_id))
        if target is None:
            raise unknown_resource(kind, resource_id, self._silent)
        if service and target.services and service not in target.services:
            message = f"{kind_name(kind)} {resource_id!r} belongs to provider {target.provider_id}, which does not serve {service}"
            raise FailedPreconditionError(message, reason="API_NOT_SERVED_BY_PROVIDER")
        return target

    def service(self, service: str, provider_id: str = "") -> Target:
        """Returns where the calls of an API without resources go.

        Args:
            service: Full name of the service that is called.
            provider_id: Provider that the caller named. Empty: none.

        Raises:
            NotFoundError: There is no such provider, or it does not serve the API.
            InvalidArgumentError: Several providers serve it and the caller named none.
            UnimplementedError: No provider serves the API.
            UnavailableError: Perhaps one does, but it has not answered yet.
        """
        targets = self._services.get(service, [])
        names = ", ".join(target.provider_id for target in targets)
        if not targets:
            raise self._not_served(service)
        if provider_id:
            named = next((target for target in targets if target.provider_id == provider_id), None)
            if named is None:
                message = f"no provider {provider_id!r} serves {service}; these do: {names}"
                raise NotFoundError(message, resource_type="provider", resource_name=provider_id)
            return named
        if len(targets) > 1:
            description = f"several providers serve {service}: name one of {names}"
            raise InvalidArgumentError.of(f"metadata[{PROVIDER_KEY}]", description, reason="PROVIDER_AMBIGUOUS")
        return targets[0]

    def is_known(self, kind: ResourceKind, resource_id: str) -> bool:
        """Tells whether a resource has a route."""
        return (kind, resource_id) in self._resources

    def _not_served(self, service: str) -> CaravanError:
        if self._silent:
            message = f"no provider serves {service} yet; not answering yet: {', '.join(self._silent)}"
            return UnavailableError(message, reason="PROVIDERS_STARTING")
        message = (
            f"no provider serves {service}: start one and name its address under `providers` in the gateway's settings"
        )
        return UnimplementedError(message, reason="API_NOT_SERVED", metadata={"service": service})
