"""Clocks of the simulation: virtual time that a driver moves, the machine's own, and the machine's own made faster.

With ``VirtualClock`` a whole day passes in seconds, and nothing depends on how fast the machine is.  The rule:

    time moves only when the world is quiet, and then to the next instant for which anyone asked.

Quiet means: every task that a sleep has woken is asleep on the clock again, has ended or has said ``stand_aside``;
nobody is inside ``busy()``; and every barrier (an ``async`` function that returns when its part of the world has
nothing under way, such as messages without an answer) has returned without anything having happened meanwhile.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from models.errors import VppError

Barrier = Callable[[], Awaitable[None]]


class ClockError(VppError):
    """Virtual time cannot move: somebody woken by the clock neither sleeps again nor ends (``who`` names them)."""

    def __init__(self, who: list[str], waited_s: float) -> None:
        self.who = who
        super().__init__(f"not quiet after {waited_s:g} s of real time: {', '.join(who) or 'a barrier'}")


class VirtualClock:
    """Time that stands still until a driver moves it with ``advance_to``; answers to ``models.ports.Clock``.

    Sleepers due at the same instant wake in the order in which they fell asleep.  ``patience_s`` is real time: how
    long one instant may take before ``ClockError`` names whoever holds it up.
    """

    def __init__(self, start: datetime, *, patience_s: float = 120.0) -> None:
        self._now = start.astimezone(UTC)
        self._patience_s = patience_s
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None], asyncio.Task[Any] | None]] = []
        self._order = itertools.count()
        self._awake: set[asyncio.Task[Any]] = set()
        self._busy = 0
        self._stirred = 0
        self._barriers: list[Barrier] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        """The present, aware UTC."""
        return self._now

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``; at once (after giving way to others) if that is so already."""
        task = asyncio.current_task()
        if moment <= self._now:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (moment.astimezone(UTC), next(self._order), future, task))
        self._leave(task)
        await future

    def stand_aside(self) -> None:
        """Say that the calling task will now wait for something else than the clock: time need not wait for it."""
        self._leave(asyncio.current_task())

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold time still while the body works (also across awaits)."""
        self._busy += 1
        self._stir()
        try:
            yield
        finally:
            self._busy -= 1
            self._stir()

    def add_barrier(self, barrier: Barrier) -> None:
        """Have ``barrier`` awaited before every move of time."""
        self._barriers.append(barrier)

    def remove_barrier(self, barrier: Barrier) -> None:
        """Take a barrier away again."""
        self._barriers.remove(barrier)

    @property
    def next_moment(self) -> datetime | None:
        """The earliest instant for which anyone sleeps."""
        self._drop_cancelled()
        return self._sleepers[0][0] if self._sleepers else None

    async def advance_to(self, moment: datetime) -> None:
        """Move time to ``moment``, stopping at every instant in between for which somebody sleeps.

        Returns when the world is quiet at ``moment``.  Earlier than now: ``ValueError``.
        """
        if moment < self._now:
            raise ValueError(f"moment: must not be before {self._now.isoformat()} (got {moment.isoformat()})")
        self._leave(asyncio.current_task())
        await self.settle()
        while (following := self.next_moment) is not None and following <= moment:
            self._now = following
            self._wake_due()
            await self.settle()
        self._now = moment.astimezone(UTC)
        await self.settle()

    async def settle(self) -> None:
        """Return when the world is quiet (see the module); ``ClockError`` after ``patience_s`` of real time."""
        began = time.monotonic()
        while True:
            while self._awake or self._busy:
                left = self._patience_s - (time.monotonic() - began)
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), max(left, 0.001))
                except TimeoutError:
                    who = sorted(task.get_name() for task in self._awake)
                    raise ClockError(who + ["busy()"] * self._busy, self._patience_s) from None
            stirred = self._stirred
            for barrier in self._barriers:
                await barrier()
            for _ in range(3):
                await asyncio.sleep(0)
            if stirred == self._stirred and not self._awake and not self._busy:
                return

    def _drop_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)

    def _wake_due(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future, task = heapq.heappop(self._sleepers)
            if future.done():
                continue
            future.set_result(None)
            if task is not None and not task.done():
                self._awake.add(task)
                task.add_done_callback(self._leave)
        self._stir()

    def _leave(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._awake.discard(task)
            task.remove_done_callback(self._leave)
        self._stir()

    def _stir(self) -> None:
        self._stirred += 1
        self._changed.set()


class ScaledClock:
    """Real time made faster: ``speed`` virtual seconds pass in one real second, from ``start`` on."""

    def __init__(self, start: datetime, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed: must be positive (got {speed})")
        self._start = start.astimezone(UTC)
        self._speed = speed
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """The present of the scaled world, aware UTC."""
        return self._start + timedelta(seconds=(time.monotonic() - self._origin) * self._speed)

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``."""
        while (left := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is what we wait for
            await asyncio.sleep(left / self._speed)


class SystemClock:
    """The machine's clock, for a simulated fleet in real time."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``."""
        while (left := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is what we wait for
            await asyncio.sleep(min(left, 60.0))
