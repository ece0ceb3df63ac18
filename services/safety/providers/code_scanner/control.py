"""The positive control: insecure code of every language that the scanner must find. A scanner that finds nothing looks like safe code."""

from collections.abc import Sequence

from services.core.errors import CaravanError
from services.safety.providers.code_scanner.rulebook import rulebook
from services.safety.providers.code_scanner.workers import Job, Scanners

_BANDIT = {
    # A test of each kind that bandit has: on calls, on arguments, on imports, on statements, on texts.
    "B307": "eval(text)\n",
    "B602": "import subprocess\nsubprocess.run(command, shell=True)  # nosec\n",
    "B324": "import hashlib\nhashlib.md5(data)\n",
    "B301": "import pickle\npickle.loads(data)\n",
    "B501": "import requests\nrequests.get(url, verify=False)\n",
    "B608": "query = \"SELECT * FROM t WHERE id = '%s'\" % id\ncursor.execute(query)\n",
}


def missed(scanners: Scanners, seconds: float) -> list[str]:
    """Returns the rules that do not find what they must; each as `language: rule`.

    Args:
        scanners: What scans.
        seconds: Longest time for all of it.
    """
    expected = list(_expected())
    jobs: Sequence[Job] = [(language, code) for language, _, code in expected]
    try:
        answers = scanners.scan(jobs, seconds)
    except CaravanError as error:
        return [f"everything: {error.message}"]
    return [
        f"{language}: {rule_id}"
        for (language, rule_id, _), issues in zip(expected, answers, strict=True)
        if rule_id not in {issue.rule_id for issue in issues}
    ]


def _expected() -> list[tuple[str, str, str]]:
    """Language, rule and code of everything that must be found."""
    found = [("python", rule_id, code) for rule_id, code in _BANDIT.items()]
    for language, rules in rulebook().items():
        # What bandit cannot parse goes to the rules of Python.
        broken = "\n)(\n" if language == "python" else ""
        found += [(language, rule.rule_id, rule.bad + broken) for rule in rules]
    return found
