"""From what the replicas say and what is registered to the view that is published. Knows no network and no store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caravan.inspect.v1 import inspect_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import entry_pb2, routes_pb2
from gateway.registry.kinds import BY_VALUE, Key, key_of
from gateway.routing import kind_name
from gateway.view import View

_OK = inspect_pb2.HEALTH_STATUS_OK
_DEGRADED = inspect_pb2.HEALTH_STATUS_DEGRADED
_ERROR = inspect_pb2.HEALTH_STATUS_ERROR


@dataclass(frozen=True, slots=True)
class Observation:
    """What one replica said when it was last asked."""

    address: str
    """Its address."""

    description: providers_pb2.DescribeProviderResponse | None = None
    """Its answer. None: it gave none."""

    problem: str = ""
    """Why it gave none."""

    load_problems: Mapping[Key, str] = field(default_factory=dict)
    """Registered resources that it does not take, and why."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All replicas of one provider."""

    provider_id: str
    """Identifier in the gateway's settings."""

    observations: Sequence[Observation]
    """Its replicas, in the order of their addresses."""

    problem: str = ""
    """Why its replicas are not known, for instance a name that does not resolve."""

    def answering(self) -> list[tuple[Observation, providers_pb2.DescribeProviderResponse]]:
        """Returns the replicas that answered as this provider."""
        return [
            (seen, seen.description)
            for seen in self.observations
            if seen.description is not None and seen.description.provider_id == self.provider_id
        ]

    def ready(self) -> list[tuple[Observation, providers_pb2.DescribeProviderResponse]]:
        """Returns the replicas that can serve."""
        return [(seen, description) for seen, description in self.answering() if description.ready]


@dataclass(frozen=True, slots=True)
class Work:
    """What a replica must load or drop to serve what is registered."""

    address: str
    """The replica."""

    instance_id: str
    """Its process: a later one may need other things."""

    load: tuple[providers_pb2.Resource, ...]
    """Registered resources that it lacks, or has at an older revision."""

    unload: tuple[Key, ...]
    """Resources that nobody has registered any more."""


def work(
    surveys: Sequence[Survey], registered: Mapping[Key, providers_pb2.Resource], claimed: frozenset[Key]
) -> list[Work]:
    """Returns what the replicas must load or drop.

    Args:
        surveys: What the replicas said. They must have been asked before the registry was read.
        registered: The registered resources.
        claimed: Resources whose registration is under way; they are left alone.
    """
    found = []
    for survey in surveys:
        wanted = {
            key: resource
            for key, resource in registered.items()
            if _entry(key, resource).provider_id == survey.provider_id and key not in claimed
        }
        for seen, description in survey.ready():
            loaded = _loaded(description)
            load = tuple(
                resource for key, resource in wanted.items() if loaded.get(key) != _entry(key, resource).entry.revision
            )
            unload = tuple(key for key in loaded if key not in wanted and key not in claimed)
            if load or unload:
                found.append(Work(seen.address, description.instance_id, load, unload))
    return found


def view(surveys: Sequence[Survey], registered: Mapping[Key, providers_pb2.Resource], before: View) -> View:
    """Returns the view of what the replicas said and what is registered.

    Args:
        surveys: What the replicas said, in the order of the settings.
        registered: The registered resources.
        before: The view published last: what a provider that is away served, is remembered from it.
    """
    builder = _Builder(surveys, registered, before)
    return builder.build()


