"""Charging: the stays of cars at chargers, one row each, one way (V1G) or both ways (V2G).

*Why it is exact.*  A stay is a battery on the intervals in which the car is plugged in, each as long as the car is
there, and on one more step after the horizon, the virtual slot, at a price of its own; it starts at a known energy and
must end at exactly the target (E4, E9).  Stays of one charger share nothing: each has its own power limits and hours.

- Both ways, ``batteries`` finds the cheapest schedule between empty and full: exact wherever the effective price is
  above −wear (1+η)/(1−η), a lower bound elsewhere.
  A part of an interval is a step as long as that part: power over it, and the plan's, are the interval's mean divided
  by the share.
- One way, the level only rises, so no bound but the target matters: the cheapest hours are filled first (``filling``).

Real time's terms count only while the car is plugged in; in other intervals its power is 0, and what that costs against
a plan is a constant, which is added to the least cost.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.batteries import SPARE, battery_of, cheapest_cycle, keeps_limits
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.filling import cheapest_filling
from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("hours", "edges_h")
"""Fields of ``ChargingArrays`` that are not per row."""

_HOURS, _PRICE, _STRAY, _PLAN, _POWER = SPARE, SPARE + 1, SPARE + 2, SPARE + 3, SPARE + 4
"""Rows of scratch memory: the steps of one stay."""


class ChargingArrays(NamedTuple):
    """n stays, (n,) each; powers kW, energies kWh, wear CNY per kWh at the grid (0 one way).

    ``stored``: η⁺.  ``taken``: 1 / η⁻.  ``arrive_h``, ``depart_h``: hours since the horizon's start.  ``first``,
    ``stop``: intervals with the car plugged in, [first, stop).  ``after_h``: length of the virtual slot.  ``start``,
    ``target``: the level (V2G) or what was delivered since arrival (V1G), at the start and at departure.  ``floor``,
    ``ceiling``: bounds of it.  ``hours``: (T,), ``edges_h``: (T + 1,), shared.
    """

    charge_kw: FloatArray
    discharge_kw: FloatArray
    stored: FloatArray
    taken: FloatArray
    wear: FloatArray
    arrive_h: FloatArray
    depart_h: FloatArray
    first: IndexArray
    stop: IndexArray
    after_h: FloatArray
    start: FloatArray
    target: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    hours: FloatArray
    edges_h: FloatArray


def charging_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> ChargingArrays:
    """The stays of the session table's columns as admitted; what was measured belongs to the car that is here.

    A stay that is over has no interval and wants nothing.
    """
    number = {name: np.ascontiguousarray(columns[name], dtype=np.float64) for name in _NUMBERS}
    arrive, depart = (setting.hours_since_start(columns[name]) for name in ("arrival", "departure"))
    edges = setting.edges_h
    both_ways = number["discharge_limit_kw"] > 0
    over = depart <= 0
    here = (arrive <= 0) & ~over
    began = np.where(both_ways, number["battery_start_kwh"], 0.0)
    measured = np.where(here, np.where(both_ways, states.energy_kwh, states.delivered_kwh), np.nan)
    start = np.where(np.isnan(measured), began, measured)
    target = np.where(over, start, began + number["energy_needed_kwh"])
    ceiling = np.maximum(np.where(both_ways, number["battery_capacity_kwh"], target), start)
    return ChargingArrays(
        charge_kw=number["charge_limit_kw"],
        discharge_kw=number["discharge_limit_kw"],
        stored=number["charge_efficiency"],
        taken=1 / number["discharge_efficiency"],
        wear=np.where(both_ways, number["wear_cost_per_kwh"], 0.0),
        arrive_h=arrive,
        depart_h=depart,
        first=np.searchsorted(edges[1:], arrive, side="right").astype(np.int64),
        stop=np.where(over, 0, np.searchsorted(edges[:-1], depart, side="left")).astype(np.int64),
        after_h=np.maximum(0.0, depart - np.maximum(edges[-1], arrive)),
        start=start,
        target=target,
        floor=np.where(both_ways, np.minimum(0.0, start), -np.inf),
        ceiling=ceiling,
        hours=setting.hours,
        edges_h=edges,
    )


_NUMBERS = (
    "charge_limit_kw",
    "discharge_limit_kw",
    "charge_efficiency",
    "discharge_efficiency",
    "wear_cost_per_kwh",
    "energy_needed_kwh",
    "battery_start_kwh",
    "battery_capacity_kwh",
)


@jit_row
def cheapest_charging(
    units: ChargingArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Fill ``power_kw`` (T,) with stay i's schedule; (least cost, its wear, kWh drawn in the virtual slot)."""
    first, stop, after_h = units.first[i], units.stop[i], units.after_h[i]
    steps = max(stop - first, 0)
    apart = 0.0
    for t in range(hours.size):
        power_kw[t] = 0.0
        if stray[t] > 0 and not first <= t < stop:
            apart += hours[t] * stray[t] * abs(plan_kw[t])
    if steps == 0 and after_h == 0:  # over: nothing is left to price, not even what its charger strays
        return 0.0, 0.0, 0.0
    here, cost, off, plan, power = work[_HOURS], work[_PRICE], work[_STRAY], work[_PLAN], work[_POWER]
    for k in range(steps):
        t = first + k
        here[k] = _plugged_h(units, i, t, hours)
        cost[k] = price[t]
        off[k] = stray[t]
        plan[k] = plan_kw[t] * hours[t] / here[k]
    inside = steps
    if after_h > 0:
        here[steps], cost[steps], off[steps], plan[steps] = after_h, late, 0.0, 0.0
        steps += 1
    battery = battery_of(units, i, units.target[i], units.target[i])
    if battery.discharge_kw == 0 and battery.wear == 0:
        least, worn = cheapest_filling(battery, steps, here, cost, off, plan, work, power), 0.0
    else:
        least, worn = cheapest_cycle(battery, steps, here, cost, off, plan, work, power)
    for k in range(inside):
        power_kw[first + k] = power[k] * here[k] / hours[first + k]
    return least + apart, worn, power[inside] * after_h if after_h > 0 else 0.0


