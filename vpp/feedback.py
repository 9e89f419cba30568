"""Feedback: what an event was measured to miss (or to overdo) is added to (or taken from) what the next cycle buys.

Two parts, because two things are wrong and each has its own cure:

    lasting   devices that are silent, refuse or do less than they promised, a baseline that is off: what was commanded
              and did not come, learned slowly, added for as long as it lasts
    owed      an hour is judged as a whole: what its first cycles missed is made up for in the cycles that are left

        l  ←  l + g (c − d − l)                            after each cycle, c commanded and d delivered   [kW]
        o  =  Σ_{cycles of this hour} (ordered − d) Δ / (time left of the hour)                             [kW]
        next order = ordered + l + o,      |l| ≤ 0.4 ordered,  |o| ≤ 0.15 ordered

With o = 0 the first line is plain integral control, l ← l + g (ordered − d).  Limits keep a wrong meter from turning
the fleet over; the hour's own limit keeps the power inside what a grid operator calls steady.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from models.events import Event
from models.settlement.performance import clock_hours

GAIN = 0.5
LASTING_LIMITS = (-0.4, 0.4)
"""What lasts stays within these shares of the order."""
OWED_LIMIT = 0.15
"""What an hour owes is made up for with at most this share of the order."""
CORRECTION_LIMITS = (LASTING_LIMITS[0] - OWED_LIMIT, LASTING_LIMITS[1] + OWED_LIMIT)
"""Both together, also where the order has been lowered since they were learned."""
FORESIGHT_SHARE = 0.7
"""How much of what is off just before an event is expected to stay off when it begins."""


@dataclass(frozen=True, slots=True)
class MeasuredCycle:
    """What one cycle inside an event came to, means over [start, end), kW."""

    start: datetime
    end: datetime
    ordered_kw: float
    delivered_kw: float


@dataclass
class EventFeedback:
    """What is added to the order of one event because of what was measured, kW."""

    lasting_kw: float = 0.0
    owed_kw: float = 0.0
    commanded_kw: float | None = None
    """What the last cycle was told to bring; None where nobody knows (before the event, after a restart)."""
    measured: list[MeasuredCycle] = field(default_factory=list)

    @property
    def correction_kw(self) -> float:
        """What is added to the order now."""
        return self.lasting_kw + self.owed_kw

    def note(self, cycle: MeasuredCycle) -> None:
        """Remember a cycle inside the event without learning what lasts: the first holds the ramp of the devices and
        says little about what they can hold, but what it missed is owed.
        """
        self.measured.append(cycle)

    def take(self, cycle: MeasuredCycle) -> None:
        """Learn from one complete cycle inside the event; of one that nothing was commanded of, nothing is learned."""
        self.measured.append(cycle)
        if self.commanded_kw is not None:
            missed_kw = self.commanded_kw - cycle.delivered_kw
            self._set(cycle.ordered_kw, self.lasting_kw + GAIN * (missed_kw - self.lasting_kw))

    def command(self, ordered_kw: float) -> float:
        """What the next cycle is to bring for an order, at least 0; it is what the cycle will be measured by."""
        self.commanded_kw = self.corrected_kw(ordered_kw)
        return self.commanded_kw

    def corrected_kw(self, ordered_kw: float) -> float:
        """An order with its correction, at least 0; no more than an order of this size may be corrected by."""
        low, high = (share * ordered_kw for share in CORRECTION_LIMITS)
        return max(0.0, ordered_kw + min(max(self.correction_kw, low), high))

    def foresee(self, ordered_kw: float, planned_kw: float, delivered_kw: float) -> None:
        """Before the event: what is measured beside the plan now (a baseline too low, say) will be so at its start."""
        self._set(ordered_kw, FORESIGHT_SHARE * (planned_kw - delivered_kw))

    def owe(self, now: datetime, event: Event, zone: ZoneInfo) -> None:
        """Count what the clock hour of ``now`` (its part inside the event) still owes, and spread it over its rest."""
        hour = next((each for each in clock_hours(event.start, event.end, zone) if each[0] <= now < each[1]), None)
        if hour is None:
            self.owed_kw = 0.0
            return
        begin, end = hour
        owed_kwh = sum(
            (each.ordered_kw - each.delivered_kw) * ((each.end - max(each.start, begin)) / timedelta(hours=1))
            for each in self.measured
            if begin < each.end <= now
        )
        most_kw = OWED_LIMIT * event.target_kw
        self.owed_kw = min(max(owed_kwh / ((end - now) / timedelta(hours=1)), -most_kw), most_kw)

    def _set(self, ordered_kw: float, lasting_kw: float) -> None:
        low, high = (share * ordered_kw for share in LASTING_LIMITS)
        self.lasting_kw = min(max(lasting_kw, low), high)
