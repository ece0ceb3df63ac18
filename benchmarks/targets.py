"""What the figures are meant to reach."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tables import Table


@dataclass(frozen=True)
class Target:
    """One figure and its bound."""

    what: str
    """What is compared."""
    where: str
    """At which load."""
    value: float
    """The figure."""
    bound: float
    """Its bound."""
    at_least: bool = False
    """The bound is a lower one."""
    form: str = ".2f"
    """Format of both."""

    @property
    def met(self) -> bool:
        """Whether the figure keeps within its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> list[str]:
        """The cells of a table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.met else "missed"
        return [
            self.what,
            self.where,
            format(self.value, self.form),
            f"{sign} {format(self.bound, self.form)}",
            verdict,
        ]


def table_of(targets: Sequence[Target], title: str = "Targets", note: str = "") -> Table:
    """The table of some targets."""
    return Table(title, ("figure", "at", "measured", "target", ""), [target.row() for target in targets], note)
