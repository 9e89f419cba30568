"""Standing orders: what a device does for the rest of an event if it hears nothing more of us.

An order ends by itself, and the device falls back to its own control.  In the middle of an event that is the wrong
moment: a building that was held warm cools at full power, a car that waited charges at once, and what comes back so is
on no meter that we hear.  So whoever can stand it is told, along with every cycle's orders, to stay at its baseline
from where they end until the event does:

    orders of this stretch and the next    ▁▁▁▁▁▁▁▁▁▁▁▁
    standing order: the baseline                       ────────────────────────┬┐
    its own control, taking back                                               └┴┬┐
                                                                                 └┴──
                                     now             after                event ends

Neither more nor less than without an event: of who is not heard nothing is counted, and nothing is missing either.
They are let go one after the other, over an hour: all at once they would lift the city after the event.

Who can stand it: thermal loads, whose own control keeps their comfort limits whatever the order, and chargers whose car
gets what it was promised after the event as well.  All others fall back as they registered.  Who may not stand any more
(the event is over early, it opted out, the car is another) is released from it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.events import Direction, Event, ScopeKind
from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.plan import DispatchPlan
from vpp.event_scope import is_in_scope
from vpp.heard import NEVER_US
from vpp.ramp import is_guard, is_ramp
from vpp.state import LiveState
from vpp.window_means import Window, window_means

SURE_POWER_SHARE = 0.5
"""Of a charger's power so much is sure for the rest of a stay: cars take less than chargers give, and less when nearly
full."""

LET_GO_OVER, PARTS = timedelta(hours=1), 6
"""Standing orders end in so many parts, the first with the event."""

_EVENLY = (5**0.5 - 1) / 2
"""Multiples of it modulo 1 lie evenly, however many there are."""


@dataclass(frozen=True)
class PlainOrder:
    """What some are told beside a plan; ``rows`` of the live state, ``power_kw`` (n,), NaN releases."""

    valid_from: datetime
    valid_until: datetime
    rows: NDArray[np.int64]
    power_kw: FloatArray


def standing_orders(
    state: LiveState,
    now: datetime,
    after: datetime,
    plan: DispatchPlan,
    events: Sequence[Event],
    areas: Mapping[str, Collection[str]],
    opted_out: Collection[str] = (),
) -> list[PlainOrder]:
    """What is to be told beside the orders of ``plan``, which end at ``after``; ``events``: as they are planned.

    Notes by row until when everybody is to stay (``HeardColumns.stands_until_us``); a restart forgets that.
    """
    columns = state.columns
    stands_us, after_us = columns.stands_until_us, microseconds(after)
    stands_us[stands_us <= microseconds(now)] = NEVER_US
    until_us = _stays_until_us(state, after, events, areas)
    left_alone = state.rows(opted_out)
    until_us[left_alone[left_alone >= 0]] = NEVER_US
    made = []

    freed = np.flatnonzero((stands_us > after_us) & (stands_us > until_us))
    spans_us = np.stack([np.maximum(until_us[freed], after_us), stands_us[freed]])
    for begin, end in np.unique(spans_us, axis=1).T.tolist():
        rows = freed[(spans_us[0] == begin) & (spans_us[1] == end)]
        made.append(PlainOrder(moment_of(begin), moment_of(end), rows, np.full(len(rows), np.nan)))
    stands_us[freed] = spans_us[0]  # the orders up to ``after`` are as they were: nobody takes back before

    rows_of_plan = state.rows(plan.resource_ids)
    may = columns.is_dispatchable(now) & (until_us > after_us)
    in_plan = np.flatnonzero((rows_of_plan >= 0) & may[rows_of_plan])
    ends_us = until_us[rows_of_plan[in_plan]]
    for end in np.unique(ends_us).tolist():
        places = in_plan[ends_us == end]
        rows, window = rows_of_plan[places], Window(after, moment_of(end), moment_of(end))
        means = window_means(plan, places, rows, columns, window)
        if means is not None:
            made.append(PlainOrder(after, window.valid_until, rows, np.maximum(means[1], 0.0)))
            stands_us[rows] = end
    return made


def _stays_until_us(
    state: LiveState, after: datetime, events: Sequence[Event], areas: Mapping[str, Collection[str]]
) -> NDArray[np.int64]:
    """Until when everybody would stay at its baseline, by row; ``NEVER_US`` for who does not."""
    columns = state.columns
    until_us = np.full(len(columns.measured_us), NEVER_US)
    for event in events:
        if not _holds(event, after):
            continue
        end_us = microseconds(event.end) + _longer_us(len(until_us))
        left_h = (np.maximum(columns.departure_us, end_us) - end_us) / 3.6e9
        missing_kwh = np.nan_to_num(columns.session_needed_kwh - columns.session_delivered_kwh, nan=np.inf)
        in_time = missing_kwh <= SURE_POWER_SHARE * columns.limit_kw * left_h
        can = columns.is_thermal | (columns.is_charger & columns.has_session & in_time)
        if event.scope_kind is not ScopeKind.CITY:
            for row in np.flatnonzero(can).tolist():
                live = state.at(row)
                can[row] = live is not None and is_in_scope(live.record.resource, event, areas)
        until_us[can] = np.maximum(until_us, end_us)[can]
    return until_us


def _holds(event: Event, moment: datetime) -> bool:
    """True if devices are to use less for an event at that moment; the way down and the guard before it hold nobody."""
    is_piece = is_ramp(event.event_id) or is_guard(event.event_id)
    runs = event.start <= moment < event.end and event.target_kw > 0
    return runs and event.direction is Direction.SHAVE and not is_piece


def _longer_us(count: int) -> NDArray[np.int64]:
    """How much longer than an event everybody stays, by row, (count,)."""
    part = np.floor(np.arange(count) * _EVENLY % 1.0 * PARTS).astype(np.int64)
    return np.asarray(part * (LET_GO_OVER // PARTS // timedelta(microseconds=1)))
