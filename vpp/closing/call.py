"""The call of an event as its settlement sees it: baseline, meter and award of everybody called, kWh by interval."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from adapters.store.commands import OrderColumns
from models.events import Event, EventRecord
from models.intervals import FloatArray
from models.settlement.awards import awards_kw
from models.settlement.inputs import SettlementInputs, input_digests
from models.settlement.rules.schema import Stage
from vpp.called import asked_on
from vpp.measurement import MeasuredDay, taken_on_kw

LONGEST_STEP = timedelta(minutes=5)
_NOTHING_KWH = 5e-4
"""Half a watt-hour: what is settled is whole watt-hours."""


def step_of(start: datetime, end: datetime) -> timedelta:
    """The longest step, at most five minutes, that fits into a window and lets no interval cross the full hour."""
    into_hour = [moment.minute * 60 + moment.second for moment in (start, end)]
    return timedelta(seconds=math.gcd(int(LONGEST_STEP.total_seconds()), *into_hour))


def call_of(
    record: EventRecord,
    day: MeasuredDay,
    orders: Iterable[OrderColumns],
    *,
    accepted: Mapping[str, FloatArray],
    ordered_kw: FloatArray,
    in_scope: Callable[[str, Event], bool],
    aggregator_of: Callable[[str], str],
    zone: ZoneInfo,
    price_cny_per_kwh: Decimal,
) -> SettlementInputs | None:
    """Settlement inputs of one event, None if nobody owed anything.

    ``record``: with the window that is judged; ``day``: measured on just that window; ``orders``: with places in
    ``day.resource_ids``; ``accepted``: what aggregators have taken on, (T,) kW, who is not in it is held to what its
    record says, in step with ``ordered_kw``, (T,).
    """
    event, grid = record.event, day.grid
    asked = asked_on(orders, day.baseline_kw, grid, event.direction)
    members = np.array([in_scope(name, event) for name in day.resource_ids], dtype=np.bool_)
    asked = np.where(members[:, None], asked, 0.0)
    rows = np.flatnonzero(members)
    owners = [aggregator_of(day.resource_ids[row]) for row in rows.tolist()]
    taken = _of_those_there(taken_on_kw(record, accepted, ordered_kw), owners)
    award_kwh = awards_kw(asked[rows], owners, taken, grid.hours) * grid.hours
    called = np.flatnonzero((award_kwh > _NOTHING_KWH).any(axis=1))
    if not len(called):
        return None
    rows, award_kwh = rows[called], award_kwh[called]
    names = tuple(day.resource_ids[row] for row in rows.tolist())
    baseline_kwh, metered_kwh = (
        np.asarray(values[rows] * grid.hours) for values in (day.baseline_kw, day.metered.power_kw)
    )
    return SettlementInputs(
        event_id=event.event_id,
        grid=grid,
        zone=zone,
        stage=Stage(record.notice_type.value),
        direction=event.direction,
        resource_ids=names,
        aggregator_ids=tuple(owners[place] for place in called.tolist()),
        protected=np.zeros(len(names), dtype=np.bool_),
        baseline_kwh=baseline_kwh,
        metered_kwh=metered_kwh,
        award_kwh=award_kwh,
        clearing_cny_per_kwh=(price_cny_per_kwh,) * len(grid),
        digests=input_digests(grid, names, baseline_kwh, metered_kwh, award_kwh),
    )


def _of_those_there(taken_kw: Mapping[str, FloatArray], owners: Sequence[str]) -> dict[str, FloatArray]:
    """Who has left since with all its resources has nothing that could be settled; its promise stands in the record."""
    there = set(owners)
    return {name: kw for name, kw in taken_kw.items() if name in there}
