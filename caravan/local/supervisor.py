"""Starts the members of a stack, keeps them running, and stops them in reverse."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from caravan.local.child import Child, Guardian, Program
from caravan.local.problems import ChildFailedError, StackError

POLL_SECONDS = 0.2
GUARDIAN_SECONDS = 10.0


class Phase(StrEnum):
    """How far a member is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Restarts:
    """When a member that has ended is started again."""

    most: int = 5
    """Most starts in a row that do not last."""
    initial_delay: float = 1.0
    """Seconds before the first of them; doubled for each further one."""
    max_delay: float = 30.0
    """Longest wait in seconds."""
    lasting: float = 60.0
    """Seconds after which a start has lasted."""

    def delay(self, count: int) -> float | None:
        """Seconds to wait; None: not again.

        Args:
            count: Starts in a row that did not last.
        """
        return None if count >= self.most else min(self.initial_delay * 2.0**count, self.max_delay)


@dataclass
class Member:
    """One process of the stack and how it is."""

    name: str
    """Its name."""
    what: str
    """What it is, for people."""
    program: Callable[[str], Program]
    """Makes the program from the address to listen on: the one it had before, or empty for any."""
    ready: Callable[[str], Awaitable[bool]]
    """Whether it can serve, from its address."""
    wave: int
    """Its turn to start; members of a wave stop together, the last wave first."""
    announces: bool = True
    """It says on which address it listens."""
    phase: Phase = Phase.WAITING
    """How far it is."""
    address: str = ""
    """Where it listens, once it does."""
    seconds: float = 0.0
    """How long the start took."""
    began: float = 0.0
    """When the phase began, on the monotonic clock."""
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the address is known."""
    child: Child | None = None
    """Its process."""


class Watcher(Protocol):
    """Who is told."""

    def changed(self, member: Member) -> None:
        """A member is in another phase."""

    def died(self, member: Member, how: str, tail: str, again_in: float | None) -> None:
        """A member that was ready has ended; it is started again in some seconds, or not."""


class Supervisor:
    """The members of a stack."""

    def __init__(self, guardian: Guardian, watcher: Watcher, restarts: Restarts | None = None) -> None:
        """Starts nothing yet.

        Args:
            guardian: Ends the members when this process is killed.
            watcher: Is told what happens.
            restarts: When a member is started again.
        """
        self._guardian = guardian
        self._watcher = watcher
        self._restarts = restarts or Restarts()
        self._started: list[Member] = []
        self._keepers: list[asyncio.Task[None]] = []

    async def bring_up(self, member: Member) -> None:
        """Starts a member and waits until it is ready; from then on it is kept running.

        Args:
            member: The member.

        Raises:
            StackError: It ended before it was ready.
        """
        self._started.append(member)
        self._enter(member, Phase.STARTING)
        try:
            await self._start(member)
        except StackError:
            self._enter(member, Phase.FAILED)
            raise
        self._enter(member, Phase.READY)
        self._keepers.append(asyncio.create_task(self._keep(member), name=f"keep-{member.name}"))

    async def stop(self) -> None:
        """Stops the members, the last wave first."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for wave in sorted({member.wave for member in self._started}, reverse=True):
            await asyncio.gather(*(self._stop(member) for member in self._started if member.wave == wave))
        self._started.clear()

    async def kill(self) -> None:
        """Ends the members at once."""
        await asyncio.gather(*(member.child.kill() for member in self._started if member.child))

    async def _stop(self, member: Member) -> None:
        if member.child and member.phase is not Phase.FAILED:
            self._enter(member, Phase.STOPPING)
            await member.child.stop()
            self._enter(member, Phase.STOPPED)

    async def _start(self, member: Member) -> None:
        begun = time.monotonic()
        child = member.child = await Child.start(member.program(member.address), self._guardian)
        while True:
            if not child.alive:
                await child.kill()
                raise ChildFailedError(member.name, child.how_it_ended(), child.program.log, child.tail())
            if address := child.address():
                member.address = address
                member.listening.set()
            if (address or not member.announces) and await member.ready(member.address):
                break
            await asyncio.sleep(POLL_SECONDS)
        member.seconds = time.monotonic() - begun

    async def _keep(self, member: Member) -> None:
        """Starts the member again whenever it ends, until it does not last."""
        in_a_row = 0
        while member.child:
            await member.child.process.wait()
            how, tail = member.child.how_it_ended(), member.child.tail()
            await member.child.kill()
            in_a_row = 0 if time.monotonic() - member.began > self._restarts.lasting else in_a_row
            while True:
                delay = self._restarts.delay(in_a_row)
                in_a_row += 1
                self._watcher.died(member, how, tail, delay)
                if delay is None:
                    self._enter(member, Phase.FAILED)
                    return
                self._enter(member, Phase.RESTARTING)
                await asyncio.sleep(delay)
                try:
                    await self._start(member)
                except ChildFailedError as error:
                    how, tail = error.message, error.tail
                else:
                    break
            self._enter(member, Phase.READY)

    def _enter(self, member: Member, phase: Phase) -> None:
        member.phase, member.began = phase, time.monotonic()
        self._watcher.changed(member)


@contextlib.asynccontextmanager
async def guarded(watcher: Watcher, restarts: Restarts | None = None) -> AsyncIterator[Supervisor]:
    """A supervisor whose members end with it, whatever happens.

    Args:
        watcher: Is told what happens.
        restarts: When a member is started again.
    """
    guardian = await Guardian.start(GUARDIAN_SECONDS)
    supervisor = Supervisor(guardian, watcher, restarts)
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        await guardian.release()
