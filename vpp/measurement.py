"""Measurement: what was delivered, from the readings in the store and the one baseline table of the day.

b is the day's table (chargers: the b of the stays that really happened), m what was measured; the rules of
judging are in ``models.settlement.performance``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.store.store import Store
from models.events import Event, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.records import BaselineTable
from models.resources import EvCharger, Generator, ShiftableLoad, Storage
from models.settlement.overlap import caps_kw, credited_kw
from models.settlement.performance import (
    EventPerformance,
    JudgedEvent,
    Metered,
    delivered_kw,
    judge_event,
    mean_over,
    without_gaps,
)
from vpp.baseline_table import merged_baseline
from vpp.meter_spells import LOOKED_BACK, leave_out, meter_spells
from vpp.metered import metered_kw
from vpp.session_baseline import SessionBaselines
from vpp.state import LiveState


@dataclass(frozen=True)
class MeasuredDay:
    """b and m of every resource on one grid; rows in the order of ``resource_ids``, (R, T) kW."""

    grid: IntervalGrid
    resource_ids: tuple[str, ...]
    baseline_kw: FloatArray
    metered: Metered


def measured_day(
    store: Store,
    state: LiveState,
    sessions: SessionBaselines,
    tables: Sequence[BaselineTable],
    start: datetime,
    end: datetime,
    step: timedelta = timedelta(minutes=5),
    *,
    cycle: timedelta,
) -> MeasuredDay:
    """All resources that a baseline table covers throughout [start, end); ``tables`` in the order of their days.

    ``cycle``: how often conduct is judged.  What a meter said while it was known to lie is left out.
    """
    grid = IntervalGrid.regular(start, step, -(-(end - start) // step))
    reaching = [table for table in tables if table.grid.start < grid.end and table.grid.end > grid.start]
    baseline = merged_baseline(reaching, grid)
    for live in state:
        if isinstance(live.record.resource, EvCharger) and live.resource_id in baseline:
            baseline[live.resource_id] = sessions.on(live.resource_id, grid)
    ids = tuple(sorted(baseline, key=str.encode))
    b = np.array([baseline[name] for name in ids]).reshape(len(ids), len(grid))
    pieces = store.powers(ids, grid.start - timedelta(hours=1), grid.end + timedelta(seconds=1))
    spells = meter_spells(store.audit_log(since=grid.start - LOOKED_BACK), cycle)
    metered = leave_out(metered_kw(pieces, len(ids), grid), ids, grid, spells)
    return MeasuredDay(grid, ids, b, without_gaps(metered, b, grid))


def event_performance(
    day: MeasuredDay,
    record: EventRecord,
    others: Sequence[EventRecord],
    *,
    ordered_kw: Callable[[EventRecord, IntervalGrid], FloatArray],
    accepted: Mapping[str, FloatArray],
    zone: ZoneInfo,
    in_scope: Callable[[str, Event], bool],
    aggregator_of: Callable[[str], str],
) -> EventPerformance:
    """One event judged on a measured day that covers it and the six hours after.

    ``others``: all events of the time, this one may be among them: what lies inside it counts for it, and each kW is
    credited once (``models.settlement.overlap``).  ``ordered_kw``: an order with its changes on a grid, (T,).
    ``accepted``: what aggregators have taken on, (T,) on the day's grid; who is not in it is held to its share.
    """
    event = record.event
    rivals = [each for each in others if each.event.event_id != event.event_id]
    alike = [record, *(each for each in rivals if each.event.direction is event.direction)]
    members = [np.array([in_scope(name, each.event) for name in day.resource_ids], dtype=np.bool_) for each in alike]
    judged = JudgedEvent(
        event_id=event.event_id,
        direction=event.direction,
        start=event.start,
        end=event.end,
        ordered_kw=caps_kw(members, [ordered_kw(each, day.grid) for each in alike])[0],
        members=members[0],
        accepted_kw=taken_on_kw(record, accepted, ordered_kw(record, day.grid)),
    )
    windows = [(each.event.start, each.event.end) for each in rivals]
    owners = [aggregator_of(name) for name in day.resource_ids]
    performance = judge_event(judged, day.grid, day.baseline_kw, day.metered, owners, zone, windows)
    order = sorted(range(len(alike)), key=lambda number: alike[number].steps[0].at)
    running = [day.grid.overlap_h(each.event.start, each.event.end) > 0 for each in alike]
    moved = delivered_kw(day.baseline_kw, day.metered.power_kw, event.direction)
    credited = credited_kw([members[k] for k in order], [running[k] for k in order], moved)[order.index(0)]
    return replace(performance, credited_kw=mean_over(credited, day.grid, event.start, event.end))


def taken_on_kw(
    record: EventRecord, accepted: Mapping[str, FloatArray], ordered_kw: FloatArray
) -> dict[str, FloatArray]:
    """What every aggregator has taken on of an event, (T,) kW: as it was planned where that is known (``accepted``),
    else its share of the order ``ordered_kw``, (T,).  In a direct call nobody is asked, and all owe their share.
    """
    shares = record.accepted_kw or record.share_kw
    target_kw = record.event.target_kw
    part = ordered_kw / target_kw if target_kw > 0 else np.zeros_like(ordered_kw)
    return {name: accepted.get(name, part * (kw or 0.0)) for name, kw in sorted(shares.items())}


def undispatched_kw(day: MeasuredDay, state: LiveState, sessions: SessionBaselines) -> FloatArray:
    """What the devices would do if neither we nor the tariff told them anything, (R, T): u of (P4).

    Storage and generators stand still, cars charge at once, a shiftable process runs when it prefers; loads and PV
    are as in b.
    """
    made = day.baseline_kw.copy()
    for row, name in enumerate(day.resource_ids):
        live = state.get(name)
        resource = live.record.resource if live is not None else None
        if isinstance(resource, Storage | Generator):
            made[row] = 0.0
        elif isinstance(resource, EvCharger):
            made[row] = sessions.at_once(resource, day.grid)
        elif isinstance(resource, ShiftableLoad) and resource.power_max_kw > 0:
            made[row] = _preferred_kw(resource, day.grid)
    return made


def _preferred_kw(load: ShiftableLoad, grid: IntervalGrid) -> FloatArray:
    """The preferred run of a daily process, on every day that the grid touches."""
    start = load.preferred_start or load.window_start
    length = timedelta(hours=load.energy_kwh / load.power_max_kw)
    days = (grid.start - start).days
    total = np.zeros(len(grid))
    for ahead in range(days - 1, days + (grid.end - grid.start).days + 3):
        begin = start + timedelta(days=ahead)
        total += load.power_max_kw * grid.overlap_h(begin, begin + length) / grid.hours
    return total


def evaluation(performance: EventPerformance) -> dict[str, object]:
    """The figures of an event as they are kept with its record and shown by the API."""
    return {
        "ordered_kw": performance.ordered_kw,
        "delivered_kw": performance.delivered_kw,
        "credited_kw": performance.credited_kw,
        "ratio_by_hour": list(performance.ratio_by_hour),
        "rebound_kw_by_hour": list(performance.rebound_kw_by_hour),
        "missing_readings": performance.missing,
        "interpolated_readings": performance.interpolated,
        "by_aggregator": {name: [hour.ratio for hour in hours] for name, hours in performance.by_aggregator.items()},
    }
