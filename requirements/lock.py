"""Writes `requirements/cpu.lock`: the exact versions that `make setup` installs, taken from the environment this runs in.

The lock holds what `pyproject.toml` and the extras below need, walked through the metadata of the installed distributions, for each
Python and machine of `TARGETS`. To move a version: install the new one, run the tests, then `make lock`.
"""

import itertools
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = (
    "vllm",
    "sentence-transformers",
    "safety",
    "prompt-guard",
    "memory",
    "embedded-memory",
    "postgres",
    "agents",
    "post-training",
    "kubernetes",
    "redis-server",
    "bench",
    "dev",
)
# torchvision, torchaudio and torchcodec on the package index are CUDA builds, which break `import vllm` beside torch's CPU build; triton
# serves GPUs only. Nothing we do on a CPU needs them.
EXCLUDED = {"torchvision", "torchaudio", "torchcodec", "triton"}
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
TARGETS = frozenset(itertools.product(PYTHONS, MACHINES))

Target = tuple[str, str]


def main() -> None:
    """Writes the lock, or exits with what is missing or does not fit."""
    needed, problems = walk(project_requirements())
    if problems:
        sys.exit("\n".join(sorted(problems)))
    lines = [
        "# Made by `make lock` from the tested environment; installed with --no-deps by `make setup`.",
        *(f"{name}=={distribution(name).version}{marker(targets)}" for name, targets in sorted(needed.items())),
    ]
    (ROOT / "requirements" / "cpu.lock").write_text("\n".join(lines) + "\n")


def project_requirements() -> list[Requirement]:
    """Returns the project's own requirements with those of `EXTRAS`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(line)
        for line in [*project["dependencies"], *itertools.chain(*(project["optional-dependencies"][e] for e in EXTRAS))]
    ]


def walk(requirements: list[Requirement]) -> tuple[dict[str, set[Target]], set[str]]:
    """Follows requirements through installed metadata.

    Args:
        requirements: Where to start.

    Returns:
        For each distribution the targets that need it, and the problems found: a requirement that is not installed or does not fit.
    """
    needed: dict[str, set[Target]] = defaultdict(set)
    seen: dict[tuple[str, str], set[Target]] = defaultdict(set)
    problems: set[str] = set()
    queue = [("caravan", "", requirement, set(TARGETS)) for requirement in requirements]
    while queue:
        parent, extra, requirement, targets = queue.pop()
        name = canonicalize_name(requirement.name)
        targets = {target for target in targets if applies(requirement, target, extra)}
        if name in EXCLUDED or not targets:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            problems.add(f"{parent} needs {requirement}, which is not installed")
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            problems.add(f"{parent} needs {requirement}, but {found.version} is installed")
        needed[name] |= targets
        for wanted in ("", *sorted(requirement.extras)):
            fresh = targets - seen[name, wanted]
            seen[name, wanted] |= fresh
            if fresh:
                queue.extend((name, wanted, Requirement(line), fresh) for line in found.requires or [])
    return needed, problems


def applies(requirement: Requirement, target: Target, extra: str) -> bool:
    """Tells whether a requirement's marker holds on a target, for one extra of the distribution that states it ("" for none)."""
    python, machine = target
    # Debian 12 has Python 3.11.2, and 3.11.3 is where some back-ports stop being needed.
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "platform_machine": machine,
        "extra": extra,
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def marker(targets: set[Target]) -> str:
    """Returns the environment marker for a lock line that only some targets need."""
    return " ; " + " and ".join(conditions) if (conditions := list(_conditions(targets))) else ""


def _conditions(targets: set[Target]) -> Iterator[str]:
    pythons = [python for python in PYTHONS if any(target[0] == python for target in targets)]
    machines = [machine for machine in MACHINES if any(target[1] == machine for target in targets)]
    if pythons != list(PYTHONS):
        yield (
            f'python_version >= "{pythons[0]}"' if pythons[-1] == PYTHONS[-1] else f'python_version <= "{pythons[-1]}"'
        )
    if machines != list(MACHINES):
        yield " or ".join(f'platform_machine == "{machine}"' for machine in machines)


if __name__ == "__main__":
    main()
