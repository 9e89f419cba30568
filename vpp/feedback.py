"""Feedback: what an event was measured to miss (or to overdo) is added to (or taken from) what the next cycle buys.

Two parts, because two things are wrong and each has its own cure:

    lasting   devices that are silent, refuse or do less than they promised, a baseline that is off: what was planned
              and did not come, learned within two cycles, added for as long as it lasts
    owed      an hour is judged as a whole: what its first cycles missed is made up for in the cycles that are left

        l  ←  l + g (p − r − d − l)                 after each cycle: p planned, r on the way, d delivered  [kW]
        o  =  Σ_{cycles of this hour} (ordered − h − d) Δ / (time to make it good)                          [kW]
        next plan  =  ordered − h + l + o + a,      |l| ≤ 0.4 ordered,  |o| ≤ 0.2 ordered;  later  =  ordered − h + l
        next order =  next plan / k             k = p / asked, 1 to 1.1

a is what devices that have just gone missing will not bring, once: at the next cycle they are heard or out of the plan.

What is missing is made good in half the time that is left of the hour (not under a quarter of an hour), before the next
thing can go wrong; what is too much is given back as soon, or it is still there when the hour ends.

k: between what it is asked and 110 % of it the optimiser takes what is cheapest, where cooling later or charging later
pays that is all of it, and nobody knows when that ends.  So a plan is asked for less where the one before took more,
and again where it then comes out otherwise (``ask_again``).

Of a plan only those count who can be ordered again, since what the others did not bring is bought by the next anyway.

What a cycle delivered is counted again at the next ones.  Whose reading of the newest cycle is still on its way (one in
ten, in the field) counts as planned until it is there; whose reading never came had fallen silent, and who is found to
have a lying meter had it then as well.

Limits keep a wrong meter from turning the fleet over; the hour's own limit keeps the power inside what a grid operator
calls steady.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.events import Event
from models.intervals import FloatArray
from models.moments import microseconds
from models.settlement.performance import BAND, clock_hours
from vpp.absence import Absence
from vpp.ramp_up import RampUp
from vpp.unheard import left_to_them_kw

GAIN, GAIN_TIME = 0.7, timedelta(minutes=5)
"""So much of a new difference is believed after so long; what is missed hardly depends on l, so any share is stable.  A
shorter cycle sees more of the noise of loads and believes less of it, to the same end after the same time."""
LASTING_LIMITS = (-0.4, 0.4)
"""What lasts stays within these shares of the order."""
OWED_LIMIT = 0.2
"""What an hour owes is made up for with at most this share of the order."""
SOON_SHARE, SOON_LEAST = 0.5, timedelta(minutes=15)
"""In so much of what is left of an hour it is made good; sooner than devices answer it would be bought twice."""
TOLERANCE = 0.03
"""A plan that gives so much more or less than it should is asked again."""
HINDSIGHT = timedelta(minutes=15)
"""Cycles that end so long ago are counted again, three at least: misconduct is found within two."""
IN_HAND_SHARE = 0.5
"""A plan that hardly had any devices, while nothing was heard of them, says nothing of what they do when told."""
READING_WITHIN = timedelta(minutes=5)
"""A cycle stands in a reading that is taken so soon after it, or in none."""
CORRECTION_LIMITS = (LASTING_LIMITS[0] - OWED_LIMIT, LASTING_LIMITS[1] + OWED_LIMIT)
"""Both together, also where the order has been lowered since they were learned."""
FORESIGHT_SHARE = 0.7
"""How much of what is off just before an event is expected to stay off when it begins."""


@dataclass(frozen=True, slots=True)
class MeasuredCycle:
    """What one cycle inside an event came to, means over [start, end), kW; ``unheard_kw``: see ``vpp.unheard``."""

    start: datetime
    end: datetime
    ordered_kw: float
    delivered_kw: float
    unheard_kw: float = 0.0


@dataclass(frozen=True, slots=True)
class Contributions:
    """Who brought what in one cycle: rows of the live state, kW in the event's direction, whether a reading of the
    cycle itself was there when it was counted, and the baseline; arrays (n,).  ``sign``: 1 where less power is more.
    """

    rows: NDArray[np.int64]
    moved_kw: FloatArray
    reported: NDArray[np.bool_]
    baseline_kw: FloatArray
    sign: float = 1.0


@dataclass
class EventFeedback:
    """What is added to the order of one event because of what was measured, kW."""

    lasting_kw: float = 0.0
    owed_kw: float = 0.0
    measured: list[MeasuredCycle] = field(default_factory=list)
    wanted_kw: float = 0.0
    """What the plan in force should give."""
    taken_share: float = 1.0
    """How much of what it is asked for a plan takes, 1 to 1.1."""
    good_by: datetime | None = None
    """When what is owed will have been made good; None outside the event."""
    absent_kw: float = 0.0
    """What those who have just gone missing will not bring in the coming cycle, most likely (``vpp.absence``)."""
    unheard_kw: float = 0.0
    """What silent processes that cannot be back yet most likely still bring (u of ``vpp.unheard``)."""
    left_kw: float = 0.0
    """How much of the order is left to them in this clock hour (h)."""
    ramp_up: RampUp = field(default_factory=RampUp)
    absence: Absence = field(default_factory=Absence)
    _unreported_kw: list[float] = field(default_factory=list)
    _tried: list[tuple[float, float]] = field(default_factory=list)
    _counted: dict[datetime, Contributions] = field(default_factory=dict)
    _trusted: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def correction_kw(self) -> float:
        """What is added to the order now."""
        return self.lasting_kw + self.owed_kw + self.absent_kw

    def take(
        self,
        cycle: MeasuredCycle,
        planned_kw: float | None,
        counted: Contributions | None = None,
        trusted: NDArray[np.int64] | None = None,
        on_the_way_kw: float = 0.0,
        gone_kw: float = 0.0,
        *,
        is_reported: bool = True,
    ) -> None:
        """Learn from one complete cycle inside the event.

        ``planned_kw``: what the plan in force expected in it of those who can be ordered again (``trusted``, rows of
        the live state); None where that says little (the first cycle of an event holds the ramp of the devices): what
        it missed is owed, and teaches nothing.  Nor does what comes of older orders while a plan has hardly any
        devices.  ``on_the_way_kw``: what of it was new and not reached yet (``vpp.ramp_up``), which is owed as well.
        ``gone_kw``: what those brought of it who cannot be ordered again (a building that has become too warm): the
        plan is without them, and what they brought is no excess.
        ``is_reported`` False: gateways report less often than we plan, and this cycle stands in readings that are
        still to come; when they have, it is compared with them.
        """
        self.measured.append(cycle)
        if counted is not None:
            self._counted[cycle.start] = counted
            for old in sorted(self._counted)[: -max(3, HINDSIGHT // (cycle.end - cycle.start))]:
                del self._counted[old]
        if planned_kw is None or planned_kw < IN_HAND_SHARE * cycle.ordered_kw:
            self._unreported_kw.clear()
        elif not is_reported:
            self._unreported_kw.append(planned_kw - on_the_way_kw)
        else:
            expected_kw = [*self._unreported_kw, planned_kw - on_the_way_kw]
            self._unreported_kw.clear()
            missed_kw = sum(expected_kw) / len(expected_kw) - (cycle.delivered_kw - gone_kw)
            # what was learned of those who are set aside must not be bought a second time: the plan is without them now
            someone_left = trusted is not None and not np.isin(self._trusted, trusted).all()
            learned_over = len(expected_kw) * (cycle.end - cycle.start)
            gain = 1.0 if someone_left else 1 - (1 - GAIN) ** min(1.0, learned_over / GAIN_TIME)
            self._set(cycle.ordered_kw, self.lasting_kw + gain * (missed_kw - self.lasting_kw))
        if trusted is not None:
            self._trusted = trusted

    def ask(self, ordered_kw: float) -> float:
        """The corrected order that the plan now in the making is asked for."""
        self.wanted_kw, self._tried = self.corrected_kw(ordered_kw), []
        return self.wanted_kw / self.taken_share

    def ask_again(self) -> float:
        """What a plan is asked for that came out otherwise than it should."""
        too_much = [asked for asked, planned in self._tried if planned > self.wanted_kw]
        too_little = [asked for asked, planned in self._tried if planned <= self.wanted_kw]
        if too_much and too_little:
            return (min(too_much) + max(too_little)) / 2
        return self.wanted_kw / (BAND[1] if too_much else 1.0)

    def later_kw(self, ordered_kw: float) -> float:
        """What is asked for once the hour is made good: nothing is owed then, nobody is newly missing."""
        return _limited(ordered_kw, self.lasting_kw)

    def taken(self, asked_kw: float, planned_kw: float) -> float:
        """Take note of what a plan gives now that was asked for so much; how far from what it should that is, kW."""
        self._tried.append((asked_kw, planned_kw))
        self.taken_share = min(max(planned_kw / asked_kw, 1.0), BAND[1]) if asked_kw > 0 else 1.0
        return abs(planned_kw - self.wanted_kw)

    @property
    def can_ask_again(self) -> bool:
        """True if what the plan gives is off, and asking otherwise could help: less than is wanted only if it is."""
        if not self._tried:
            return False
        asked_kw, planned_kw = self._tried[-1]
        is_off = abs(planned_kw - self.wanted_kw) > TOLERANCE * self.wanted_kw
        could_do_less = planned_kw > self.wanted_kw and asked_kw > self.wanted_kw / BAND[1] * (1 + TOLERANCE)
        return is_off and (could_do_less or asked_kw < self.wanted_kw * (1 - TOLERANCE))

    def look_back(self, measured_us: NDArray[np.int64], power_kw: FloatArray, lies: NDArray[np.bool_]) -> None:
        """Count the last cycles again with what is known by now, by row of the live state: the newest reading, when it
        was taken, and whose meter is known to lie.
        """
        for place, cycle in enumerate(self.measured):
            counted = self._counted.get(cycle.start)
            if counted is None:
                continue
            end_us, newest_us = microseconds(cycle.end), measured_us[counted.rows]
            # a reading of that very cycle, too late for it, or a newer one: whoever speaks now was there then
            late = ~counted.reported & (newest_us >= end_us)
            counted.moved_kw[late] = counted.sign * (counted.baseline_kw - power_kw[counted.rows])[late]
            counted.reported[late] = True
            may_come = cycle.end > self.measured[-1].end - READING_WITHIN  # its readings may be on their way yet
            kept = (counted.reported | may_come) & ~lies[counted.rows]
            self.measured[place] = replace(cycle, delivered_kw=float(counted.moved_kw[kept].sum()))

    def corrected_kw(self, ordered_kw: float) -> float:
        """An order with its correction, at least 0; no more than an order of this size may be corrected by."""
        return _limited(ordered_kw, self.correction_kw)

    def foresee(self, ordered_kw: float, planned_kw: float, delivered_kw: float) -> None:
        """Before the event: what is measured beside the plan now (a baseline too low, say) will be so at its start."""
        self._set(ordered_kw, FORESIGHT_SHARE * (planned_kw - delivered_kw))

    def owe(self, now: datetime, event: Event, zone: ZoneInfo) -> None:
        """Count what the clock hour of ``now`` (its part inside the event) still owes, and by when to make it good."""
        hour = next((each for each in clock_hours(event.start, event.end, zone) if each[0] <= now < each[1]), None)
        if hour is None:
            self.owed_kw, self.left_kw, self.good_by = 0.0, 0.0, None
            return
        begin, end = hour
        so_far = [
            (each, (each.end - max(each.start, begin)) / timedelta(hours=1))
            for each in self.measured
            if begin < each.end <= now
        ]
        unheard_kwh = sum(each.unheard_kw * hours for each, hours in so_far)
        unheard_kwh += self.unheard_kw * ((end - now) / timedelta(hours=1))
        self.left_kw = left_to_them_kw(unheard_kwh / ((end - begin) / timedelta(hours=1)), event.target_kw)
        owed_kwh = sum((each.ordered_kw - self.left_kw - each.delivered_kw) * hours for each, hours in so_far)
        most_kw = OWED_LIMIT * event.target_kw
        left = min(end - now, max(SOON_SHARE * (end - now), SOON_LEAST))
        self.owed_kw = min(max(owed_kwh / (left / timedelta(hours=1)), -most_kw), most_kw)
        self.good_by = now + left

    def _set(self, ordered_kw: float, lasting_kw: float) -> None:
        low, high = (share * ordered_kw for share in LASTING_LIMITS)
        self.lasting_kw = min(max(lasting_kw, low), high)


def _limited(ordered_kw: float, correction_kw: float) -> float:
    low, high = (share * ordered_kw for share in CORRECTION_LIMITS)
    return max(0.0, ordered_kw + min(max(correction_kw, low), high))
