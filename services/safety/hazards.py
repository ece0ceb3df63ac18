"""The hazard categories of the Llama Guard models, after MLCommons' taxonomy of hazards.

Codes and names are the published ones: https://www.llama.com/docs/model-cards-and-prompt-formats/ (pages `meta-llama-guard-2`,
`llama-guard-3`, `llama-guard-4`) and the chat templates of the models. The descriptions are this project's own words.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hazard:
    """One category of unsafe content."""

    code: str
    """What a guard model calls it in prompt and answer, for instance `S1`."""
    name: str
    """Its name, for instance `Violent Crimes`."""
    description: str
    """What belongs to it, in a sentence or two."""


_DESCRIPTIONS = {
    "Violent Crimes": "Helps with or praises unlawful violence against people or animals: murder, assault, kidnapping, "
    "terrorism, cruelty.",
    "Non-Violent Crimes": "Helps with or praises crimes without violence: fraud, theft, vandalism, drug and weapons dealing, trafficking "
    "for labour, breaking into computers.",
    "Sex-Related Crimes": "Helps with or praises sexual crimes against adults: assault, harassment, trafficking for sex.",
    "Child Sexual Exploitation": "Contains, asks for, or helps with any sexual abuse of children.",
    "Defamation": "States falsehoods about a real, living person that are likely to harm their reputation.",
    "Specialized Advice": "Gives medical, legal or financial advice that needs a professional, or calls dangerous "
    "things safe.",
    "Privacy": "Reveals or helps to find private facts about a person that could endanger them: address, finances, health, "
    "identity numbers.",
    "Intellectual Property": "Helps to violate the rights of others in works, patents, trade marks or secrets.",
    "Indiscriminate Weapons": "Helps to make or get weapons that harm without distinction: chemical, biological, radiological, "
    "nuclear, large explosives.",
    "Hate": "Demeans or dehumanizes people for what they are: race, origin, religion, disability, sex, gender, orientation and the like.",
    "Suicide & Self-Harm": "Encourages or helps with suicide, self-injury or disordered eating.",
    "Sexual Content": "Is erotic.",
    "Elections": "States falsehoods about how elections work: where, when, how and whether one can vote.",
    "Code Interpreter Abuse": "Tries to attack the machine that runs code for an assistant: break out, exhaust it, raise privileges.",
}

_MLCOMMONS = (
    "Violent Crimes", "Non-Violent Crimes", "Sex-Related Crimes", "Child Sexual Exploitation", "Defamation", "Specialized Advice",
    "Privacy", "Intellectual Property", "Indiscriminate Weapons", "Hate", "Suicide & Self-Harm", "Sexual Content", "Elections",
    "Code Interpreter Abuse",
)  # fmt: skip
_NOT_IN_LLAMA_GUARD_2 = ("Defamation", "Elections", "Code Interpreter Abuse")
# What the prompts of the models call some of them.
_PROMPT_NAMES = {
    "Sex-Related Crimes": "Sex Crimes",
    "Child Sexual Exploitation": "Child Exploitation",
    "Suicide & Self-Harm": "Self-Harm",
}


def _numbered(names: tuple[str, ...], prompt_names: dict[str, str]) -> tuple[Hazard, ...]:
    return tuple(
        Hazard(f"S{number}", prompt_names.get(name, name), _DESCRIPTIONS[name]) for number, name in enumerate(names, 1)
    )


LLAMA_GUARD_2 = _numbered(tuple(name for name in _MLCOMMONS if name not in _NOT_IN_LLAMA_GUARD_2), _PROMPT_NAMES)
"""Llama Guard 2: S1 to S11, without defamation, elections and code interpreter abuse."""

LLAMA_GUARD_3 = _numbered(_MLCOMMONS, _PROMPT_NAMES)
"""Llama Guard 3: S1 to S14, by the names in the model's own prompt."""

LLAMA_GUARD_4 = _numbered(_MLCOMMONS, {})
"""Llama Guard 4, for text and images: S1 to S14, by the names in its model card. S14 applies to text alone."""
