"""Configuration and parameters of `inline::rules`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.safety.parameters import LevelName, ShieldParams
from services.safety.provider import ShieldProviderConfig

Pattern = Annotated[str, Field(min_length=1, max_length=4096)]
Phrase = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]


class Rule(BaseModel):
    """What all rules have."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    level: LevelName = "error"
    """How severe it is when the rule is broken."""


class FindingRule(Rule):
    """What rules have that look for something."""

    name: Name
    """Category of the findings."""
    description: str = Field(default="", max_length=500)
    """What the category means. Default: the name."""
    replacement: str | None = Field(default=None, max_length=200)
    """Text to stand in for what is found. Default: it stays."""


class PatternRule(FindingRule):
    """Text that a pattern finds must not be there."""

    pattern: Pattern
    """Regular expression in RE2's syntax (no lookaround, no backreferences)."""
    ignore_case: bool = True
    """Upper and lower case are the same."""
    exceptions: list[Pattern] = Field(default_factory=list, max_length=64)
    """Expressions for text in which the pattern may match."""


class TopicRule(FindingRule):
    """Words and phrases that must not be there, as whole words, in upper or lower case."""

    phrases: list[Phrase] = Field(min_length=1, max_length=10_000)
    """The words and phrases."""


class AllowRule(Rule):
    """The whole text must match one of some patterns."""

    patterns: list[Pattern] = Field(min_length=1, max_length=256)
    """Regular expressions in RE2's syntax."""
    ignore_case: bool = True
    """Upper and lower case are the same."""


class LengthRule(Rule):
    """A text's length in code points."""

    minimum: int = Field(default=0, ge=0)
    """Least."""
    maximum: int | None = Field(default=None, ge=1)
    """Most. Default: any length."""

    @model_validator(mode="after")
    def _is_possible(self) -> "LengthRule":
        if self.maximum is not None and self.maximum < self.minimum:
            message = "length.maximum is less than length.minimum: no text would fit"
            raise ValueError(message)
        return self


class LanguageRule(Rule):
    """The languages that a text may be in."""

    allowed: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] = Field(min_length=1, max_length=100)
    """ISO 639-1 codes, for instance `en`."""
    minimum_letters: int = Field(default=20, ge=1)
    """Letters that a text needs to have; shorter ones are not judged by their language."""
    minimum_score: float = Field(default=0.7, ge=0, le=1)
    """How sure the identifier has to be that the text is in another language."""


class RulesParams(ShieldParams):
    """Parameters of a shield that follows rules; it needs at least one."""

    deny: list[PatternRule] = Field(default_factory=list, max_length=256)
    """Patterns of text that must not be there."""
    topics: list[TopicRule] = Field(default_factory=list, max_length=64)
    """Words and phrases that must not be there."""
    allow: AllowRule | None = None
    """Patterns of which every text must match one as a whole. Default: any text."""
    length: LengthRule | None = None
    """Limits on the length of every text. Default: none."""
    languages: LanguageRule | None = None
    """Languages that texts may be in. Default: any."""

    longest_match: int | None = Field(default=None, ge=1, le=100_000)
    """Characters after which a match of a pattern with `*` or `+` is not waited for while a text grows. Default: such patterns hold back
    all of a growing text until it is whole."""

    @model_validator(mode="after")
    def _has_a_rule(self) -> "RulesParams":
        if not (self.deny or self.topics or self.allow or self.length or self.languages):
            message = (
                "give at least one of deny, topics, allow, length, languages: a shield without rules would find nothing"
            )
            raise ValueError(message)
        rules: list[FindingRule] = [*self.deny, *self.topics]
        names = [rule.name for rule in rules]
        if len(names) != len(set(names)):
            message = "each name in deny and topics must come once"
            raise ValueError(message)
        return self


class RulesConfig(ShieldProviderConfig):
    """Shields that follow rules. None is served by itself: rules are the operator's."""

    type: Literal["inline::rules"] = "inline::rules"
    """Kind of the provider."""
