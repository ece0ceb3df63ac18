from services.core.readiness import Readiness


def test_it_starts_as_not_ready() -> None:
    readiness = Readiness()
    assert (readiness.ready, readiness.reason) == (False, "starting")


def test_a_reason_is_there_only_while_it_is_not_ready() -> None:
    readiness = Readiness()
    readiness.set_ready()
    assert (readiness.ready, readiness.reason) == (True, "")
    readiness.set_not_ready("the engine died")
    assert (readiness.ready, readiness.reason) == (False, "the engine died")


def test_subscribers_hear_of_changes_only() -> None:
    readiness = Readiness()
    heard: list[str] = []
    unsubscribe = readiness.subscribe(lambda changed: heard.append(changed.reason))
    readiness.set_ready()
    readiness.set_ready()
    readiness.set_not_ready("a")
    readiness.set_not_ready("b")
    unsubscribe()
    unsubscribe()
    readiness.set_ready()
    assert heard == ["", "a", "b"]
