"""Photovoltaic plants: every interval by itself.

Why it is exact.  No equation (P1, P2) ties two intervals together, and within one the cost

    price p + stray |p − plan| + curtail_cost (available + p),      −available ≤ p ≤ 0

is convex and piecewise linear in p, with one kink at the plan: the least is at an end or at the kink.  Three candidates
an interval are all there is to look at.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.pricing.loads import floats
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("profiles",)


class PvArrays(NamedTuple):
    """n plants; ``profiles`` (P, T) per unit is theirs together."""

    profile: IndexArray
    scale_kw: FloatArray
    curtail_per_kwh: FloatArray
    profiles: FloatArray


def pv_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> PvArrays:  # noqa: ARG001 - a plant has no state
    """The plants of a table's columns."""
    return PvArrays(
        profile=rows_in(setting.profile_row, columns["available_profile"]),
        scale_kw=floats(columns["available_scale_kw"]),
        curtail_per_kwh=floats(columns["curtail_cost_per_kwh"]),
        profiles=setting.profiles,
    )


@jit_row
def cheapest_pv(
    units: PvArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,  # noqa: ARG001 - every oracle is asked with the same
) -> tuple[float, float, float]:
    """Least cost, own cost (what curtailing costs) and 0; fills net power (T,), kW.  Ties go to the lower power."""
    curtail = units.curtail_per_kwh[i]
    scale, profile = units.scale_kw[i], units.profiles[units.profile[i]]
    least, unused_kwh = 0.0, 0.0
    for t in range(hours.size):
        sun = profile[t] * scale
        best = -sun
        lowest = -price[t] * sun + stray[t] * abs(sun + plan_kw[t])
        if stray[t] > 0 and -sun < plan_kw[t] < 0:
            cost = price[t] * plan_kw[t] + curtail * (sun + plan_kw[t])
            if cost < lowest:
                best, lowest = plan_kw[t], cost
        cost = stray[t] * abs(plan_kw[t]) + curtail * sun
        if cost < lowest:
            best, lowest = 0.0, cost
        power_kw[t] = best
        least += hours[t] * lowest
        unused_kwh += hours[t] * (sun + best)
    return least, curtail * unused_kwh, 0.0


@jit
def sweep_pv(
    units: PvArrays,
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
        answer = cheapest_pv(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
