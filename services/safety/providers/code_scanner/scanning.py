"""Scanning one piece of code: bandit for Python, ast-grep for what has a tree, RE2 for SQL. Runs in a process of its own."""

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from ast_grep_py import Config as TreeConfig
from ast_grep_py import SgNode, SgRoot
from bandit.core.config import BanditConfig
from bandit.core.manager import BanditManager
from bandit.core.node_visitor import BanditNodeVisitor

from services.safety.expressions import EncodedText, Expression
from services.safety.providers.code_scanner.config import Severity
from services.safety.providers.code_scanner.rulebook import Rule, rulebook

# Control characters that make code read differently from how it runs: https://trojansource.codes.
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SEVERITIES: Mapping[str, Severity] = {"LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_CONFIDENCES = {"LOW": 0.3, "MEDIUM": 0.6, "HIGH": 0.9, "UNDEFINED": 0.3}
_BY_TREE = 0.8


@dataclass(frozen=True, slots=True)
class Issue:
    """Something insecure."""

    rule_id: str
    """The rule that found it, for instance `B602` or `js-eval`."""
    line: int
    """Its first line in the code, from 1."""
    end_line: int
    """Its last line."""
    severity: Severity
    """How bad it is."""
    message: str
    """What is wrong."""
    cwe: str
    """The weakness, for instance `CWE-78`."""
    score: float
    """How sure the rule is."""


def scan(language: str, code: str) -> list[Issue]:
    """Returns what is insecure in code, in the order of its lines.

    Args:
        language: One of `LANGUAGES`.
        code: The code.
    """
    # Half a surrogate pair has no UTF-8.
    code = code.encode(errors="replace").decode()
    scanners: Mapping[str, Callable[[str], Iterator[Issue]]] = {"python": _python, "sql": _sql}
    found = list(scanners[language](code) if language in scanners else _tree(language, code))
    found += _bidirectional(code)
    unique = {(issue.rule_id, issue.line): issue for issue in found}
    return sorted(unique.values(), key=lambda issue: (issue.line, issue.rule_id))


def _python(code: str) -> Iterator[Issue]:
    manager = _bandit()
    data = code.encode()
    manager.metrics.begin("code")
    # No lines are excused: a model must not switch the scanner off by `# nosec`.
    visitor = BanditNodeVisitor("code", io.BytesIO(data), manager.b_ma, manager.b_ts, False, {}, manager.metrics)
    try:
        visitor.process(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Not Python to the parser: half a function, a doctest, Python 2.
        yield from _tree("python", code)
        return
    for issue in visitor.tester.results:
        yield Issue(
            issue.test_id,
            issue.lineno,
            max([issue.lineno, *issue.linerange]),
            _SEVERITIES.get(issue.severity, "low"),
            issue.text,
            f"CWE-{issue.cwe.id}" if issue.cwe.id else "",
            _CONFIDENCES[issue.confidence],
        )


@cache
def _bandit() -> Any:
    logging.getLogger("bandit").setLevel(logging.CRITICAL)
    return BanditManager(BanditConfig(), "file", quiet=True)


def _tree(language: str, code: str) -> Iterator[Issue]:
    code, added = _completed(language, code)
    root = SgRoot(code, language).root()
    for rule in rulebook()[language]:
        for node in root.find_all(cast("TreeConfig", rule.tree)):
            yield _issue(rule, *_lines(node, added))


def _completed(language: str, code: str) -> tuple[str, int]:
    """Code with the lines before it that its grammar needs, and their number."""
    if language == "php" and "<?" not in code:
        return f"<?php\n{code}", 1
    if language == "go" and "package " not in code:
        return (f"package p\n{code}", 1) if "func " in code else (f"package p\nfunc f() {{\n{code}\n}}", 2)
    return code, 0


def _lines(node: SgNode, added: int) -> tuple[int, int]:
    place = node.range()
    return place.start.line + 1 - added, place.end.line + 1 - added


def _issue(rule: Rule, line: int, end_line: int) -> Issue:
    return Issue(rule.rule_id, line, end_line, rule.severity, rule.message, rule.cwe, _BY_TREE)


def _sql(code: str) -> Iterator[Issue]:
    for line, end_line, statement in _statements(code):
        encoded = EncodedText(statement)
        for rule, finds, excuses in _sql_rules():
            if finds.found(encoded) and not (excuses and excuses.found(encoded)):
                yield _issue(rule, line, end_line)


@cache
def _sql_rules() -> tuple[tuple[Rule, Expression, Expression | None], ...]:
    return tuple(
        (rule, Expression(rule.pattern), Expression(rule.without) if rule.without else None)
        for rule in rulebook()["sql"]
    )


def _statements(code: str) -> Iterator[tuple[int, int, str]]:
    """Yields first line, last line and text of the statements, without comments."""
    kept: list[str] = []
    line = first = 1
    place = 0
    while place < len(code):
        letter, two = code[place], code[place : place + 2]
        if two in ("--", "/*"):
            # A comment ends at the line's end, or at its closing mark.
            mark = "\n" if two == "--" else "*/"
            end = code.find(mark, place + 2)
            end = len(code) if end < 0 else end + (0 if two == "--" else 2)
        elif letter in "'\"":
            end = code.find(letter, place + 1)
            end = len(code) if end < 0 else end + 1
            kept.append(code[place:end])
        elif letter == ";":
            yield first, line, "".join(kept)
            kept, end = [], place + 1
        else:
            end = place + 1
            kept.append(letter)
        line += code.count("\n", place, end)
        if not "".join(kept[:64]).strip():
            kept, first = [], line
        place = end
    yield first, line, "".join(kept)


def _bidirectional(code: str) -> Iterator[Issue]:
    for number, line in enumerate(code.split("\n"), 1):
        if not _BIDIRECTIONAL.isdisjoint(line):
            message = "Control characters make the code read differently from how it runs."
            yield Issue("bidirectional-controls", number, number, "high", message, "CWE-1007", 0.9)
