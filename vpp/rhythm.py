"""The rhythm of the service: when it plans the day ahead, and which boundaries of the clock begin a cycle.

Cycles run every ``cycle`` around events and every ``quiet_cycle`` otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from models.events import Event


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When the service does what.

    ``cycle_offset``: a cycle begins so long after its boundary, when the readings of the boundary have come
    in.
    ``around_events``: so long before and after an event the short cycle runs.
    """

    day_ahead_at: time
    cycle: timedelta
    quiet_cycle: timedelta
    cycle_offset: timedelta = timedelta(seconds=15)
    around_events: timedelta = timedelta(minutes=15)

    def boundary(self, moment: datetime) -> datetime:
        """The last boundary at or before ``moment``, whether or not a cycle is due at it."""
        return _midnight(moment) + self.cycle * ((moment - _midnight(moment)) // self.cycle)

    def is_busy(self, moment: datetime, windows: Sequence[Event]) -> bool:
        """True during and around the events of ``windows``."""
        around = self.around_events
        return any(event.start - around <= moment < event.end + around for event in windows)

    def is_due(self, boundary: datetime, windows: Sequence[Event]) -> bool:
        """True if a cycle begins at ``boundary``."""
        quiet = (boundary - _midnight(boundary)) % self.quiet_cycle == timedelta(0)
        return quiet or self.is_busy(boundary, windows)

    def cycle_after(self, boundary: datetime, windows: Sequence[Event]) -> datetime:
        """The boundary of the cycle that follows the one of ``boundary``."""
        while True:
            boundary += self.cycle
            if self.is_due(boundary, windows):
                return boundary


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
