"""Tests that break things start their own, so that nobody else is hurt.

`CARAVAN_FAULT_ROUNDS=10` runs each of them ten times.
"""

import os

import pytest

ROUNDS = int(os.environ.get("CARAVAN_FAULT_ROUNDS", "1"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeats every test as often as the environment says."""
    if ROUNDS > 1:
        metafunc.fixturenames.append("fault_round")
        metafunc.parametrize("fault_round", range(1, ROUNDS + 1))
