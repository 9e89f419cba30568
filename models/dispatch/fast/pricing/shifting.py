"""Shiftable loads that may spread their energy: the cheapest kWh first.

Why it is exact.  In one interval the cost of power, price p + ½ cost |p − preferred| + stray |p − plan|, is convex and
piecewise linear between the power limits (L1, L2): at most three slopes, in rising order.  Only the energy (L3) ties
intervals together, and what is left for the part of the window after the horizon makes it a range of energy.  So it is
a sum of convex functions under one budget: start from the lowest power everywhere and take slopes in rising order, as
far as the least energy asks for, and further while they are negative, up to the most energy.  A later slope of an
interval is never taken before an earlier one, because they rise.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.calls import part
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import floats, or_zero
from models.dispatch.fast.pricing.ranking import take_cheapest
from models.dispatch.fast.setting import Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("edges_h",)


class ShiftingArrays(NamedTuple):
    """n loads; ``edges_h`` (T + 1,) is shared.

    ``opens_h``, ``closes_h``: the window, hours from the start.  ``least_kwh``, ``most_kwh``: range of energy inside
    the horizon.  ``liked_from_h``, ``liked_to_h``: the preferred run at ``power_max_kw`` (empty without a preference).
    ``half_cost``: CNY per kWh off it, ½ cost_per_kwh.
    """

    opens_h: FloatArray
    closes_h: FloatArray
    power_min_kw: FloatArray
    power_max_kw: FloatArray
    least_kwh: FloatArray
    most_kwh: FloatArray
    liked_from_h: FloatArray
    liked_to_h: FloatArray
    half_cost: FloatArray
    edges_h: FloatArray


def shifting_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> ShiftingArrays:
    """The loads of a table's columns (rows without ``run_profile``)."""
    opens, closes = (setting.hours_since_start(columns[name]) for name in ("window_start", "window_end"))
    low, high, energy = (floats(columns[name]) for name in ("power_min_kw", "power_max_kw", "energy_kwh"))
    end = setting.edges_h[-1]
    open_h = np.maximum(0.0, np.minimum(closes, end) - np.maximum(opens, 0.0))
    later_h = np.maximum(0.0, closes - np.maximum(opens, end))
    left = np.where(closes <= 0, 0.0, np.maximum(0.0, energy - or_zero(states.delivered_kwh)))
    least, most = low * open_h, high * open_h
    liked = setting.hours_since_start(columns["preferred_start"])
    prefers = ~np.isnan(liked)
    lasts = np.divide(energy, high, out=np.zeros_like(energy), where=high > 0)
    return ShiftingArrays(
        opens_h=opens,
        closes_h=closes,
        power_min_kw=low,
        power_max_kw=high,
        least_kwh=np.clip(left - high * later_h, least, most),
        most_kwh=np.clip(left - low * later_h, least, most),
        liked_from_h=np.where(prefers, liked, 0.0),
        liked_to_h=np.where(prefers, liked + lasts, 0.0),
        half_cost=np.where(prefers, 0.5 * floats(columns["cost_per_kwh"]), 0.0),
        edges_h=setting.edges_h,
    )


@jit
def _segments(
    low_kw: float,
    high_kw: float,
    price: float,
    half: float,
    liked_kw: float,
    stray: float,
    plan_kw: float,
    span_h: float,
    slope: FloatArray,
    size: FloatArray,
    found: int,
) -> int:
    """Append slopes (CNY per kWh) and sizes (kWh) of one interval in rising order; how many there are now."""
    begin = low_kw
    while begin < high_kw:
        here = price
        end = high_kw
        if half > 0:
            here += half if liked_kw <= begin else -half
            if begin < liked_kw < end:
                end = liked_kw
        if stray > 0:
            here += stray if plan_kw <= begin else -stray
            if begin < plan_kw < end:
                end = plan_kw
        slope[found] = here
        size[found] = span_h * (end - begin)
        if size[found] > 0:
            found += 1
        begin = end
    return found


@jit
def cheapest_shifting(
    units: ShiftingArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Least cost, own cost (of leaving the preferred run) and 0; fills net power (T,), kW."""
    count, edges = hours.size, units.edges_h
    slope, size, order, owner = work[0], work[1], work[2], work[3]
    liked = part(work, 16)
    opens, closes, half = units.opens_h[i], units.closes_h[i], units.half_cost[i]
    low, high = units.power_min_kw[i], units.power_max_kw[i]
    liked_from, liked_to = units.liked_from_h[i], units.liked_to_h[i]
    found, used, gains = 0, 0.0, 0.0
    for t in range(count):
        span = hours[t]
        share = max(0.0, min(edges[t + 1], closes) - max(edges[t], opens)) / span
        liked[t] = high * max(0.0, min(edges[t + 1], liked_to) - max(edges[t], liked_from)) / span
        power_kw[t] = low * share
        if share > 0:
            used += span * power_kw[t]
            begun = found
            found = _segments(
                power_kw[t], high * share, price[t], half, liked[t], stray[t], plan_kw[t], span, slope, size, found
            )
            for j in range(begun, found):
                order[j], owner[j] = j, t
                if slope[j] < 0:
                    gains += size[j]
    wanted = max(0.0, min(max(gains, units.least_kwh[i] - used), units.most_kwh[i] - used))
    full, rest = take_cheapest(slope, size, order, found, wanted)
    for k in range(min(full + 1, found)):
        j = int(order[k])
        t = int(owner[j])
        power_kw[t] += (size[j] if k < full else rest) / hours[t]
    least, off_kwh = 0.0, 0.0
    for t in range(count):
        off_kwh += hours[t] * abs(power_kw[t] - liked[t])
        least += hours[t] * (price[t] * power_kw[t] + stray[t] * abs(power_kw[t] - plan_kw[t]))
    own = half * off_kwh
    return least + own, own, 0.0


@jit
def sweep_shifting(
    units: ShiftingArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Cheapest schedules of the rows first to last (exclusive), added up; written to ``power_out`` if it has rows."""
    count = prices.hours.size
    price, stray, plan, power = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan)
        late = prices.late[members.tariff[i]]
        answer = cheapest_shifting(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
