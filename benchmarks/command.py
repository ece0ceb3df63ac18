"""The command line that every benchmark has, and what becomes of its tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.processes import ROOT
from benchmarks.tables import Report, show, write


def add_options(parser: argparse.ArgumentParser, page: str, rounds: str) -> None:
    """Adds what all benchmarks have in common.

    Args:
        parser: The command's.
        page: Where tables are written.
        rounds: What the rounds repeat, and how often without the option.
    """
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to see that it runs; writes nothing"
    )
    parser.add_argument("--rounds", type=int, help=rounds)
    parser.add_argument("--write", action="store_true", help=f"write the tables into {page}")


@dataclass(frozen=True)
class Command:
    """A benchmark as it was called."""

    chosen: argparse.Namespace
    console: Console
    line: str
    """The command, as the tables tell it."""
    page: Path

    def present(self, report: Report) -> None:
        """Shows the tables, and writes them into the page where that is asked for and worth it."""
        show(report, self.console)
        if self.chosen.write and not self.chosen.quick:
            write(report, self.page)


def read_command(
    name: str,
    description: str,
    page: Path,
    arguments: Sequence[str] | None,
    *,
    rounds: str = "times that everything is measured (default: 3)",
    parser: argparse.ArgumentParser | None = None,
) -> Command:
    """Reads the command line.

    Args:
        name: The benchmark's module.
        description: What it measures, a sentence.
        page: The Markdown file that has its tables.
        arguments: Of the command. None: those of this process.
        rounds: Help for `--rounds`.
        parser: One that has the benchmark's own options.
    """
    parser = parser or argparse.ArgumentParser()
    parser.prog, parser.description = f"python -m benchmarks.{name}", description
    add_options(parser, str(page.relative_to(ROOT)), rounds)
    passed = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(passed)
    console = Console(width=None if sys.stdout.isatty() else 160)
    return Command(chosen, console, f"python -m benchmarks.{name} {' '.join(passed)}".strip(), page)
