"""What is searched: Caravan's own pages, and the comments of its contract."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGES = ("README.md", "docs/*.md")
CONTRACT = "protos/caravan/*/v1/*.proto"
# docs/api.md is made of the contract's comments, which are there already.
_LEFT_OUT = ("docs/api.md",)
_TABLES = re.compile(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", re.DOTALL)
_DECLARED = re.compile(r"^\s*(?:(service|message|enum|rpc|oneof)\s+(\w+)|(?:[\w.<>, ]+\s)?(\w+)\s*=\s*\d+)")

# What names something in these pages: code in backticks, words with humps, words in capitals, capitals within a sentence, texts of links.
_NAMES = (
    re.compile(r"`([^`\n]{2,60})`"),
    re.compile(r"\b(\w*[a-z]\w*[A-Z]\w*)\b"),
    re.compile(r"\b([A-Z][A-Z0-9_]{2,})\b"),
    re.compile(r"(?<=[a-z,(] )([A-Z][a-z]{3,})\b"),
    re.compile(r"\[([^\]\n]{2,40})\]\("),
)
_WORD = re.compile(r"[a-z0-9]+")
_MOST_WORDS = 4
_MOST_PASSAGES = 40


def documents(root: Path) -> dict[str, str]:
    """Reads the pages and the contract's comments; measured figures are left out.

    Args:
        root: Folder of the repository.

    Returns:
        Texts by path.
    """
    pages = sorted(path for pattern in PAGES for path in root.glob(pattern))
    texts = {_name(path, root): _TABLES.sub("", path.read_text()) for path in pages}
    texts |= {_name(path, root): _comments(path.read_text()) for path in sorted(root.glob(CONTRACT))}
    return {name: text for name, text in texts.items() if name not in _LEFT_OUT}


def entities(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Finds names in texts, by their form alone: no model is asked.

    Args:
        texts: Texts by path.

    Returns:
        The names that stand in each text. What stands once, or in most places, joins nothing and is left out.
    """
    names = {name.strip(" .,:;()") for text in texts.values() for form in _NAMES for name in form.findall(text)}
    by_words = {words: name for name in sorted(names) if 0 < len(words := _words(name)) <= _MOST_WORDS}
    passages = [(path, _words(passage)) for path, text in texts.items() for passage in re.split(r"\n\s*\n", text)]
    found: dict[tuple[str, ...], Counter[str]] = {}
    for path, words in passages:
        for name in {words[at : at + n] for n in range(1, _MOST_WORDS + 1) for at in range(len(words) - n + 1)}:
            if name in by_words:
                found.setdefault(name, Counter())[path] += 1
    joining = {by_words[words]: counts for words, counts in found.items() if 1 < counts.total() <= _MOST_PASSAGES}
    return {path: sorted(name for name, counts in joining.items() if path in counts) for path in texts}


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def _comments(source: str) -> str:
    """Returns a .proto file as a text: each declaration's name and what is said of it."""
    lines: list[str] = []
    comment: list[str] = []
    for line in source.splitlines():
        stripped = line.strip()
        if stripped.startswith("//"):
            comment.append(stripped.removeprefix("//").strip())
            continue
        declared = _DECLARED.match(line)
        if comment:
            lines.append(_said(declared, " ".join(comment)))
        comment = []
    return "\n".join(lines) + "\n"


def _said(declared: re.Match[str] | None, comment: str) -> str:
    if declared is None:
        return comment
    kind, name, field = declared.groups()
    if kind in ("service", "message", "enum"):
        return f"\n## {kind} {name}\n\n{comment}"
    return f"{name or field}: {comment}"


def standing_in(words: str, text: str) -> bool:
    """Tells whether words stand in a text, whatever white space is between them."""
    return " ".join(words.split()) in " ".join(text.split())


def missing(passages: Sequence[tuple[str, str]], texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns those of some passages that do not stand where they should."""
    return [(path, words) for path, words in passages if not standing_in(words, texts.get(path, ""))]
