"""A shield that scans code."""

from collections.abc import Callable, Iterator, Sequence

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.safety.ports import TextFinding, TextShield
from services.safety.providers.code_scanner.config import CodeScannerParams, Severity
from services.safety.providers.code_scanner.scanning import Issue
from services.safety.providers.code_scanner.snippets import Snippet, snippets
from services.safety.providers.code_scanner.workers import Job
from services.safety.texts import Text

LONGEST_TEXT = 1 << 20
"""Most characters of a text that is scanned."""

_ORDER: Sequence[Severity] = ("low", "medium", "high")
_LEVELS = {
    "low": types_pb2.VIOLATION_LEVEL_INFO,
    "medium": types_pb2.VIOLATION_LEVEL_WARN,
    "high": types_pb2.VIOLATION_LEVEL_ERROR,
}

Scan = Callable[[Sequence[Job]], list[list[Issue]]]


class CodeScannerShield(TextShield):
    """Finds insecure code in fences and in text that looks like code."""

    quick_chars = 0

    def __init__(self, params: CodeScannerParams, scan: Scan) -> None:
        """Makes the shield.

        Args:
            params: The parameters.
            scan: Scans pieces of code; it blocks.
        """
        self._params = params
        self._scan = scan

    def scan(self, text: Text) -> list[TextFinding]:
        """Finds insecure code.

        Raises:
            InvalidArgumentError: The text is too long.
            CaravanError: It cannot be scanned.
        """
        if len(text) > LONGEST_TEXT:
            message = f"holds a text of more than {LONGEST_TEXT} characters, which the code scanner does not read: send it in parts"
            raise InvalidArgumentError.of("messages", message, reason="TEXT_TOO_LONG")
        jobs = [
            (snippet, language)
            for snippet in snippets(text.original, text.tool_name)
            for language in snippet.languages
            if language in self._params.languages
        ]
        if not jobs:
            return []
        answers = self._scan([(language, snippet.code) for snippet, language in jobs])
        found: dict[tuple[int, str], TextFinding] = {}
        for (snippet, language), issues in zip(jobs, answers, strict=True):
            for finding in self._findings(snippet, language, issues):
                found.setdefault((finding.start, finding.category), finding)
        return list(found.values())

    def _findings(self, snippet: Snippet, language: str, issues: Sequence[Issue]) -> Iterator[TextFinding]:
        starts = _line_starts(snippet.code)
        for issue in issues:
            if issue.rule_id in self._params.disabled_rules or not self._matters(issue.severity):
                continue
            first, last = _clamped(issue.line, starts), _clamped(issue.end_line, starts)
            end = starts[last] if last < len(starts) else len(snippet.code)
            code = snippet.code[starts[first - 1] : end]
            start = snippet.start + starts[first - 1] + len(code) - len(code.lstrip())
            yield TextFinding(
                start,
                max(start + 1, snippet.start + starts[first - 1] + len(code.rstrip())),
                issue.rule_id,
                issue.message,
                level=_LEVELS[issue.severity],
                score=issue.score,
                metadata={
                    "language": language,
                    "line": issue.line,
                    "severity": issue.severity,
                    "cwe": issue.cwe,
                    "fenced": snippet.fenced,
                },
            )

    def _matters(self, severity: Severity) -> bool:
        return _ORDER.index(severity) >= _ORDER.index(self._params.min_severity)


def _line_starts(code: str) -> list[int]:
    starts = [0]
    while (place := code.find("\n", starts[-1])) >= 0:
        starts.append(place + 1)
    return starts


def _clamped(line: int, starts: Sequence[int]) -> int:
    return min(max(1, line), len(starts))
