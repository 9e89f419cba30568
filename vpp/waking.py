"""Sleeping until something is due or somebody wakes us, and noticing when the clock has been set meanwhile.

Set forward, boundaries in between are passed over.  Set back, the present boundary gets a cycle of its own: the orders
that are out were meant for later.  Either way nothing waits for a time that was wrong.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from models.ports import Clock
from vpp.metrics import Metrics

log = structlog.get_logger(__name__)

OVERSLEPT = timedelta(seconds=60)
"""Waking so much too late means that the clock was set forward, or that the machine stood still."""


class Waking:
    """One sleeper; ``asleep`` is set while it sleeps, ``clock_was_set`` hears the new time."""

    def __init__(self, clock: Clock, metrics: Metrics, clock_was_set: Callable[[datetime], None]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._clock_was_set = clock_was_set
        self._woken = asyncio.Event()
        self.asleep = asyncio.Event()

    def wake(self) -> None:
        """Let the sleeper think again about what is due."""
        self.asleep.clear()
        self._woken.set()

    async def sleep_until(self, due: datetime, before: datetime) -> None:
        """Sleep until ``due`` (which was decided at ``before``), or until somebody wakes us."""
        self.asleep.set()
        woken = await self._sleep(due)
        now = self._clock.now()
        early = max(timedelta(0), before - now) if woken else due - now
        if early > timedelta(0):
            self._metrics.clock_steps.labels(direction="back").inc()
            log.warning("the clock was set back", at_least_s=early.total_seconds())
        elif -early > OVERSLEPT:
            self._metrics.clock_steps.labels(direction="forward").inc()
            log.warning("the clock was set forward, or the machine stood still", by_s=-early.total_seconds())
        else:
            return
        self._clock_was_set(now)

    async def _sleep(self, due: datetime) -> bool:
        """Returns whether somebody has woken us."""

        async def sleep() -> None:
            await self._clock.sleep_until(due)
            self.asleep.clear()  # before anybody can see this task end: a virtual clock must not move on yet

        sleeper = asyncio.create_task(sleep(), name="runtime sleeps")
        waker = asyncio.create_task(self._woken.wait(), name="runtime may be woken")
        try:
            await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
            return waker.done()
        finally:
            self.asleep.clear()
            self._woken.clear()
            for task in (sleeper, waker):
                task.cancel()
            await asyncio.gather(sleeper, waker, return_exceptions=True)
