from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.safety.providers.detection.shield import Detected, without_overlaps


def detected(start: int, end: int, score: float) -> Detected:
    return Detected(start, end, "thing", "A thing.", "[THING]", score)


def test_of_things_that_overlap_the_surest_and_then_the_longest_is_kept():
    sure, long, short = detected(5, 10, 0.9), detected(0, 8, 0.5), detected(2, 4, 0.5)
    assert without_overlaps([short, long, sure]) == [short, sure]
    assert without_overlaps([short, long]) == [long]


def test_things_that_only_touch_do_not_overlap():
    assert without_overlaps([detected(3, 6, 0.5), detected(0, 3, 0.9)]) == [detected(0, 3, 0.9), detected(3, 6, 0.5)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.floats(0, 1)), max_size=20))
def test_what_is_kept_is_in_order_and_does_not_overlap_and_the_surest_is_in_it(drawn: list[tuple[int, int, float]]):
    things = [detected(start, start + length, score) for start, length, score in drawn]
    kept = without_overlaps(things)
    assert all(one.end <= other.start for one, other in pairwise(kept))
    assert set(kept) <= set(things) if things else kept == []
    if things:
        assert max(one.score for one in kept) == max(one.score for one in things)
