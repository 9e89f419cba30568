"""The wall clock: the only place of the service that asks the machine for the time."""

import asyncio
from datetime import UTC, datetime


class SystemClock:
    """Real time (answers to ``models.ports.Clock``)."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``; sleeps in pieces so that a clock set right does not leave us asleep."""
        # a loop of sleeps, not an event: nothing else than the clock can end it
        while (left_s := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, 30.0))
