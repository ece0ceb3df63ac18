"""From what a shield found to what its caller is told."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError
from services.core.status import status_of
from services.safety.masking import masked_messages
from services.safety.parameters import ShieldParams
from services.safety.ports import Level, Verdict

MOST_FINDINGS = 1000
"""Most findings that a result lists one by one."""
MASK = "[masked]"

INFO, WARN, ERROR = types_pb2.VIOLATION_LEVEL_INFO, types_pb2.VIOLATION_LEVEL_WARN, types_pb2.VIOLATION_LEVEL_ERROR

_CANNED: dict[Level, str] = {
    ERROR: "This content was blocked by a safety check: {description}.",
    WARN: "A safety check warns about this content: {description}.",
    INFO: "A safety check noted: {description}.",
}
_CANNOT_JUDGE = "This content was withheld, because it could not be checked. Please try again later."


def result_of(
    shield_id: str, verdict: Verdict, params: ShieldParams, messages: Sequence[types_pb2.Message]
) -> results_pb2.ShieldResult:
    """The result of a shield that has judged.

    Args:
        shield_id: The shield.
        verdict: What it says.
        params: Its parameters.
        messages: What it has judged.
    """
    result = results_pb2.ShieldResult(shield_id=shield_id)
    scores = [finding.score for finding in verdict.findings if finding.HasField("score")]
    score = verdict.score if verdict.score is not None else max(scores, default=None)
    if score is not None:
        result.score = score
    if not verdict.findings:
        return result
    findings = sorted(_listed(verdict.findings), key=lambda finding: -finding.violation_level)
    result.findings.extend(findings)
    result.violation.CopyFrom(_violation(shield_id, findings[0], len(verdict.findings), params))
    result.masked_messages.extend(masked_messages(messages, verdict.findings))
    return result


def failure_result(shield_id: str, error: CaravanError, *, fail_open: bool) -> results_pb2.ShieldResult:
    """The result of a shield that could not judge.

    Args:
        shield_id: The shield.
        error: Why it could not.
        fail_open: Lets the content pass, which `error` shows.
    """
    result = results_pb2.ShieldResult(shield_id=shield_id, error=status_of(error))
    if not fail_open:
        violation = types_pb2.SafetyViolation(violation_level=ERROR, user_message=_CANNOT_JUDGE)
        violation.metadata.update({"shield_id": shield_id, "category": "unjudged", "reason": error.reason})
        result.violation.CopyFrom(violation)
    return result


def user_message(finding: results_pb2.ShieldFinding, shield_id: str, template: str | None) -> str:
    """What to tell the user about a finding: the canned sentence of its level, or a template."""
    text = template or _CANNED.get(finding.violation_level, _CANNED[ERROR])
    description = finding.description or finding.category
    if template is None:
        description = description.rstrip(".")
    for name, value in (("category", finding.category), ("description", description), ("shield_id", shield_id)):
        text = text.replace(f"{{{name}}}", value)
    return text


def _violation(
    shield_id: str, worst: results_pb2.ShieldFinding, count: int, params: ShieldParams
) -> types_pb2.SafetyViolation:
    violation = types_pb2.SafetyViolation(
        violation_level=worst.violation_level, user_message=user_message(worst, shield_id, params.user_message)
    )
    details: dict[str, Any] = {"shield_id": shield_id, "category": worst.category, "findings": count}
    if worst.HasField("score"):
        details["score"] = worst.score
    if worst.HasField("location"):
        place = worst.location
        details["location"] = {
            "message_index": place.message_index,
            "item_index": place.item_index,
            "start": place.start,
            "end": place.end,
            **({"call_id": place.call_id} if place.call_id else {}),
        }
    violation.metadata.update(details)
    return violation


def _listed(findings: Sequence[results_pb2.ShieldFinding]) -> Sequence[results_pb2.ShieldFinding]:
    """The findings to list.

    Beyond the most there are, those of one piece become one that covers them all: a caller that masks by what is listed masks too much
    rather than too little.
    """
    if len(findings) <= MOST_FINDINGS:
        return findings
    kept = list(findings[:MOST_FINDINGS])
    rest: defaultdict[tuple[int, int, str], list[results_pb2.ShieldFinding]] = defaultdict(list)
    for finding in findings[MOST_FINDINGS:]:
        place = finding.location
        rest[place.message_index, place.item_index, place.call_id].append(finding)
    return [*kept, *(_covering(found) for found in rest.values())]


def _covering(findings: Sequence[results_pb2.ShieldFinding]) -> results_pb2.ShieldFinding:
    worst = max(findings, key=lambda finding: finding.violation_level)
    covering = results_pb2.ShieldFinding(
        category=worst.category,
        description=f"{len(findings)} further findings",
        violation_level=worst.violation_level,
    )
    if any(finding.HasField("location") for finding in findings):
        covering.location.CopyFrom(worst.location)
        covering.location.start = min(finding.location.start for finding in findings)
        covering.location.end = max(finding.location.end for finding in findings)
    if any(finding.HasField("replacement") for finding in findings):
        covering.replacement = MASK
    return covering
