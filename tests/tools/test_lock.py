import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.lock import EXCLUDED, ROOT, TARGETS, marker, project_requirements


@pytest.fixture(scope="module")
def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements" / "cpu.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def test_the_lock_fits_what_the_project_asks_for(locked: dict[str, Requirement]):
    for requirement in project_requirements():
        (pin,) = locked[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), requirement


def test_the_lock_holds_nothing_built_for_gpus(locked: dict[str, Requirement]):
    assert EXCLUDED.isdisjoint(locked)
    assert [name for name in locked if name.startswith(("nvidia-", "cuda-"))] == []
    assert str(locked["torch"].specifier).endswith("+cpu")


def test_the_lock_names_versions_and_no_places(locked: dict[str, Requirement]):
    assert [name for name, requirement in locked.items() if requirement.url or len(requirement.specifier) != 1] == []


def test_a_marker_limits_a_line_to_the_targets_that_need_it():
    assert marker(set(TARGETS)) == ""
    assert marker({target for target in TARGETS if target[1] == "x86_64"}) == ' ; platform_machine == "x86_64"'
    assert marker({target for target in TARGETS if target[0] != "3.11"}) == ' ; python_version >= "3.12"'
