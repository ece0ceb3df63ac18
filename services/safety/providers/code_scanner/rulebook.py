"""The rules of `rules/*.yaml`: what ast-grep and RE2 look for in each language, with code that is bad and code that is good."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.safety.providers.code_scanner.config import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    rule_id: str
    """Its name, for instance `js-eval`."""
    cwe: str
    """Weakness that it finds, https://cwe.mitre.org."""
    severity: Severity
    """How bad that is."""
    message: str
    """What is wrong with what it finds."""
    bad: str
    """Code in which it finds something: the positive control."""
    good: str
    """Code that looks like it and is safe."""
    tree: Mapping[str, Any] | None = None
    """ast-grep's rule and constraints."""
    pattern: str = ""
    """RE2 expression for languages without a tree."""
    without: str = ""
    """Expression of what must not be in the statement."""


@cache
def rulebook() -> Mapping[str, tuple[Rule, ...]]:
    """Returns the rules by language."""
    book: dict[str, tuple[Rule, ...]] = {}
    for path in sorted((Path(__file__).parent / "rules").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        rules = tuple(_rule(entry) for entry in content["rules"])
        for language in content["languages"]:
            book[language] = book.get(language, ()) + rules
    return book


def _rule(entry: Mapping[str, Any]) -> Rule:
    tree = {key: entry[key] for key in ("rule", "constraints") if key in entry}
    return Rule(
        rule_id=entry["id"],
        cwe=entry["cwe"],
        severity=entry["severity"],
        message=entry["message"],
        bad=entry["bad"],
        good=entry["good"],
        tree=tree or None,
        pattern=entry.get("pattern", ""),
        without=entry.get("without", ""),
    )
