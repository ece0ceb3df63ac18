"""Texts written by hand, few and hard: what people would want found, whether or not a shield can."""

from pathlib import Path

import yaml

from benchmarks.shields.cases import Case


def by_hand(shield: str) -> list[Case]:
    """Returns the texts for a shield.

    Args:
        shield: Its name.
    """
    content = yaml.safe_load((Path(__file__).parent / "by_hand.yaml").read_text())[shield]
    return [
        Case(text, "missed" if bad else "false alarm", bad=bad)
        for bad, texts in ((True, content["bad"]), (False, content["safe"]))
        for text in texts
    ]