class _Builder:
    def __init__(
        self, surveys: Sequence[Survey], registered: Mapping[Key, providers_pb2.Resource], before: View
    ) -> None:
        self._surveys = surveys
        self._registered = registered
        self._before = before
        self._warnings: dict[str, list[str]] = {survey.provider_id: [] for survey in surveys}
        self._entries: dict[Key, Any] = {}
        self._routes: dict[Key, routes_pb2.ResourceRoute] = {}
        self._services = {survey.provider_id: self._services_of(survey) for survey in surveys}
        self._by_provider = {survey.provider_id: survey for survey in surveys}
        self._loaded = {
            survey.provider_id: [(seen.address, _loaded(description)) for seen, description in survey.ready()]
            for survey in surveys
        }

    def build(self) -> View:
        for key, resource in self._registered.items():
            self._add_registered(key, resource)
        for survey in self._surveys:
            self._add_own(survey)
        for survey in self._surveys:
            self._remember(survey)
        self._warn_of_doubles()
        snapshot = routes_pb2.Snapshot(
            providers=[self._provider_route(survey) for survey in self._surveys],
            resources=[self._routes[key] for key in sorted(self._routes)],
        )
        return View(
            snapshot=snapshot,
            providers=tuple(self._provider(survey) for survey in self._surveys),
            entries={key: self._entries[key] for key in sorted(self._entries)},
            loadable=self._loadable(),
        )

    def _add_registered(self, key: Key, resource: providers_pb2.Resource) -> None:
        entry = _copy(key, resource)
        survey = self._by_provider.get(entry.provider_id)
        revision = entry.entry.revision
        loaded = self._loaded.get(entry.provider_id, ())
        addresses = [address for address, revisions in loaded if revisions.get(key) == revision]
        reason = ""
        if survey is None:
            reason = f"provider {entry.provider_id} is not in the gateway's settings"
        elif not addresses:
            reason = _why_not(survey, key)
        self._put(key, entry, addresses, reason)

    def _add_own(self, survey: Survey) -> None:
        """Adds what a provider serves by itself under names that nobody has taken."""
        addresses: dict[Key, list[str]] = {}
        resources: dict[Key, providers_pb2.Resource] = {}
        for seen, description in survey.ready():
            for resource in description.resources:
                key = key_of(resource)
                if key is not None:
                    addresses.setdefault(key, []).append(seen.address)
                    resources.setdefault(key, resource)
        for key, resource in resources.items():
            owner = self._entries.get(key)
            if owner is not None:
                self._warn_of_name(survey, key, owner.provider_id)
                continue
            entry = _copy(key, resource)
            entry.provider_id = survey.provider_id
            self._put(key, entry, addresses[key], "")

    def _remember(self, survey: Survey) -> None:
        """Keeps what a provider served by itself while none of its replicas can say what it serves."""
        if survey.ready():
            return
        for key, old in self._before.entries.items():
            if old.provider_id == survey.provider_id and not old.entry.revision and key not in self._entries:
                entry = BY_VALUE[key[0]].entry_class()
                entry.CopyFrom(old)
                self._put(key, entry, [], _why_not(survey, key))

    def _put(self, key: Key, entry: Any, addresses: list[str], reason: str) -> None:
        served = bool(addresses)
        entry.entry.availability = entry_pb2.AVAILABILITY_SERVED if served else entry_pb2.AVAILABILITY_NOT_SERVED
        entry.entry.unavailable_reason = "" if served else reason
        self._entries[key] = entry
        self._routes[key] = routes_pb2.ResourceRoute(
            kind=key[0],
            resource_id=key[1],
            provider_id=entry.provider_id,
            addresses=addresses,
            services=self._services.get(entry.provider_id, ()),
        )

    def _warn_of_name(self, survey: Survey, key: Key, owner: str) -> None:
        name = kind_name(key[0])
        if owner == survey.provider_id:
            return
        self._warnings[survey.provider_id].append(
            f"{name} {key[1]!r} is served by provider {owner} under that name: register this provider's under another identifier"
        )

    def _warn_of_doubles(self) -> None:
        owners: dict[str, str] = {}
        for survey in self._surveys:
            for seen in survey.observations:
                other = owners.setdefault(seen.address, survey.provider_id)
                if other != survey.provider_id:
                    self._warnings[survey.provider_id].append(
                        f"address {seen.address} is also configured for provider {other}: a process is a replica of one provider"
                    )

    def _services_of(self, survey: Survey) -> list[str]:
        answering = survey.ready() or survey.answering()
        if answering:
            return list(answering[0][1].services)
        route = next((old for old in self._before.snapshot.providers if old.provider_id == survey.provider_id), None)
        return list(route.services) if route is not None else []

    def _provider_route(self, survey: Survey) -> routes_pb2.ProviderRoute:
        ready = {seen.address for seen, _ in survey.ready()}
        strangers = {
            seen.address
            for seen in survey.observations
            if seen.description is not None and seen.description.provider_id != survey.provider_id
        }
        endpoints = [
            routes_pb2.Endpoint(address=seen.address, healthy=seen.address in ready)
            for seen in survey.observations
            if seen.address not in strangers
        ]
        return routes_pb2.ProviderRoute(
            provider_id=survey.provider_id, services=self._services[survey.provider_id], endpoints=endpoints
        )

    def _provider(self, survey: Survey) -> inspect_pb2.Provider:
        answering = survey.ready() or survey.answering()
        provider = inspect_pb2.Provider(provider_id=survey.provider_id)
        before = self._before.provider(survey.provider_id)
        if answering:
            description = answering[0][1]
            provider.provider_type = description.provider_type
            provider.config.CopyFrom(description.config)
        elif before is not None:
            provider.provider_type = before.provider_type
            provider.config.CopyFrom(before.config)
        provider.services.extend(self._services[survey.provider_id])
        provider.api = provider.services[0] if provider.services else ""
        replicas = [_replica(survey, seen) for seen in survey.observations]
        provider.replicas.extend(replicas)
        well = sum(replica.health == _OK for replica in replicas)
        provider.health = _ERROR if not well else _OK if well == len(replicas) else _DEGRADED
        provider.warnings.extend(_own_warnings(survey))
        provider.warnings.extend(sorted(set(self._warnings[survey.provider_id])))
        return provider

    def _loadable(self) -> dict[str, tuple[int, ...]]:
        loadable = dict(self._before.loadable)
        for survey in self._surveys:
            answering = survey.ready() or survey.answering()
            if answering:
                loadable[survey.provider_id] = tuple(answering[0][1].loadable_kinds)
        configured = {survey.provider_id for survey in self._surveys}
        return {provider: kinds for provider, kinds in loadable.items() if provider in configured}


