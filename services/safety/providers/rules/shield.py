"""A shield that follows rules."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from services.core.errors import InvalidArgumentError
from services.safety.expressions import MOST_INSTRUCTIONS, EncodedText, Expression, joined, quoted
from services.safety.parameters import LEVELS
from services.safety.ports import TextFinding, TextShield
from services.safety.providers.rules import languages
from services.safety.providers.rules.config import FindingRule, PatternRule, RulesParams, TopicRule
from services.safety.texts import Text, View

# Scripts that are written without blanks between words.
_UNSPACED = Expression(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
_EDGE_BEFORE, _EDGE_AFTER = r"(?:^|[^\pL\pM\pN_])", r"(?:$|[^\pL\pM\pN_])"
_LONGEST_GAP = 8
"""Blanks between the words of a phrase that are still a gap."""

Span = tuple[int, int]


class _Places:
    """Places in a text."""

    def __init__(self, spans: Iterable[Span]) -> None:
        ordered = sorted(spans)
        self._starts = [start for start, _ in ordered]
        self._furthest = list(accumulate((end for _, end in ordered), max))

    def hold(self, start: int, end: int) -> bool:
        """Whether one of them holds all of a place."""
        before = bisect_right(self._starts, start)
        return before > 0 and self._furthest[before - 1] >= end


@dataclass(frozen=True, slots=True)
class _Matcher:
    """A rule that looks for something."""

    rule: PatternRule | TopicRule
    expressions: Sequence[tuple[Expression, int]]
    """Each with the group that is what was found."""
    exceptions: Sequence[Expression] = ()

    def spans(self, text: EncodedText) -> Iterator[Span]:
        """Yields the bytes of what is found."""
        excepted = _Places(span for exception in self.exceptions for span in exception.spans(text))
        for expression, group in self.expressions:
            for span in expression.spans(text, group):
                if not excepted.hold(*span):
                    yield span


class RulesShield(TextShield):
    """Finds what breaks the rules. It looks at a text both normalized and with look-alike letters folded."""

    quick_chars = 20_000

    def __init__(self, params: RulesParams) -> None:
        """Compiles the rules.

        Args:
            params: The rules.

        Raises:
            InvalidArgumentError: A pattern is not one of RE2's, is too large or matches the empty text; a replacement breaks a rule;
                a language is not known.
        """
        self._params = params
        self._matchers = [
            *(_pattern_matcher(rule, f"params.deny[{at}]") for at, rule in enumerate(params.deny)),
            *(_topic_matcher(rule, f"params.topics[{at}]") for at, rule in enumerate(params.topics)),
        ]
        self._groups = _grouped(self._matchers)
        self._allow = _allowed(params)
        if params.languages is not None:
            languages.check(params.languages.allowed, "params.languages.allowed")
        self.overlap = self._overlap()
        self._check_replacements()

    def scan(self, text: Text) -> list[TextFinding]:
        """Finds what breaks the rules."""
        # Both views of a text show most of what is there.
        matches = {(one.start, one.end, one.category): one for view in _views(text) for one in self._matches(view)}
        found = list(matches.values())
        for check in (self._check_allow, self._check_length, self._check_language):
            finding = check(text)
            if finding is not None:
                found.append(finding)
        return found

    def _check_replacements(self) -> None:
        """Sees that masking twice is masking once."""
        kinds: list[tuple[str, Sequence[FindingRule]]] = [("deny", self._params.deny), ("topics", self._params.topics)]
        for kind, rules in kinds:
            for at, rule in enumerate(rules):
                if rule.replacement and any(
                    True for view in _views(Text(rule.replacement)) for _ in self._matches(view)
                ):
                    field = f"params.{kind}[{at}].replacement"
                    raise InvalidArgumentError.of(field, "breaks a rule itself: choose a text that no rule finds")

    def _overlap(self) -> int | None:
        params = self._params
        if params.allow or params.languages or (params.length and params.length.minimum):
            return None
        expressions = [
            expression
            for matcher in self._matchers
            if isinstance(matcher.rule, PatternRule)
            for expression in (*(one for one, _ in matcher.expressions), *matcher.exceptions)
        ]
        reaches = [params.longest_match if one.reach is None else one.reach for one in expressions]
        if None in reaches or any(one.has_anchor for one in expressions):
            return None
        longest = max((len(phrase) for topic in params.topics for phrase in topic.phrases), default=0)
        # A letter before and one behind tell whether a word is whole; an exception may begin before a match and end behind it.
        return 2 * max([longest * _LONGEST_GAP, *(reach for reach in reaches if reach is not None)]) + 2

    def _matches(self, view: View) -> Iterator[TextFinding]:
        encoded = EncodedText(view.text)
        for gate, matchers in self._groups:
            if not gate.found(encoded):
                continue
            for matcher in matchers:
                yield from _findings(matcher, view, encoded)

    def _check_allow(self, text: Text) -> TextFinding | None:
        rule = self._params.allow
        if rule is None or not text.original:
            return None
        encoded = EncodedText(text.normalized.text)
        if any(allowed.found(encoded) for allowed in self._allow):
            return None
        description = "The text is none of those that are allowed."
        return TextFinding(0, len(text), "not_allowed", description, level=LEVELS[rule.level])

    def _check_length(self, text: Text) -> TextFinding | None:
        rule = self._params.length
        if rule is None:
            return None
        length = text.offset + len(text)
        if rule.maximum is not None and text.offset <= rule.maximum < length:
            # One character: it is the same one however the text is cut.
            place = rule.maximum - text.offset
            description = f"The text is longer than {rule.maximum} characters."
            return TextFinding(place, place + 1, "too_long", description, level=LEVELS[rule.level])
        if length < rule.minimum:
            description = f"The text is shorter than {rule.minimum} characters."
            return TextFinding(0, len(text), "too_short", description, level=LEVELS[rule.level])
        return None

    def _check_language(self, text: Text) -> TextFinding | None:
        rule = self._params.languages
        if rule is None:
            return None
        read = text.normalized.text
        if sum(letter.isalpha() for letter in read[: languages.LONGEST]) < rule.minimum_letters:
            return None
        code, score = languages.language(read)
        if code in rule.allowed or score < rule.minimum_score:
            return None
        return TextFinding(
            0,
            len(text),
            "language",
            f"The text is in a language that is not allowed ({code}).",
            level=LEVELS[rule.level],
            score=score,
            metadata={"language": code},
        )


def _findings(matcher: _Matcher, view: View, encoded: EncodedText) -> Iterator[TextFinding]:
    rule = matcher.rule
    for start, end in matcher.spans(encoded):
        yield TextFinding(
            *view.span(encoded.code_point(start), encoded.code_point(end)),
            category=rule.name,
            description=rule.description or f"Breaks the rule {rule.name!r}.",
            level=LEVELS[rule.level],
            replacement=rule.replacement,
        )


def _grouped(matchers: Sequence[_Matcher]) -> list[tuple[Expression, list[_Matcher]]]:
    """Rules by what tells in one pass that none of some matches; a large one stands alone."""
    groups: list[tuple[list[_Matcher], list[Expression], int]] = []
    for matcher in matchers:
        own = [expression for expression, _ in matcher.expressions]
        size = sum(expression.instructions for expression in own)
        if groups and groups[-1][2] + size <= MOST_INSTRUCTIONS:
            together, expressions, before = groups.pop()
            groups.append(([*together, matcher], [*expressions, *own], before + size))
        else:
            groups.append(([matcher], own, size))
    return [(joined(expressions), together) for together, expressions, _ in groups]


def _views(text: Text) -> list[View]:
    normalized, folded = text.normalized, text.folded
    return [normalized] if folded.text == normalized.text else [normalized, folded]


def _pattern_matcher(rule: PatternRule, field: str) -> _Matcher:
    return _Matcher(
        rule,
        [(_given(rule.pattern, f"{field}.pattern", ignore_case=rule.ignore_case), 0)],
        [
            _given(exception, f"{field}.exceptions[{at}]", ignore_case=rule.ignore_case)
            for at, exception in enumerate(rule.exceptions)
        ],
    )


def _check_form(pattern: str, field: str) -> None:
    if r"\Q" in pattern:
        # Without its \E it would quote what a pattern is put into.
        raise InvalidArgumentError.of(field, r"has \Q: put a backslash before each sign instead", reason="PATTERN")
    normal = Text(pattern).normalized.text
    if normal != pattern:
        message = f"has characters that no normalized text has, and would not find them; normalized it is {normal!r}"
        raise InvalidArgumentError.of(field, message, reason="PATTERN")


def _given(pattern: str, field: str, *, ignore_case: bool) -> Expression:
    _check_form(pattern, field)
    expression = Expression(pattern, ignore_case=ignore_case, field=field, limit=MOST_INSTRUCTIONS)
    if expression.found(EncodedText("")):
        raise InvalidArgumentError.of(
            field, "matches the empty text, and so everywhere: ask for at least one character"
        )
    return expression


def _topic_matcher(rule: TopicRule, field: str) -> _Matcher:
    whole: list[str] = []
    anywhere: list[str] = []
    for at, phrase in enumerate(rule.phrases):
        form = Text(phrase).normalized.text
        if not form.strip():
            raise InvalidArgumentError.of(f"{field}.phrases[{at}]", "holds nothing that can be seen: give a word")
        (anywhere if _UNSPACED.found(EncodedText(form)) else whole).append(_phrase(form))
    expressions = []
    if whole:
        # The longest first: of alternatives that match, RE2 takes the first one.
        alternatives = "|".join(sorted(set(whole), key=len, reverse=True))
        expressions.append((Expression(f"{_EDGE_BEFORE}({alternatives}){_EDGE_AFTER}", ignore_case=True), 1))
    if anywhere:
        alternatives = "|".join(sorted(set(anywhere), key=len, reverse=True))
        expressions.append((Expression(f"({alternatives})", ignore_case=True), 1))
    return _Matcher(rule, expressions)


def _phrase(form: str) -> str:
    return f"\\s{{1,{_LONGEST_GAP}}}".join(quoted(word) for word in form.split())


def _allowed(params: RulesParams) -> list[Expression]:
    rule = params.allow
    if rule is None:
        return []
    expressions = []
    for at, pattern in enumerate(rule.patterns):
        field = f"params.allow.patterns[{at}]"
        _check_form(pattern, field)
        Expression(pattern, field=field)
        expressions.append(
            Expression(f"\\A(?:{pattern})\\z", ignore_case=rule.ignore_case, field=field, limit=MOST_INSTRUCTIONS)
        )
    return expressions
