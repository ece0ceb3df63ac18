"""The archives that go into a sandbox and come out of it. What comes out is the untrusted code's: bounded, and only ever kept in memory."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from services.agents.tools.code_interpreter.sandbox import SandboxLimits


def pack(code: str, files: Mapping[str, bytes]) -> bytes:
    """Packs what goes in.

    Args:
        code: Python.
        files: Content by name.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "code", code.encode(errors="replace"))
        for name, content in files.items():
            _add(archive, f"files/{safe_name(name)}", content)
    return packed.getvalue()


def unpack(source: io.BytesIO, limits: SandboxLimits) -> tuple[int | None, dict[str, bytes], list[str]]:
    """Reads what came out.

    Args:
        source: The archive; it may be cut off, or anything else.
        limits: How much to take.

    Returns:
        The exit status (None: none came), the files by name, and what was left out.
    """
    status: int | None = None
    files: dict[str, bytes] = {}
    notes: list[str] = []
    room = limits.files_bytes
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                if member.name == "exit":
                    status = int(content.read(16))
                elif member.size > room or len(files) >= limits.files:
                    notes.append(f"the file {safe_name(member.name)} was left out: too many or too large")
                    if len(notes) > limits.files:
                        break
                else:
                    room -= member.size
                    files[safe_name(member.name.removeprefix("files/"))] = content.read()
    except (tarfile.TarError, ValueError, EOFError, OSError):
        if status is not None:
            notes.append("the files that came back were cut off")
    return status, files, notes


def safe_name(name: str) -> str:
    """A relative path without steps upwards, of printable characters.

    Args:
        name: Any text.
    """
    printable = "".join(character for character in name if character.isprintable())
    parts = [part for part in PurePosixPath(printable).parts if part not in ("/", "..", ".")]
    return "/".join(parts)[-255:] or "file"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