def _replica(survey: Survey, seen: Observation) -> inspect_pb2.Replica:
    description = seen.description
    if description is None:
        return inspect_pb2.Replica(address=seen.address, health=_ERROR, message=seen.problem)
    if description.provider_id != survey.provider_id:
        message = f"it answers as provider {description.provider_id!r} but is configured for {survey.provider_id!r}"
        return inspect_pb2.Replica(address=seen.address, health=_ERROR, message=message)
    return inspect_pb2.Replica(
        address=seen.address,
        health=_OK if description.ready else _ERROR,
        message="" if description.ready else description.not_ready_reason,
        resource_count=len(description.resources) + len(description.loaded),
    )


def _own_warnings(survey: Survey) -> list[str]:
    warnings = [survey.problem] if survey.problem else []
    for seen in survey.observations:
        other = seen.description.provider_id if seen.description is not None else survey.provider_id
        if other != survey.provider_id:
            warnings.append(
                f"the process at {seen.address} answers as provider {other!r} but is configured for {survey.provider_id!r}: "
                "correct its --provider-id or the gateway's `providers`"
            )
        for key, problem in sorted(seen.load_problems.items()):
            name = kind_name(key[0])
            warnings.append(f"the replica at {seen.address} does not take {name} {key[1]!r}: {problem}")
    return warnings


def _why_not(survey: Survey, key: Key) -> str:
    if survey.problem:
        return survey.problem
    for seen in survey.observations:
        if key in seen.load_problems:
            return f"provider {survey.provider_id} does not take it: {seen.load_problems[key]}"
    if survey.ready():
        return f"provider {survey.provider_id} is loading it"
    reasons = sorted({_replica(survey, seen).message for seen in survey.observations})
    return f"no replica of provider {survey.provider_id} can serve: {'; '.join(filter(None, reasons)) or 'it has none'}"


def _loaded(description: providers_pb2.DescribeProviderResponse) -> dict[Key, int]:
    """Returns the revisions of what a replica has loaded."""
    return {(item.kind, item.resource_id): item.revision for item in description.loaded}


def _entry(key: Key, resource: providers_pb2.Resource) -> Any:
    return BY_VALUE[key[0]].entry_of(resource)


def _copy(key: Key, resource: providers_pb2.Resource) -> Any:
    kind = BY_VALUE[key[0]]
    entry = kind.entry_class()
    entry.CopyFrom(kind.entry_of(resource))
    return entry
