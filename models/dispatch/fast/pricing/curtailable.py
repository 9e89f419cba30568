"""Curtailable loads: give up where a kWh is cheapest, within energy and equivalent hours.

Why it is exact.  Net power is linear in the reduction (``loads``), so every kWh given up in s has one price v_s,
rebound included, and C1-C4 are a continuous knapsack with two limits over the intervals with v_s < 0: ``two_limits``,
exact.

Where whole calls count (C5-C10), ``least`` relaxes the calls, as the checker's bound does.  The schedule keeps them
(``whole_calls``): if the relaxed one does already, it is the optimum.

Asked to follow a plan, a load gives up what the plan gave up (``planned``), scaled down to what is left of its limits.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.calls import part
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import (
    EPS_H,
    LEAST_KW,
    add_past,
    calls_left,
    floats,
    give_up,
    opens_h,
    or_zero,
    price_of_reducing,
    undisturbed,
)
from models.dispatch.fast.pricing.planned import planned_reduction
from models.dispatch.fast.pricing.two_limits import two_limits
from models.dispatch.fast.pricing.whole_calls import keep_calls, keeps_rules, least_depth
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("profiles", "edges_h", "history")


class CurtailableArrays(NamedTuple):
    """n loads; ``profiles`` (P, T), ``edges_h`` (T + 1,) and ``history`` (pieces of ``StateColumns``) are shared.

    ``energy_kwh``, ``hours_h``: what is left of the limits.  ``open_h``: from when on a reduction may begin.
    ``past_first``, ``past_last``: rows of ``history``.  ``calls``: −1 where calls and rest are not limited, else how
    many may begin.  ``on``: 1 while a call is going on at the start (0 where calls do not count).
    """

    profile: IndexArray
    scale_kw: FloatArray
    curtail_share: FloatArray
    cost_per_kwh: FloatArray
    energy_kwh: FloatArray
    hours_h: FloatArray
    open_h: FloatArray
    rebound_share: FloatArray
    rebound_h: FloatArray
    past_first: IndexArray
    past_last: IndexArray
    calls: IndexArray
    rest_h: FloatArray
    on: IndexArray
    profiles: FloatArray
    edges_h: FloatArray
    history: FloatArray


def curtailable_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> CurtailableArrays:
    """The loads of a table's columns."""
    rest = floats(columns["rest_h"])
    whole = ~np.isnan(floats(columns["calls_per_day"])) | (rest > 0)
    return CurtailableArrays(
        profile=rows_in(setting.profile_row, columns["baseline_profile"]),
        scale_kw=floats(columns["baseline_scale_kw"]),
        curtail_share=floats(columns["curtail_share"]),
        cost_per_kwh=floats(columns["cost_per_kwh"]),
        energy_kwh=np.maximum(0.0, floats(columns["energy_limit_kwh"]) - or_zero(states.energy_used_kwh)),
        hours_h=np.maximum(0.0, floats(columns["hours_limit_h"]) - or_zero(states.hours_used_h)),
        open_h=opens_h(columns, setting, states),
        rebound_share=floats(columns["rebound_share"]),
        rebound_h=floats(columns["rebound_hours_h"]),
        past_first=np.ascontiguousarray(states.history_first[:-1]),
        past_last=np.ascontiguousarray(states.history_first[1:]),
        calls=np.where(whole, calls_left(columns, setting, states), -1),
        rest_h=rest,
        on=(whole & (states.on == 1)).astype(np.int64),
        profiles=setting.profiles,
        edges_h=setting.edges_h,
        history=states.history,
    )


@jit
def base_curtailable(units: CurtailableArrays, i: int, power_kw: FloatArray) -> None:
    """Fill b (T,), kW: what the load draws undisturbed, without rebound of the past."""
    profile, scale = units.profiles[units.profile[i]], units.scale_kw[i]
    for t in range(power_kw.size):
        power_kw[t] = profile[t] * scale


