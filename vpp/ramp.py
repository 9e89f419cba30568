"""How an event that is stopped while it runs comes down: in steps, one a cycle, so that nobody returns all at once.

    stopped at ●
    ────────────●──┐            held in full until the next cycle begins (its setpoints are out already)
                   └──┐  75 %
                      └──┐  50 %
                         └──┐  25 %
                            └────  recovery: the cap on what comes back holds for six hours from here

All of it follows from the event and the moment it was stopped, so that a restart finds the same ramp again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.events import Event

RAMP_SHARES = (0.75, 0.5, 0.25)
"""Shares of the order that a stopped event still holds in the cycles after the present one."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """``held``: the event until the ramp begins; ``steps``: what the optimiser serves after that, in order."""

    held: Event
    steps: Sequence[Event]

    @property
    def end(self) -> datetime:
        """When nothing is held any more."""
        return self.steps[-1].end if self.steps else self.held.end

    def planned(self, now: datetime) -> list[Event]:
        """What the optimiser must serve from ``now`` on; once all is over, the event whose rebound is capped."""
        pieces = [piece for piece in (self.held, *self.steps) if piece.end > now]
        return pieces or [self.held.model_copy(update={"end": self.end})]


def ramp_after(event: Event, stopped_at: datetime, cycle: timedelta) -> Ramp:
    """The ramp of ``event``; steps that would reach beyond its end are left out."""
    begin = max(next_cycle(stopped_at, cycle), next_cycle(event.start, cycle))
    if begin <= event.start:
        begin += cycle  # stopped in the very moment of its start: one cycle is out already
    start = min(begin, event.end)
    held = event.model_copy(update={"end": start})
    steps = []
    for number, share in enumerate(RAMP_SHARES, start=1):
        end = min(start + cycle, event.end)
        if end <= start:
            break
        changes = {"event_id": f"{event.event_id}~ramp{number}", "target_kw": event.target_kw * share}
        steps.append(event.model_copy(update={**changes, "start": start, "end": end}))
        start = end
    return Ramp(held, steps)


def next_cycle(moment: datetime, cycle: timedelta) -> datetime:
    """The first cycle that begins at or after ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + cycle * (-(-(moment - midnight) // cycle))
