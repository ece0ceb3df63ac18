"""Shows how the stack comes up: a live table on a terminal, lines elsewhere."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from caravan.local.supervisor import Member, Phase

_STYLES = {
    Phase.WAITING: "dim",
    Phase.STARTING: "cyan",
    Phase.READY: "green",
    Phase.RESTARTING: "yellow",
    Phase.FAILED: "bold red",
    Phase.STOPPING: "yellow",
    Phase.STOPPED: "dim",
}
_HEARTBEAT_SECONDS = 15.0


class Display:
    """Tells how members are, in a line for each change."""

    def __init__(self, console: Console) -> None:
        """Starts the clock.

        Args:
            console: Where to write.
        """
        self.console = console
        self._begun = time.monotonic()
        self._starting: dict[str, Member] = {}

    def changed(self, member: Member) -> None:
        """Writes the member's phase."""
        if member.phase is Phase.STOPPED:
            return
        took = f" after {member.seconds:.1f} s" if member.phase is Phase.READY else ""
        where = f" ({member.address})" if member.phase is Phase.READY and member.address else ""
        self._say(f"{member.name}: {member.phase}{took}{where}")
        if member.phase is Phase.STARTING:
            self._starting[member.name] = member
        else:
            self._starting.pop(member.name, None)

    def died(self, member: Member, how: str, tail: str, again_in: float | None) -> None:
        """Writes the end of the member's log and what happens now."""
        self.console.print(tail, style="dim", markup=False, highlight=False, soft_wrap=True)
        then = f"starting it again in {again_in:g} s" if again_in is not None else "not starting it again"
        self._say(f"{member.name} {how}; {then}")

    @contextmanager
    def coming_up(self) -> Iterator[None]:
        """Shows that something is under way until the stack is up."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        """Says now and then what is waited for."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            if self._starting:
                self._say(f"still starting: {', '.join(self._starting)}")

    def _say(self, text: str) -> None:
        seconds = time.monotonic() - self._begun
        self.console.print(f"[{seconds:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


class _LiveTable(Display):
    """Draws a table of all members again and again; what is not about coming up is written as lines."""

    def __init__(self, console: Console, members: Sequence[Member]) -> None:
        super().__init__(console)
        self._members = members
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    def changed(self, member: Member) -> None:
        """Draws the table, or writes a line when it is no longer shown."""
        if self._live:
            self._live.refresh()
        else:
            super().changed(member)

    @contextmanager
    def coming_up(self) -> Iterator[None]:
        """Draws the table until the stack is up."""
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=10) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def table(self) -> Table:
        """The table as it is now."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(5):
            table.add_column()
        for member in self._members:
            style = _STYLES[member.phase]
            going = member.phase in (Phase.STARTING, Phase.RESTARTING)
            mark = (
                self._spinner
                if going
                else {Phase.READY: "[green]✓[/]", Phase.FAILED: "[red]✗[/]"}.get(member.phase, " ")
            )
            seconds = time.monotonic() - member.began if going else member.seconds
            table.add_row(
                mark,
                f"[bold]{member.name}[/]",
                f"[{style}]{member.phase}[/]",
                f"{seconds:5.1f} s" if seconds else "",
                f"[dim]{escape(member.what)}[/]",
            )
        return table


def display_on(console: Console, members: Sequence[Member]) -> Display:
    """The display that suits a console.

    Args:
        console: Where to write.
        members: The members, in the order in which they start.
    """
    return _LiveTable(console, members) if console.is_terminal else Display(console)