@jit
def cheapest_curtailable(
    units: CurtailableArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,  # noqa: ARG001 - left out of the least cost, as in the checker's bound
    plan_kw: FloatArray,  # noqa: ARG001 - as stray
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Least cost (calls relaxed), own cost and 0; fills net power (T,), kW."""
    count, edges = hours.size, units.edges_h
    share, rebound_h = units.rebound_share[i], units.rebound_h[i]
    per_kwh, limit, reduction = part(work, 0), part(work, 1), part(work, 2)
    least = undisturbed(units.profiles[units.profile[i]], units.scale_kw[i], hours, price, power_kw)
    price_of_reducing(edges, hours, price, units.cost_per_kwh[i], share, rebound_h, part(work, 3), per_kwh)
    items = part(work, 4)
    value, energy, span = part(work, 5), part(work, 6), part(work, 7)
    on, open_h, depth = units.on[i] == 1, units.open_h[i], units.curtail_share[i]
    found = 0
    for t in range(count):
        limit[t] = depth * power_kw[t]
        reduction[t] = 0.0
        if per_kwh[t] < 0 and limit[t] > LEAST_KW and (on or edges[t] >= open_h - EPS_H):
            items[found] = t
            value[found] = per_kwh[t]
            energy[found] = hours[t] * limit[t]
            span[found] = hours[t]
            found += 1
    if share > 0 and units.past_last[i] > units.past_first[i]:
        pieces = units.history[units.past_first[i] : units.past_last[i]]
        least += add_past(pieces, edges, hours, price, share, rebound_h, power_kw)
    if found == 0:
        return least, 0.0, 0.0
    taken = part(work, 8)
    most_kwh, most_h = units.energy_kwh[i], units.hours_h[i]
    saved, mu, nu = two_limits(
        value,
        energy,
        span,
        found,
        most_kwh,
        most_h,
        taken,
        part(work, 9),
        part(work, 10),
        part(work, 11),
        part(work, 12),
    )
    for j in range(found):
        t = int(items[j])
        reduction[t] = taken[j] * limit[t]
    if units.calls[i] >= 0:
        limits = (most_kwh, most_h, units.rest_h[i], open_h)
        keep_calls(limits, units.calls[i], on, edges, hours, (saved, mu, nu), work)
    given_up_kwh = give_up(reduction, edges, hours, share, rebound_h, power_kw)
    return least + saved, units.cost_per_kwh[i] * given_up_kwh, 0.0


@jit
def planned_curtailable(
    units: CurtailableArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> float:
    """Own cost of doing what the plan does, as far as the limits allow; fills net power (T,), kW.

    Less than 0 if the plan is not known throughout, or its calls are none any more.
    """
    count, edges = hours.size, units.edges_h
    share, rebound_h = units.rebound_share[i], units.rebound_h[i]
    limit, reduction, called = part(work, 1), part(work, 2), part(work, 4)
    on, open_h, depth = units.on[i] == 1, units.open_h[i], units.curtail_share[i]
    for t in range(count):
        if stray[t] <= 0:
            return -1.0
    undisturbed(units.profiles[units.profile[i]], units.scale_kw[i], hours, price, power_kw)
    for t in range(count):
        limit[t] = depth * power_kw[t] if on or edges[t] >= open_h - EPS_H else 0.0
    if share > 0 and units.past_last[i] > units.past_first[i]:
        pieces = units.history[units.past_first[i] : units.past_last[i]]
        add_past(pieces, edges, hours, price, share, rebound_h, power_kw)
    planned_reduction(plan_kw, power_kw, limit, edges, hours, share, rebound_h, part(work, 3), reduction)
    _scale_down(hours, limit, units.energy_kwh[i], units.hours_h[i], reduction)
    if units.calls[i] >= 0:
        for t in range(count):
            limit[t] = depth * units.profiles[units.profile[i], t] * units.scale_kw[i]
            called[t] = 1.0 if reduction[t] > LEAST_KW else 0.0
            if 0 < reduction[t] < (1.0 - EPS_H) * least_depth(limit[t]):
                return -1.0
        if not keeps_rules(called, limit, edges, count, units.rest_h[i], open_h, units.calls[i], on):
            return -1.0
    return float(units.cost_per_kwh[i] * give_up(reduction, edges, hours, share, rebound_h, power_kw))


@jit
def _scale_down(hours: FloatArray, limit: FloatArray, most_kwh: float, most_h: float, reduction: FloatArray) -> None:
    """Scale r (T,) down to no more energy and equivalent hours than ``most_kwh`` and ``most_h``."""
    energy_kwh, used_h, left = 0.0, 0.0, 1.0
    for t in range(hours.size):
        if reduction[t] > 0:
            energy_kwh += hours[t] * reduction[t]
            used_h += hours[t] * reduction[t] / limit[t]
    if energy_kwh > most_kwh:
        left = most_kwh / energy_kwh
    if used_h > most_h:
        left = min(left, most_h / used_h)
    for t in range(hours.size):
        reduction[t] *= left


@jit
def sweep_curtailable(
    units: CurtailableArrays,
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
        own = -1.0
        if prices.pull > 0:
            own = planned_curtailable(units, i, prices.hours, price, stray, plan, power, work)
        if own >= 0:
            answer = (0.0, own, 0.0)
        else:
            answer = cheapest_curtailable(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
