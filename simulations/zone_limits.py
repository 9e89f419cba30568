"""Zones as they really were, beside their limits: none may be over its limit by what the platform has done.

    without us       true load of the zone, at least what its devices truly draw without our orders (a small fleet has
                     zones that are smaller than one of its buildings)
    with us          that, and what its devices truly drew more or less than the same devices, with the same dice
    broken by us     over the limit where the zone would have been within it without us

Around events orders are given for five minutes, at other times for an hour, as the mean of what was planned for it; so
long are the means that are judged.  The platform sees all of this by forecast.  Let pass is what forecasts were wrong
by:

    the zone's load             too low by the forecast of an hour before (that of a quiet cycle)
    the baseline of a device    beside what it would truly have drawn
    a device without an order   above its baseline: what comes back after an event, from whoever is its own master
                                again, is judged for the whole city (``event_days``, rebound), not zone by zone
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray, IntervalGrid
from simulations.devices.base import Orders
from simulations.wire.record import Told

AHEAD, AROUND = timedelta(hours=1), timedelta(minutes=15)
TOLERATED_SHARE = 0.01
"""Of the limit: devices keep no order to the last watt."""


def broken_zones(
    grid: IntervalGrid,
    zones: Sequence[str],
    without_kw: FloatArray,
    moved_kw: FloatArray,
    limit_kw: FloatArray,
    erred_kw: FloatArray,
) -> tuple[str, ...]:
    """Zones over their limit by our doing, the worst time of each; all (Z, T) kW.

    ``without_kw``: true load without us; ``moved_kw``: what our devices drew more (less: negative) with us;
    ``erred_kw``: what forecasts were wrong by, not negative.
    """
    over_kw, let_pass_kw = without_kw + moved_kw - limit_kw, erred_kw + TOLERATED_SHARE * limit_kw
    ours = (without_kw <= limit_kw) & (over_kw > let_pass_kw)
    found = []
    for row in np.flatnonzero(ours.any(axis=1)).tolist():
        t = int(np.argmax(np.where(ours[row], over_kw[row] - let_pass_kw[row], -np.inf)))
        found.append(
            f"zones: {zones[row]} at {grid.starts[t]:%H:%M} draws {without_kw[row, t] + moved_kw[row, t]:.1f} kW, its "
            f"limit is {limit_kw[row, t]:.1f} kW, {without_kw[row, t]:.1f} kW without us ({int(ours[row].sum())} times)"
        )
    return tuple(found)


def judged_grid(grid: IntervalGrid, events: Iterable[tuple[datetime, datetime]]) -> IntervalGrid:
    """The grid itself around events, whole clock hours at other times."""
    spans = [(start - AROUND, end + AROUND) for start, end in events]
    inside = [edge for edge in grid.edges[1:-1] if edge.minute == 0 or any(low <= edge <= high for low, high in spans)]
    return IntervalGrid((grid.start, *inside, grid.end))


def by_zone(zones: Sequence[str], zone_of: Mapping[str, str], names: Sequence[str], power_kw: FloatArray) -> FloatArray:
    """Sums of (R, T) over the devices of every zone, (Z, T); ``names``: of the rows."""
    place = {zone: row for row, zone in enumerate(zones)}
    total = np.zeros((len(zones), power_kw.shape[1]))
    np.add.at(total, [place[zone_of[name]] for name in names], power_kw)
    return total


def own_masters(told: Iterable[Told], names: Sequence[str], grid: IntervalGrid) -> NDArray[np.bool_]:
    """Where a device had no order to keep for some part of an interval at least, (R, T); ``names``: of the rows."""
    row_of = {name: row for row, name in enumerate(names)}
    coming = deque(sorted((each for each in told if each.resource_id in row_of), key=lambda each: each.at))
    orders, own = Orders(len(names)), np.zeros((len(names), len(grid)), dtype=np.bool_)
    for t, start_s in enumerate(start.timestamp() for start in grid.starts):
        for second in (start_s + share * 3600 * grid.hours[t] for share in (0.0, 0.5, 0.99)):
            while coming and coming[0].at.timestamp() <= second:
                each = coming.popleft()
                window_s = each.valid_from.timestamp(), each.valid_until.timestamp()
                orders.give(row_of[each.resource_id], each.power_kw, *window_s, each.at.timestamp())
            own[:, t] |= np.isnan(orders.at(second))
    return own