@jit_row
def planned_charging(
    units: ChargingArrays,
    i: int,
    hours: FloatArray,
    plan_kw: FloatArray,
    stray: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float]:
    """Wear of doing what the plan does while the car is here, CNY, and kWh drawn in the virtual slot.

    A wear less than 0 if that is no schedule.  Fills ``power_kw`` (T,).
    """
    first, stop, after_h = units.first[i], units.stop[i], units.after_h[i]
    steps, here, power = max(stop - first, 0), work[_HOURS], work[_POWER]
    known = steps > 0
    for t in range(hours.size):
        power_kw[t] = 0.0
    for k in range(steps):
        t = first + k
        here[k] = _plugged_h(units, i, t, hours)
        power_kw[t] = plan_kw[t]
        power[k] = plan_kw[t] * hours[t] / here[k]
        known &= stray[t] > 0
    worn, late_kwh = _spent(units, i, hours, plan_kw)
    if after_h > 0:
        here[steps], power[steps] = after_h, late_kwh / after_h
        steps += 1
    if known and keeps_limits(battery_of(units, i, units.target[i], units.target[i]), steps, here, power):
        return worn, late_kwh
    return -1.0, 0.0


@jit_row
def _spent(units: ChargingArrays, i: int, hours: FloatArray, power_kw: FloatArray) -> tuple[float, float]:
    """Wear of stay i under power (T,) while the car is here, CNY, and kWh drawn in the virtual slot, wear included."""
    level, moved, late_kwh = units.start[i], 0.0, 0.0
    for t in range(units.first[i], units.stop[i]):
        level += hours[t] * (max(power_kw[t], 0.0) * units.stored[i] + min(power_kw[t], 0.0) * units.taken[i])
        moved += hours[t] * abs(power_kw[t])
    if units.after_h[i] > 0:
        lacking = units.target[i] - level
        late_kwh = lacking / (units.stored[i] if lacking > 0 else units.taken[i])
    return units.wear[i] * (moved + abs(late_kwh)), late_kwh


@jit
def spent_charging(
    units: ChargingArrays, members: Members, table_kw: FloatArray, first: int, last: int, late_cost: FloatArray
) -> float:
    """Wear and virtual slots of rows [first, last) under the power that a table (R, T) has for their chargers, CNY.

    ``late_cost``: (K,) as in ``Prices``.  Stays that share their charger are left out: the table does not tell whose
    power it is.
    """
    spent = 0.0
    for i in range(first, last):
        if members.alone[i]:
            worn, late_kwh = _spent(units, i, units.hours, table_kw[members.resource[i]])
            spent += worn + late_cost[members.tariff[i]] * late_kwh
    return spent


@jit_row
def _plugged_h(units: ChargingArrays, i: int, t: int, hours: FloatArray) -> float:
    """Hours of interval t, [first, stop), in which stay i's car is plugged in."""
    left, right = units.edges_h[t], units.edges_h[t + 1]
    if units.arrive_h[i] <= left and units.depart_h[i] >= right:
        return float(hours[t])
    return float(min(right, units.depart_h[i]) - max(left, units.arrive_h[i]))


@jit
def sweep_charging(
    units: ChargingArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Ask the oracle about rows [first, last), add up; write their power to ``power_out`` unless it is empty."""
    count = prices.hours.size
    price, stray, plan, power = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan)
        late = prices.late[members.tariff[i]]
        own, late_kwh = -1.0, 0.0
        if prices.pull > 0:
            own, late_kwh = planned_charging(units, i, prices.hours, plan, stray, power, work)
        if own >= 0:
            answer = (0.0, own, late_kwh)
        else:
            answer = cheapest_charging(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power


@jit
def energy_charging(
    units: ChargingArrays, rows: IndexArray, place: IndexArray, power_kw: FloatArray, energy_kwh: FloatArray
) -> None:
    """Fill lines ``place`` (m,) of ``energy_kwh`` (n, T) while the cars of ``rows`` (m,) are here.

    Level (V2G) or energy delivered since arrival (V1G) at the end of every interval under the net power in these lines;
    power outside the stay is another car's.
    """
    for k in range(rows.size):
        i, power, energy = rows[k], power_kw[place[k]], energy_kwh[place[k]]
        stored, taken, level = units.stored[i], units.taken[i], units.start[i]
        for t in range(units.first[i], units.stop[i]):
            level += units.hours[t] * (max(power[t], 0.0) * stored + min(power[t], 0.0) * taken)
            energy[t] = level
