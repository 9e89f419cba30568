"""The wall clock: the only place of the service that asks the machine for the time."""

import asyncio
import time
from datetime import UTC, datetime

PIECE_S = 30.0
"""A sleeper looks at the wall clock so often: a clock that is set does not leave it asleep, or awake for nothing."""
STEP_S = 1.0
"""By so much less than the time that has passed must the wall clock move to have been set back (it is also slewed)."""


class SystemClock:
    """Real time (answers to ``models.ports.Clock``)."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``, or within ``PIECE_S`` after the clock was set back: what was due at
        ``moment`` may be hours away then, and whoever sleeps must think again.
        """
        while (left_s := (moment - self.now()).total_seconds()) > 0:
            wall, passed_s = self.now(), time.monotonic()
            await asyncio.sleep(min(left_s, PIECE_S))
            moved_s = (self.now() - wall).total_seconds()
            if moved_s < time.monotonic() - passed_s - STEP_S:
                return
