"""Builds from `protos/` what the packages import: Python stubs with their types, and one descriptor image.

`python tools/stubs.py` builds in place, and only when an input has changed; the package build (`hatch_build.py`) does the same.
The outputs are git-ignored:

- `caravan/<api>/v1/*_pb2.py`, `*_pb2_grpc.py` and `.pyi` for both;
- `buf/validate/validate_pb2.py` and `.pyi`, which the stubs import;
- `caravan/descriptors.binpb`, a `google.protobuf.FileDescriptorSet` of all files with their imports and comments.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE = Path("caravan/descriptors.binpb")
VALIDATE = "buf/validate/validate.proto"
# Names of the distributions whose version shapes the output.
GENERATORS = ("grpcio-tools", "mypy-protobuf", "protovalidate", "googleapis-common-protos")


class StubsError(Exception):
    """The protos do not compile; the message is protoc's. The stubs built before are still in place."""


def build(root: Path = ROOT) -> list[Path]:
    """Builds the stubs and the descriptor image of the tree at `root`, unless they are up to date.

    Args:
        root: Directory that holds `protos/`.

    Returns:
        The paths of all outputs, relative to `root`.

    Raises:
        StubsError: protoc refused an input.
    """
    with _one_build_at_a_time(root):
        stamp = root / "caravan" / ".stubs"
        digest = _digest(root)
        if stamp.exists():
            built, *names = stamp.read_text().splitlines()
            outputs = [Path(name) for name in names]
            if built == digest and all((root / output).exists() for output in outputs):
                return outputs
        with tempfile.TemporaryDirectory(prefix=".stubs-", dir=root) as scratch:
            staging = Path(scratch) / "out"
            _generate(root, Path(scratch), staging)
            outputs = _publish(staging, root)
        stamp.write_text("\n".join([digest, *map(str, outputs)]) + "\n")
        return outputs


def _generate(root: Path, scratch: Path, staging: Path) -> None:
    staging.mkdir()
    (staging / IMAGE).parent.mkdir()
    protos = sorted(str(path.relative_to(root / "protos")) for path in (root / "protos").rglob("*.proto"))
    rules = scratch / "validate.binpb"
    rules.write_bytes(_validate_descriptors())
    sources = [f"--descriptor_set_in={rules}", f"-I{root / 'protos'}", *(f"-I{folder}" for folder in _imports())]
    mypy = _plugin(scratch, "mypy", "main")
    mypy_grpc = _plugin(scratch, "mypy_grpc", "grpc")
    _protoc(*sources, mypy, f"--python_out={staging}", f"--mypy_out=quiet:{staging}", *protos, VALIDATE)
    # Concrete servicers: a method that a service does not override answers UNIMPLEMENTED.
    typed = f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{staging}"
    _protoc(*sources, mypy_grpc, f"--grpc_python_out={staging}", typed, *protos)
    _protoc(*sources, "--include_imports", "--include_source_info", f"--descriptor_set_out={staging / IMAGE}", *protos)


def _protoc(*arguments: str) -> None:
    # Another process: protoc keeps global state, and its messages go to the real stderr.
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StubsError(done.stderr.strip())


def _plugin(scratch: Path, kind: str, entry: str) -> str:
    """Makes an entry point of mypy-protobuf a protoc plugin, whichever environment this interpreter runs in."""
    launcher = scratch / f"protoc-gen-{kind}"
    program = f"from mypy_protobuf.main import {entry}; {entry}()"
    launcher.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(program)}\n")
    launcher.chmod(0o755)
    return f"--plugin=protoc-gen-{kind}={launcher}"


def _imports() -> list[Path]:
    """Directories of the imports that come with packages: google/protobuf and google/api."""
    folders = []
    for package, levels in (("grpc_tools._proto", 0), ("google.api", 2)):
        spec = importlib.util.find_spec(package)
        locations = list(spec.submodule_search_locations or []) if spec else []
        if not locations:
            message = f"{package} is missing: install grpcio-tools and googleapis-common-protos"
            raise StubsError(message)
        folders.append(Path(locations[0]).parents[levels - 1] if levels else Path(locations[0]))
    return folders


def _validate_descriptors() -> bytes:
    """Returns validate.proto and its imports as a serialized FileDescriptorSet.

    protovalidate ships no validate.proto, only a module generated from it for another protobuf runtime; its descriptor is the same.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, timestamp_pb2
    from protovalidate._gen.buf.validate import validate_pb

    del duration_pb2, field_mask_pb2, timestamp_pb2  # imported so that the pool below knows their files
    rules = descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())
    image = descriptor_pb2.FileDescriptorSet()
    pool = descriptor_pool.Default()
    for name in rules.dependency:
        pool.FindFileByName(name).CopyToProto(image.file.add())
    image.file.append(rules)
    return image.SerializeToString()


def _publish(staging: Path, root: Path) -> list[Path]:
    """Moves what has changed to its place and removes stubs of protos that are gone."""
    outputs = sorted(path.relative_to(staging) for path in staging.rglob("*") if path.is_file())
    for output in outputs:
        target = root / output
        if not target.exists() or target.read_bytes() != (staging / output).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / output).replace(target)
    for stale in {path.relative_to(root) for path in (root / "caravan").glob("*/v*/*_pb2*.py*")} - set(outputs):
        (root / stale).unlink()
    return outputs


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for name in GENERATORS:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    for path in [Path(__file__), *sorted((root / "protos").rglob("*.proto"))]:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _one_build_at_a_time(root: Path) -> Iterator[None]:
    folder = os.open(root / "protos", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    try:
        build()
    except StubsError as error:
        sys.exit(f"{error}\nThe protos do not compile; the stubs are as they were.")
