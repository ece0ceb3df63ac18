"""What is published, given what the replicas say and what is registered."""

from caravan.inspect.v1 import inspect_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import entry_pb2, models_pb2
from gateway import survey
from gateway.survey import Observation, Survey
from gateway.view import View

MODEL = options_pb2.RESOURCE_KIND_MODEL
INFERENCE = "caravan.inference.v1.InferenceService"


def model(name, provider="p", revision=0):
    entry = entry_pb2.RegistryEntry(revision=revision)
    return providers_pb2.Resource(model=models_pb2.Model(model_id=name, provider_id=provider, entry=entry))


def said(address, *names, provider="p", ready=True, loaded=(), instance="i"):
    description = providers_pb2.DescribeProviderResponse(
        provider_id=provider,
        provider_type="inline::x",
        services=[INFERENCE],
        ready=ready,
        not_ready_reason="" if ready else "warming up",
        instance_id=instance,
        resources=[model(name, "") for name in names],
        loaded=[providers_pb2.LoadedResource(kind=MODEL, resource_id=name, revision=rev) for name, rev in loaded],
        loadable_kinds=[MODEL],
    )
    return Observation(address, description)


def silent(address):
    return Observation(address, problem="it does not answer: refused")


def registered(*resources):
    return {(MODEL, one.model.model_id): one for one in resources}


def routes(view):
    return {route.resource_id: list(route.addresses) for route in view.snapshot.resources}


def published(surveys, resources=None, before=None):
    return survey.view(surveys, resources or {}, before or View())


def test_a_resource_is_routed_to_the_replicas_that_serve_it():
    view = published([Survey("p", [said("a:1", "m", "n"), said("b:1", "m"), silent("c:1")])])
    assert routes(view) == {"m": ["a:1", "b:1"], "n": ["a:1"]}
    assert view.entries[MODEL, "m"].provider_id == "p"
    endpoints = view.snapshot.providers[0].endpoints
    assert [(one.address, one.healthy) for one in endpoints] == [("a:1", True), ("b:1", True), ("c:1", False)]


def test_a_registered_resource_is_routed_to_the_replicas_that_loaded_this_revision():
    resources = registered(model("mine", revision=5))
    view = published([Survey("p", [said("a:1", loaded=[("mine", 5)]), said("b:1", loaded=[("mine", 4)])])], resources)
    assert routes(view) == {"mine": ["a:1"]}


def test_what_nobody_serves_now_stays_known_with_the_reason():
    resources = registered(model("mine", revision=5))
    view = published([Survey("p", [silent("a:1")])], resources)
    entry = view.entries[MODEL, "mine"].entry
    assert routes(view) == {"mine": []}
    assert entry.availability == entry_pb2.AVAILABILITY_NOT_SERVED
    assert "refused" in entry.unavailable_reason


def test_what_a_provider_served_by_itself_is_remembered_while_it_is_away_and_forgotten_when_it_serves_it_no_more():
    before = published([Survey("p", [said("a:1", "m")])])
    away = published([Survey("p", [silent("a:1")])], before=before)
    assert routes(away) == {"m": []}
    assert away.snapshot.providers[0].services == [INFERENCE]
    assert away.providers[0].provider_type == "inline::x"
    assert routes(published([Survey("p", [said("a:1", "n")])], before=away)) == {"n": ["a:1"]}


def test_a_provider_that_is_configured_no_more_takes_its_own_resources_with_it():
    before = published([Survey("p", [said("a:1", "m")])])
    assert routes(published([Survey("q", [silent("b:1")])], before=before)) == {}


def test_a_registration_takes_a_name_from_the_provider_that_serves_it_by_itself():
    resources = registered(model("m", "q", revision=1))
    surveys = [Survey("p", [said("a:1", "m")]), Survey("q", [said("b:1", provider="q", loaded=[("m", 1)])])]
    view = published(surveys, resources)
    assert routes(view) == {"m": ["b:1"]}
    assert "served by provider q" in view.provider("p").warnings[0]


def test_a_replica_that_answers_as_another_provider_gets_no_calls_and_both_are_named():
    view = published([Survey("p", [said("a:1", "m", provider="q")])])
    assert routes(view) == {}
    assert list(view.snapshot.providers[0].endpoints) == []
    (warning,) = view.provider("p").warnings
    assert "'p'" in warning
    assert "'q'" in warning


def test_an_address_of_two_providers_is_reported():
    view = published([Survey("p", [said("a:1", "m")]), Survey("q", [said("a:1", "m")])])
    assert any("also configured for provider p" in warning for warning in view.provider("q").warnings)


def test_health_tells_all_some_or_none():
    well, ill = said("a:1"), said("b:1", ready=False)
    health = [published([Survey("p", seen)]).providers[0].health for seen in ([well], [well, ill], [ill], [])]
    assert health == [
        inspect_pb2.HEALTH_STATUS_OK,
        inspect_pb2.HEALTH_STATUS_DEGRADED,
        inspect_pb2.HEALTH_STATUS_ERROR,
        inspect_pb2.HEALTH_STATUS_ERROR,
    ]


def test_a_view_reads_back_as_it_was_written():
    resources = registered(model("mine", revision=5))
    view = published([Survey("p", [said("a:1", "m", loaded=[("mine", 5)]), said("b:1", ready=False)])], resources)
    again = View.of_parts({**view.parts(), "version": b"7"})
    assert again.version == 7
    assert again.parts() == {**view.parts(), "snapshot": again.parts()["snapshot"]}
    assert (again.providers, again.entries, again.loadable) == (view.providers, view.entries, view.loadable)


def test_work_is_what_is_missing_stale_or_left_over_but_nothing_under_way():
    resources = registered(model("missing", revision=1), model("stale", revision=5), model("fine", revision=2))
    seen = said("a:1", loaded=[("stale", 4), ("fine", 2), ("over", 1), ("coming", 9)])
    (work,) = survey.work([Survey("p", [seen, silent("b:1")])], resources, frozenset({(MODEL, "coming")}))
    assert [one.model.model_id for one in work.load] == ["missing", "stale"]
    assert work.unload == ((MODEL, "over"),)


def test_there_is_no_work_for_others_resources_or_replicas_that_are_not_ready():
    resources = registered(model("theirs", "q", revision=1), model("mine", revision=1))
    assert survey.work([Survey("p", [said("a:1", ready=False)])], resources, frozenset()) == []
    (work,) = survey.work([Survey("p", [said("a:1")])], resources, frozenset())
    assert [one.model.model_id for one in work.load] == ["mine"]
