"""Makes the sync client (`caravan/_sync`) from the async one (`caravan/_async`), so that both always do the same.

`python tools/sync_client.py` writes the files; with `--check` it only tells whether they are up to date.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "caravan" / "_async"
TARGET = ROOT / "caravan" / "_sync"
INIT = '"""The sync client, made from `caravan/_async` by `tools/sync_client.py`. Do not edit."""\n'
NOTICE = "# Made from {source} by tools/sync_client.py. Do not edit.\n"
# In this order: longer forms first.
RULES = [
    (r"\bAsyncGenerator\[(.+?), None\]", r"Generator[\1, None, None]"),
    (r"Awaitable\[(\w+)\]", r"\1"),
    (r"import AsyncGenerator, Awaitable, ", "import Generator, "),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bgrpc\.aio\.AioRpcError\b", "grpc.RpcError"),
    (r"\bgrpc\.aio\.", "grpc."),
    (r"^import asyncio$", "import time"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\baclosing\b", "closing"),
    (r"\b__a(iter|enter|exit)__\b", r"__\1__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"  # noqa: ASYNC\d+", ""),
    (r", for asyncio\.", "."),
    (r"\b_async\b", "_sync"),
    (r"\bAsync([A-Z]\w*)\b", r"\1"),
]


def make() -> dict[Path, str]:
    """Returns the sync files by their path."""
    files = {TARGET / "__init__.py": INIT}
    for source in sorted(SOURCE.glob("*.py")):
        if source.name != "__init__.py":
            files[TARGET / source.name] = _formatted(_translated(source))
    return files


def _translated(source: Path) -> str:
    text = source.read_text()
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    text = re.sub(r"for (\w+) in (.+):\n +yield \1\n", r"yield from \2\n", text)
    # (await x).y leaves parentheses behind
    text = re.sub(r"\((self\._calls\.unary\((?:[^()]|\([^()]*\))*\))\)\.", r"\1.", text)
    return NOTICE.format(source=source.relative_to(ROOT)) + text


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    sort = [*ruff, "check", "--quiet", "--select", "I", "--fix", "--stdin-filename", str(TARGET / "file.py"), "-"]
    text = subprocess.run(sort, input=text, capture_output=True, text=True, check=True).stdout
    form = [*ruff, "format", "--quiet", "--stdin-filename", str(TARGET / "file.py"), "-"]
    return subprocess.run(form, input=text, capture_output=True, text=True, check=True).stdout


def stale() -> list[Path]:
    """Returns the files that are not as they should be."""
    files = make()
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    return wrong + [path for path in TARGET.glob("*.py") if path not in files]


def write() -> None:
    """Writes the sync files."""
    TARGET.mkdir(exist_ok=True)
    files = make()
    for path in TARGET.glob("*.py"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.write_text(text)


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        write()
    elif wrong := stale():
        sys.exit(
            "out of date: " + ", ".join(str(path.relative_to(ROOT)) for path in wrong) + "; run tools/sync_client.py"
        )
