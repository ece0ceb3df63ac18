"""The turns that run in this process: started, kept alive, cancelled, handed over; and those that other processes left behind, taken up."""

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Iterator

import structlog

from services.agents.desk import Desk
from services.agents.ports import LeaseLostError, Store
from services.agents.run import TurnRun
from services.agents.state import DoomedSession, Lease, TurnKey, TurnRecord
from services.core.context import REQUEST, current_request
from services.core.errors import CaravanError, ResourceExhaustedError

_BATCH = 16
_HEARTBEATS_A_LEASE = 3
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class RunnerLimits:
    """Bounds of the turns that run here."""

    turns: int = 256
    """Most turns at once."""
    scan_seconds: float = 2.0
    """Seconds between two looks for turns and sessions that others left behind."""


class TurnRunner:
    """Runs turns. A turn belongs to nobody's call: it goes on when the call that began it ends."""

    def __init__(self, desk: Desk, limits: RunnerLimits) -> None:
        """Runs nothing yet.

        Args:
            desk: What turns run with.
            limits: How many at once.
        """
        self._desk, self._limits = desk, limits
        self._running: set[asyncio.Task[None]] = set()
        self._beginning = 0
        self._scanning: asyncio.Task[None] | None = None
        self._draining = self._stopping = False
        desk.metrics.observe_running(lambda: self.count)

    @property
    def store(self) -> Store:
        """The state."""
        return self._desk.store

    @property
    def count(self) -> int:
        """Number of turns that run here."""
        return len(self._running)

    def start_scanning(self) -> None:
        """Begins to take up what others leave behind."""
        self._scanning = asyncio.create_task(self._scan())

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Keeps room for one more turn, which `start` may be called for meanwhile.

        Raises:
            ResourceExhaustedError: As many turns run here as may.
        """
        if self._stopping or self._room <= 0:
            message = f"{len(self._running)} turns run in this process, as many as may; try again in a moment"
            raise ResourceExhaustedError(message, retry_after=1.0, reason="TOO_MANY_TURNS")
        self._beginning += 1
        try:
            yield
        finally:
            self._beginning -= 1

    def start(self, lease: Lease, record: TurnRecord) -> None:
        """Runs a turn on behalf of the call that runs now: with its provider data and trace, without its deadline.

        Args:
            lease: The right to run it.
            record: The turn as it stands.
        """
        context = contextvars.copy_context()
        context.run(REQUEST.set, dataclasses.replace(current_request(), deadline=None))
        self._spawn(lease, record, context)

    def drain(self) -> None:
        """Takes up no more turns of other processes: this one would soon hand them on."""
        self._draining = True

    async def stop(self) -> None:
        """Stops every turn where it stands and gives it up, so that another process goes on with it at once."""
        self._stopping = True
        tasks = [*self._running, *([self._scanning] if self._scanning else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _room(self) -> int:
        return self._limits.turns - len(self._running) - self._beginning

    def _spawn(self, lease: Lease, record: TurnRecord, context: contextvars.Context) -> None:
        run = TurnRun(self._desk, lease, record)
        # Before the task that looks after it: the call that began the turn waits for what this does.
        work = context.run(run.start)
        task = asyncio.get_running_loop().create_task(
            self._run(lease, run), name=f"turn-{lease.turn.turn_id}", context=context
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.cancel())

    async def _run(self, lease: Lease, run: TurnRun) -> None:
        log = _log.bind(turn_id=lease.turn.turn_id, session_id=lease.turn.session.session_id)
        beating = asyncio.create_task(self._beat(lease))
        try:
            await run.run()
        except LeaseLostError as error:
            self._desk.metrics.turn_left(error)
            log.warning("turn_lost")
        except CaravanError as error:
            # The store is away. The lease runs out, and whoever reaches the store first goes on.
            self._desk.metrics.turn_left(error)
            log.warning("turn_left", reason=error.reason, why=error.message)
        except Exception as error:
            self._desk.metrics.turn_left(error)
            log.exception("turn_crashed")
        except asyncio.CancelledError:
            with contextlib.suppress(CaravanError):
                await self.store.release(lease)
            raise
        finally:
            self.store.leave(lease)
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self.store.lease_seconds / _HEARTBEATS_A_LEASE)
            try:
                await self.store.heartbeat(lease)
            except LeaseLostError:
                lease.lost.set()
                return
            except CaravanError as error:
                _log.warning("heartbeat_failed", turn_id=lease.turn.turn_id, why=error.message)

    async def _scan(self) -> None:
        while True:
            await _tried(self._take_over)
            await _tried(self._purge)
            await asyncio.sleep(self._limits.scan_seconds)

    async def _take_over(self) -> None:
        if self._draining or self._room <= 0:
            return
        for key in await self.store.orphaned_turns(min(self._room, _BATCH)):
            await _tried(functools.partial(self._take_over_one, key))

    async def _take_over_one(self, key: TurnKey) -> None:
        taken = await self.store.take_over(key)
        if taken is not None:
            _log.info("turn_taken_over", turn_id=key.turn_id, session_id=key.session.session_id)
            self._desk.metrics.turn_taken_over()
            self._spawn(*taken, contextvars.Context())

    async def _purge(self) -> None:
        for doomed in await self.store.doomed_sessions(_BATCH):
            await _tried(functools.partial(self._purge_one, doomed))

    async def _purge_one(self, doomed: DoomedSession) -> None:
        if doomed.memory_bank_id:
            await self._desk.memory.drop_bank(doomed.memory_bank_id)
        await self.store.purge_session(doomed.key)


async def _tried(chore: Callable[[], Awaitable[None]]) -> None:
    """Does a chore; what fails is tried again with the next round."""
    try:
        await chore()
    except CaravanError as error:
        _log.warning("chore_failed", reason=error.reason, why=error.message)
