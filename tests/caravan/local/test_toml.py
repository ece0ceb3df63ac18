import math
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from caravan.local import toml

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
scalars = st.one_of(
    st.text(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda number: abs(number) < 1e15 and not math.isclose(number, 0)
    ),
)
values = st.one_of(scalars, st.lists(st.text(), max_size=3))
tables = st.dictionaries(names, values, max_size=4)


@given(st.dictionaries(names, st.one_of(values, tables, st.lists(tables, min_size=1, max_size=3)), max_size=5))
def test_what_is_written_reads_as_the_same(table):
    assert tomllib.loads(toml.dumps(table)) == table


def test_what_is_not_given_is_left_out():
    assert toml.dumps({"a": None, "b": 1}) == "b = 1\n"
