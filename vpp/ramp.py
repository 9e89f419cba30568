"""What an event orders over time: its target, every change of it, and how it comes down when it is stopped.

A change while it runs goes in steps, one a cycle, none larger than a quarter of the larger of the two targets; so does
the way down after a termination.  Nobody returns, and nobody starts, all at once.

    stopped at ●                                       changed at ●
    ────────────●──┐        held in full until the                  ●     ┌───── after
                   └──┐  75 %   next cycle begins                    ┌────┘
                      └──┐  50 %  (its setpoints are      before ────┘      one cycle each
                         └──┐  25 %  out already)
                            └────  recovery: the cap on what comes back holds for six hours from here

All of it follows from the event, its changes and the moment it was stopped: a restart finds the same again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from models.events import Event, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.life_cycle import EventStatus

RAMP_SHARES = (0.75, 0.5, 0.25)
"""Shares of the order that a stopped event still holds in the cycles after the present one."""
LARGEST_STEP = 0.25
"""Of the larger of the two targets, in one cycle, when a running event is changed."""

Stair = tuple[tuple[datetime, float], ...]
"""From when on, and how many kW; the first begins with the event."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """``held``: the event until the ramp begins, in pieces of one target each; ``steps``: what is served after that."""

    held: Sequence[Event]
    steps: Sequence[Event]

    @property
    def held_until(self) -> datetime:
        """When the ramp begins: so long the order is judged."""
        return self.held[-1].end

    @property
    def end(self) -> datetime:
        """When nothing is held any more."""
        return self.steps[-1].end if self.steps else self.held_until

    def planned(self, now: datetime) -> list[Event]:
        """What the optimiser must serve from ``now`` on; once all is over, the event whose rebound is capped."""
        pieces = [piece for piece in (*self.held, *self.steps) if piece.end > now]
        last = self.held[-1].model_copy(update={"event_id": self.held[0].event_id, "end": self.end})
        return pieces or [last]


def stair_of(record: EventRecord, cycle: timedelta) -> Stair:
    """The order of an event over its window: changes before its start hold from the start, later ones go in steps."""
    event = record.event
    stair: list[tuple[datetime, float]] = [(event.start, record.first_target_kw)]
    for change in record.changes:
        begin = change.effective_from
        if begin is None or begin >= event.end:
            continue
        if begin <= event.start:
            stair = [(event.start, change.after_kw)]
            continue
        before_kw = _level(stair, begin)
        stair = [step for step in stair if step[0] < begin]
        largest_kw = LARGEST_STEP * max(before_kw, change.after_kw)
        count = max(1, math.ceil(abs(change.after_kw - before_kw) / largest_kw - 1e-9)) if largest_kw > 0 else 1
        for k in range(count):
            moment = begin + k * cycle
            if moment < event.end:
                stair.append((moment, before_kw + (change.after_kw - before_kw) * (k + 1) / count))
    return tuple(stair)


def pieces_of(record: EventRecord, cycle: timedelta, until: datetime | None = None) -> list[Event]:
    """The event up to ``until`` (else its end) as events of one target each; the first bears its name.

    The cap on what comes back stands with the last piece only: before its end nothing comes back.
    """
    event, stair = record.event, stair_of(record, cycle)
    end = event.end if until is None else until
    steps = [step for step in stair if step[0] < end] or [stair[0]]
    pieces = []
    for number, (start, target_kw) in enumerate(steps):
        last = number == len(steps) - 1
        changes: dict[str, object] = {
            "start": start,
            "end": end if last else steps[number + 1][0],
            "target_kw": target_kw,
            "rebound_cap_kw": event.rebound_cap_kw if last else None,
        }
        if number:
            changes["event_id"] = f"{event.event_id}~{number + 1}"
        pieces.append(event.model_copy(update=changes))
    return pieces


def ordered_kw_on(record: EventRecord, cycle: timedelta, grid: IntervalGrid) -> FloatArray:
    """What the event orders on a grid, mean over the part of each interval inside its window, (T,); 0 outside."""
    event, stair = record.event, stair_of(record, cycle)
    ends = [*(moment for moment, _ in stair[1:]), event.end]
    energy_kwh, inside_h = np.zeros(len(grid)), grid.overlap_h(event.start, event.end)
    if len(stair) == 1:
        return np.where(inside_h > 0, stair[0][1], 0.0)
    for (start, target_kw), end in zip(stair, ends, strict=True):
        energy_kwh += target_kw * grid.overlap_h(start, end)
    return np.divide(energy_kwh, inside_h, out=np.zeros(len(grid)), where=inside_h > 0)


def ramp_after(record: EventRecord, stopped_at: datetime, cycle: timedelta) -> Ramp:
    """The ramp of an event that is stopped; steps that would reach beyond its end are left out."""
    event = record.event
    begin = first_cycle_to_change(event, stopped_at, cycle)
    start = min(begin, event.end)
    held = pieces_of(record, cycle, start)
    from_kw = held[-1].target_kw
    steps = []
    for number, share in enumerate(RAMP_SHARES, start=1):
        end = min(start + cycle, event.end)
        if end <= start:
            break
        changes = {"event_id": f"{event.event_id}~ramp{number}", "target_kw": from_kw * share}
        steps.append(event.model_copy(update={**changes, "start": start, "end": end}))
        start = end
    return Ramp(held, steps)


def stopped_at(record: EventRecord) -> datetime | None:
    """When an event was terminated, None for one that was not."""
    return next((step.at for step in record.steps if step.status is EventStatus.TERMINATED), None)


def first_cycle_to_change(event: Event, moment: datetime, cycle: timedelta) -> datetime:
    """From when on a running event can be another one: what it is until the next cycle is out at the devices."""
    begin = max(next_cycle(moment, cycle), next_cycle(event.start, cycle))
    return begin + cycle if begin <= event.start else begin  # in the very moment of its start one cycle is out already


def next_cycle(moment: datetime, cycle: timedelta) -> datetime:
    """The first cycle that begins at or after ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + cycle * (-(-(moment - midnight) // cycle))


def whole_event(event_id: str) -> str:
    """The name of the event that a piece, a step of a ramp or a guard belongs to."""
    return event_id.partition("~")[0]


def guard_of(event_id: str) -> str:
    """The name of the guard that keeps the city below its cap before an event."""
    return f"{event_id}~guard"


def is_guard(event_id: str) -> bool:
    """True for a guard: it orders nothing."""
    return event_id.endswith("~guard")


def is_ramp(event_id: str) -> bool:
    """True for a step of the way down after a termination."""
    return "~ramp" in event_id


def _level(stair: Sequence[tuple[datetime, float]], moment: datetime) -> float:
    """The order just before a moment after the start, kW."""
    return next(kw for start, kw in reversed(stair) if start < moment)
