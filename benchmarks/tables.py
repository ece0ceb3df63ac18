"""Tables and notes, shown on a terminal and written into a page between markers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first column is text, the others are numbers or words."""

    title: str
    """What it shows."""
    columns: Sequence[str]
    """Headings."""
    rows: Sequence[Sequence[str]]
    """Cells."""
    note: str = ""
    """A sentence below."""


@dataclass(frozen=True)
class Report:
    """What one benchmark has to say."""

    name: str
    """Name of the markers in the page."""
    conditions: Sequence[str] = ()
    """How it was measured, one sentence each."""
    tables: Sequence[Table] = field(default_factory=tuple)
    """The figures."""


def show(report: Report, console: Console) -> None:
    """Prints a report."""
    for line in report.conditions:
        console.print(line, style="dim", markup=False, highlight=False)
    for table in report.tables:
        drawn = RichTable(title=table.title, title_justify="left", title_style="bold", caption=table.note or None)
        for place, heading in enumerate(table.columns):
            drawn.add_column(heading, justify="right" if place else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*(f"[red]{cell}[/]" if cell == "missed" else cell for cell in row))
        console.print()
        console.print(drawn)


def write(report: Report, page: Path) -> None:
    """Replaces what stands between a report's markers, `<!-- name -->` and `<!-- /name -->`.

    Args:
        report: What to write.
        page: The Markdown file.

    Raises:
        ValueError: The page does not have the markers.
    """
    text = page.read_text()
    opening, closing = f"<!-- {report.name} -->", f"<!-- /{report.name} -->"
    pattern = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no markers {opening} and {closing}")
    replacement = f"{opening}\n\n{_markdown(report)}\n{closing}"
    page.write_text(pattern.sub(lambda _: replacement, text))


def _markdown(report: Report) -> str:
    blocks = ["\n".join(f"- {line}" for line in report.conditions)] if report.conditions else []
    for table in report.tables:
        lines = [f"**{table.title}**", "", _row(table.columns), _row(["---", *["---:"] * (len(table.columns) - 1)])]
        lines += [_row(row) for row in table.rows]
        blocks.append("\n".join(lines))
        if table.note:
            blocks.append(table.note)
    return "\n\n".join(blocks) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
