"""InspectService: what is running behind the gateway."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc

from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from gateway.contract import Method
from gateway.follower import Follower
from gateway.view import View
from services.core.errors import InvalidArgumentError, NotFoundError

_OK = inspect_pb2.HEALTH_STATUS_OK
_DEGRADED = inspect_pb2.HEALTH_STATUS_DEGRADED
_ERROR = inspect_pb2.HEALTH_STATUS_ERROR

Context = grpc.aio.ServicerContext[Any, Any]


class InspectServicer(inspect_pb2_grpc.InspectServiceServicer):
    """`caravan.inspect.v1.InspectService` over the published view."""

    def __init__(self, methods: Mapping[str, Method], follower: Follower) -> None:
        """Makes the servicer.

        Args:
            methods: The contract's RPCs by path.
            follower: Knows the published view.
        """
        self._methods = methods
        self._follower = follower

    async def ListProviders(
        self, request: inspect_pb2.ListProvidersRequest, context: Context
    ) -> inspect_pb2.ListProvidersResponse:
        """Lists the configured providers."""
        providers = self._follower.view.providers
        start = _start([provider.provider_id for provider in providers], request.page_token)
        page = providers[start : start + (request.page_size or 100)]
        last = start + len(page) >= len(providers)
        return inspect_pb2.ListProvidersResponse(data=page, next_page_token="" if last else page[-1].provider_id)

    async def GetProvider(
        self, request: inspect_pb2.GetProviderRequest, context: Context
    ) -> inspect_pb2.GetProviderResponse:
        """Gets one provider."""
        view = self._follower.view
        provider = view.provider(request.provider_id)
        if provider is None:
            names = ", ".join(known.provider_id for known in view.providers) or "none"
            message = f"there is no provider {request.provider_id!r}; there are: {names}"
            raise NotFoundError(message, resource_type="provider", resource_name=request.provider_id)
        return inspect_pb2.GetProviderResponse(provider=provider)

    async def ListRoutes(
        self, request: inspect_pb2.ListRoutesRequest, context: Context
    ) -> inspect_pb2.ListRoutesResponse:
        """Lists the RPCs that the gateway routes."""
        found = routes(self._methods, self._follower.view)
        start = _start([route.grpc_path for route in found], request.page_token)
        page = found[start : start + (request.page_size or 1000)]
        last = start + len(page) >= len(found)
        return inspect_pb2.ListRoutesResponse(data=page, next_page_token="" if last else page[-1].grpc_path)

    async def Health(self, request: inspect_pb2.HealthRequest, context: Context) -> inspect_pb2.HealthResponse:
        """Tells whether the gateway can route and which providers answer."""
        return health(self._follower.view, store_answers=self._follower.store_answers)

    async def Version(self, request: inspect_pb2.VersionRequest, context: Context) -> inspect_pb2.VersionResponse:
        """Tells the gateway's version."""
        return inspect_pb2.VersionResponse(version=caravan_version())


def routes(methods: Mapping[str, Method], view: View) -> list[inspect_pb2.Route]:
    """Returns the RPCs that are routed, by path, with the types of the providers that answer them."""
    types: dict[str, set[str]] = {}
    for provider in view.providers:
        for service in provider.services:
            types.setdefault(service, set()).add(provider.provider_type)
    return [
        inspect_pb2.Route(
            grpc_path=path,
            route=method.http_path,
            method=method.http_method,
            provider_types=() if method.gateway else sorted(types.get(method.service, ())),
            gateway=method.gateway,
        )
        for path, method in sorted(methods.items())
        if method.routed
    ]


def health(view: View, *, store_answers: bool) -> inspect_pb2.HealthResponse:
    """Returns the health of gateway and providers.

    Args:
        view: The published view.
        store_answers: The registry's store answers.
    """
    providers = {provider.provider_id: provider.health for provider in view.providers}
    if providers and all(status == _ERROR for status in providers.values()):
        status = _ERROR
    elif store_answers and all(status == _OK for status in providers.values()):
        status = _OK
    else:
        status = _DEGRADED
    if not view.version:
        status = _ERROR
    return inspect_pb2.HealthResponse(
        status=status,
        providers=providers,
        registry=_OK if store_answers else _ERROR,
        snapshot_version=view.version,
    )


def caravan_version() -> str:
    """Returns the version of the installed package."""
    try:
        return version("caravan")
    except PackageNotFoundError:
        return "0+unknown"


def _start(names: Sequence[str], token: str) -> int:
    """Returns where the page begins after the entry that the token names."""
    if not token:
        return 0
    try:
        return names.index(token) + 1
    except ValueError:
        raise InvalidArgumentError.of(
            "page_token", "is none that a page before has given, or its entry is gone"
        ) from None
