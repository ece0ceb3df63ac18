# Made from caravan/_async/registry.py by tools/sync_client.py. Do not edit.
"""What is registered and what runs: models, shields, memory banks, tool groups, providers, routes."""

import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from caravan import llama_stack
from caravan._sync.calls import Calls
from caravan.inspect.v1 import inspect_pb2
from caravan.options.v1 import options_pb2
from caravan.registry.v1 import memory_banks_pb2, models_pb2, routes_pb2, shields_pb2, tool_groups_pb2


class _Group:
    """Calls of one kind of resource."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls


class Models(_Group):
    """`caravan.registry.v1.ModelsService`."""

    def list(self, *, provider_id: str = "") -> Generator[models_pb2.Model, None, None]:
        """Yields the models, in the order of their identifiers.

        Args:
            provider_id: Only those of this provider.
        """
        return self._calls.entries(
            lambda token: models_pb2.ListModelsRequest(page_token=token, provider_id=provider_id),
            models_pb2.ListModelsResponse,
        )

    def get(self, model_id: str) -> models_pb2.Model:
        """Gets one model.

        Args:
            model_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = models_pb2.GetModelRequest(model_id=model_id)
        return self._calls.unary(request, models_pb2.GetModelResponse).model

    def register(
        self,
        model_id: str,
        *,
        provider_id: str = "",
        provider_model_id: str = "",
        model_type: str = "llm",
        adapter: models_pb2.LoraAdapter | Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> models_pb2.Model:
        """Registers a model; when this returns it can be requested.

        Args:
            model_id: Identifier that requests will name.
            provider_id: Provider to serve it. Default: the only one there is.
            provider_model_id: Identifier that the provider uses itself. Default: `model_id`.
            model_type: `llm`, `embedding` or `reward`.
            adapter: Adapter to load on a model that is served: `{"base_model_id": ..., "source": folder or Hugging Face id}`.
            metadata: Facts about the model for those who list it.
        """
        shape = {
            "model_id": model_id,
            "provider_id": provider_id,
            "provider_model_id": provider_model_id,
            "model_type": model_type,
            "adapter": adapter,
            "metadata": metadata,
            "request_id": uuid.uuid4().hex,
        }
        request = llama_stack.build(models_pb2.RegisterModelRequest, shape, "model")
        return self._calls.unary(request, models_pb2.RegisterModelResponse).model

    def unregister(self, model_id: str, *, revision: int | None = None) -> None:
        """Takes a model out of the registry; the provider drops what it loaded for it.

        Args:
            model_id: Its identifier.
            revision: Refuse (AbortedError) unless the entry still has this revision.
        """
        request = models_pb2.UnregisterModelRequest(model_id=model_id, revision=revision, request_id=uuid.uuid4().hex)
        self._calls.unary(request, models_pb2.UnregisterModelResponse)


class Shields(_Group):
    """`caravan.registry.v1.ShieldsService`."""

    def list(self, *, provider_id: str = "") -> Generator[shields_pb2.Shield, None, None]:
        """Yields the shields, in the order of their identifiers.

        Args:
            provider_id: Only those of this provider.
        """
        return self._calls.entries(
            lambda token: shields_pb2.ListShieldsRequest(page_token=token, provider_id=provider_id),
            shields_pb2.ListShieldsResponse,
        )

    def get(self, shield_id: str) -> shields_pb2.Shield:
        """Gets one shield.

        Args:
            shield_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = shields_pb2.GetShieldRequest(shield_id=shield_id)
        return self._calls.unary(request, shields_pb2.GetShieldResponse).shield

    def register(
        self,
        shield_id: str,
        *,
        provider_id: str = "",
        provider_shield_id: str = "",
        params: Mapping[str, Any] | None = None,
        always_on_model_ids: Sequence[str] = (),
    ) -> shields_pb2.Shield:
        """Registers a shield.

        Args:
            shield_id: Identifier that requests will name.
            provider_id: Provider to serve it. Default: the only one there is.
            provider_shield_id: Identifier that the provider uses itself. Default: `shield_id`.
            params: Parameters by name.
            always_on_model_ids: Models that it always guards; `*` stands for every language model.
        """
        shape = {
            "shield_id": shield_id,
            "provider_id": provider_id,
            "provider_shield_id": provider_shield_id,
            "params": params,
            "always_on_model_ids": always_on_model_ids,
            "request_id": uuid.uuid4().hex,
        }
        request = llama_stack.build(shields_pb2.RegisterShieldRequest, shape, "shield")
        return self._calls.unary(request, shields_pb2.RegisterShieldResponse).shield

    def unregister(self, shield_id: str, *, revision: int | None = None) -> None:
        """Takes a shield out of the registry.

        Args:
            shield_id: Its identifier.
            revision: Refuse (AbortedError) unless the entry still has this revision.
        """
        request = shields_pb2.UnregisterShieldRequest(
            shield_id=shield_id, revision=revision, request_id=uuid.uuid4().hex
        )
        self._calls.unary(request, shields_pb2.UnregisterShieldResponse)


class MemoryBanks(_Group):
    """`caravan.registry.v1.MemoryBanksService`."""

    def list(self, *, provider_id: str = "") -> Generator[memory_banks_pb2.MemoryBank, None, None]:
        """Yields the memory banks, in the order of their identifiers.

        Args:
            provider_id: Only those of this provider.
        """
        return self._calls.entries(
            lambda token: memory_banks_pb2.ListMemoryBanksRequest(page_token=token, provider_id=provider_id),
            memory_banks_pb2.ListMemoryBanksResponse,
        )

    def get(self, memory_bank_id: str) -> memory_banks_pb2.MemoryBank:
        """Gets one memory bank.

        Args:
            memory_bank_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = memory_banks_pb2.GetMemoryBankRequest(memory_bank_id=memory_bank_id)
        return self._calls.unary(request, memory_banks_pb2.GetMemoryBankResponse).memory_bank

    def register(
        self,
        memory_bank_id: str,
        params: memory_banks_pb2.MemoryBankParams | Mapping[str, Any],
        *,
        provider_id: str = "",
        provider_memory_bank_id: str = "",
        default_ttl: str | None = None,
    ) -> memory_banks_pb2.MemoryBank:
        """Registers a memory bank.

        Args:
            memory_bank_id: Identifier that requests will name.
            params: Kind and parameters, for instance `{"memory_bank_type": "keyword"}`.
            provider_id: Provider to serve it. Default: the only one there is.
            provider_memory_bank_id: Identifier that the provider uses itself. Default: `memory_bank_id`.
            default_ttl: Life of documents that have none of their own, for instance `3600s`. Default: for ever.
        """
        shape = {
            "memory_bank_id": memory_bank_id,
            "params": params,
            "provider_id": provider_id,
            "provider_memory_bank_id": provider_memory_bank_id,
            "default_ttl": default_ttl,
            "request_id": uuid.uuid4().hex,
        }
        request = llama_stack.build(memory_banks_pb2.RegisterMemoryBankRequest, shape, "memory_bank")
        return self._calls.unary(request, memory_banks_pb2.RegisterMemoryBankResponse).memory_bank

    def unregister(self, memory_bank_id: str, *, revision: int | None = None) -> None:
        """Takes a memory bank out of the registry; everything in it is deleted.

        Args:
            memory_bank_id: Its identifier.
            revision: Refuse (AbortedError) unless the entry still has this revision.
        """
        request = memory_banks_pb2.UnregisterMemoryBankRequest(
            memory_bank_id=memory_bank_id, revision=revision, request_id=uuid.uuid4().hex
        )
        self._calls.unary(request, memory_banks_pb2.UnregisterMemoryBankResponse)


class ToolGroups(_Group):
    """`caravan.registry.v1.ToolGroupsService`."""

    def list(self, *, provider_id: str = "") -> Generator[tool_groups_pb2.ToolGroup, None, None]:
        """Yields the tool groups, in the order of their identifiers.

        Args:
            provider_id: Only those of this provider.
        """
        return self._calls.entries(
            lambda token: tool_groups_pb2.ListToolGroupsRequest(page_token=token, provider_id=provider_id),
            tool_groups_pb2.ListToolGroupsResponse,
        )

    def get(self, toolgroup_id: str) -> tool_groups_pb2.ToolGroup:
        """Gets one tool group.

        Args:
            toolgroup_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = tool_groups_pb2.GetToolGroupRequest(toolgroup_id=toolgroup_id)
        return self._calls.unary(request, tool_groups_pb2.GetToolGroupResponse).tool_group

    def register(
        self,
        toolgroup_id: str,
        *,
        provider_id: str = "",
        provider_toolgroup_id: str = "",
        mcp_endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
    ) -> tool_groups_pb2.ToolGroup:
        """Registers a tool group.

        Args:
            toolgroup_id: Identifier that requests will name.
            provider_id: Provider to run the tools. Default: the only one there is.
            provider_toolgroup_id: Identifier that the provider uses itself. Default: `toolgroup_id`.
            mcp_endpoint: Address of an MCP server, when the tools are its.
            args: Arguments of the group by name.
        """
        shape = {
            "toolgroup_id": toolgroup_id,
            "provider_id": provider_id,
            "provider_toolgroup_id": provider_toolgroup_id,
            "mcp_endpoint": mcp_endpoint,
            "args": args,
            "request_id": uuid.uuid4().hex,
        }
        request = llama_stack.build(tool_groups_pb2.RegisterToolGroupRequest, shape, "tool_group")
        return self._calls.unary(request, tool_groups_pb2.RegisterToolGroupResponse).tool_group

    def unregister(self, toolgroup_id: str, *, revision: int | None = None) -> None:
        """Takes a tool group out of the registry.

        Args:
            toolgroup_id: Its identifier.
            revision: Refuse (AbortedError) unless the entry still has this revision.
        """
        request = tool_groups_pb2.UnregisterToolGroupRequest(
            toolgroup_id=toolgroup_id, revision=revision, request_id=uuid.uuid4().hex
        )
        self._calls.unary(request, tool_groups_pb2.UnregisterToolGroupResponse)


class Providers(_Group):
    """The configured providers, of `caravan.inspect.v1.InspectService`."""

    def list(self) -> Generator[inspect_pb2.Provider, None, None]:
        """Yields the providers with their replicas and health, in the order of the gateway's settings."""
        return self._calls.entries(
            lambda token: inspect_pb2.ListProvidersRequest(page_token=token), inspect_pb2.ListProvidersResponse
        )

    def get(self, provider_id: str) -> inspect_pb2.Provider:
        """Gets one provider.

        Args:
            provider_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = inspect_pb2.GetProviderRequest(provider_id=provider_id)
        return self._calls.unary(request, inspect_pb2.GetProviderResponse).provider


class Routes(_Group):
    """Where calls go: `caravan.registry.v1.RoutesService`, and the routes of `caravan.inspect.v1.InspectService`."""

    def list(self) -> Generator[inspect_pb2.Route, None, None]:
        """Yields the RPCs that the gateway routes, with the types of the providers that answer them."""
        return self._calls.entries(
            lambda token: inspect_pb2.ListRoutesRequest(page_token=token), inspect_pb2.ListRoutesResponse
        )

    def resolve(
        self, *, kind: str = "unspecified", resource_id: str = "", service: str = ""
    ) -> routes_pb2.ResolveResponse:
        """Resolves a resource, or a service without resources, to the replicas that serve it.

        Args:
            kind: `model`, `shield`, `memory_bank`, `tool_group`, `dataset`.
            resource_id: Its identifier.
            service: Full name of the service, where `kind` is not given.
        """
        number = options_pb2.ResourceKind.Value(f"RESOURCE_KIND_{kind.upper()}")
        request = routes_pb2.ResolveRequest(kind=number, resource_id=resource_id, service=service)
        return self._calls.unary(request, routes_pb2.ResolveResponse)

    def watch(self, *, known_version: int = 0) -> Generator[routes_pb2.WatchSnapshotResponse, None, None]:
        """Yields the snapshot of routes: the current one at once, then each new one.

        Args:
            known_version: Version that the caller has already.
        """
        request = routes_pb2.WatchSnapshotRequest(known_version=known_version)
        return self._calls.stream(request, routes_pb2.WatchSnapshotResponse, timeout=float("inf"))
