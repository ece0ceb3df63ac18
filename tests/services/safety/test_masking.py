from hypothesis import given
from hypothesis import strategies as st

from services.safety.masking import Edit, apply

PLACES = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


def test_places_that_overlap_are_replaced_once():
    edits = [Edit(8, 12, "[b]"), Edit(2, 10, "[a]"), Edit(14, 15, "[c]")]
    assert apply("0123456789abcdefgh", edits) == "01[a]cd[c]fgh"


def test_neighbours_are_replaced_each():
    assert apply("abcd", [Edit(0, 2, "1"), Edit(2, 4, "2")]) == "12"


@given(st.lists(PLACES, max_size=6))
def test_nothing_of_a_place_is_left_and_nothing_else_is_gone(places: list[list[int]]):
    text = "".join(chr(0x100 + number) for number in range(30))
    covered = {number for start, end in places for number in range(start, end)}
    masked = apply(text, [Edit(start, end, "*") for start, end in places])
    assert masked.replace("*", "") == "".join(letter for at, letter in enumerate(text) if at not in covered)
