import pytest

from tools.contract import Contract


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load()
