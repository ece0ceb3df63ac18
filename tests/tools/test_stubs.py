import shutil
from pathlib import Path

import pytest

from tools import stubs

ROOT = stubs.ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in ("options", "types"):
        shutil.copytree(ROOT / "protos/caravan" / package, tmp_path / "protos/caravan" / package)
    (tmp_path / "caravan").mkdir()
    return tmp_path


def test_building_twice_writes_nothing_the_second_time(tree: Path):
    first = stubs.build(tree)
    written = {path: (tree / path).stat().st_mtime_ns for path in first}
    assert stubs.build(tree) == first
    assert {path: (tree / path).stat().st_mtime_ns for path in first} == written


def test_a_changed_proto_rewrites_its_own_stubs_only(tree: Path):
    outputs = stubs.build(tree)
    before = {path: (tree / path).stat().st_mtime_ns for path in outputs}
    options = tree / "protos/caravan/options/v1/options.proto"
    options.write_text(options.read_text() + "// What a test adds.\nmessage Added {}\n")
    stubs.build(tree)
    changed = {path.name for path in outputs if (tree / path).stat().st_mtime_ns != before[path]}
    assert changed == {"options_pb2.py", "options_pb2.pyi", "descriptors.binpb"}


def test_a_proto_that_does_not_compile_keeps_the_stubs_and_says_where(tree: Path):
    outputs = stubs.build(tree)
    before = {path: (tree / path).read_bytes() for path in outputs}
    (tree / "protos/caravan/options/v1/options.proto").write_text('syntax = "proto3";\nmessage Half {')
    with pytest.raises(stubs.StubsError, match=r"options\.proto:2"):
        stubs.build(tree)
    assert {path: (tree / path).read_bytes() for path in outputs} == before


def test_the_stubs_of_a_removed_proto_go(tree: Path):
    extra = tree / "protos/caravan/extra/v1/extra.proto"
    extra.parent.mkdir(parents=True)
    extra.write_text('syntax = "proto3";\npackage caravan.extra.v1;\nmessage Extra {}\n')
    assert Path("caravan/extra/v1/extra_pb2.py") in stubs.build(tree)
    extra.unlink()
    stubs.build(tree)
    assert not (tree / "caravan/extra/v1/extra_pb2.py").exists()
