"""Storage: batteries and telecom backup (pumped hydro has an oracle of its own).

The least cost of a battery is that of ``batteries``: exact wherever the effective price is above −wear (1+η)/(1−η),
a lower bound elsewhere.  Against ``reference/storage``: S2 is the change of the level, S3-S5 are the bounds, S6-S8 hold
because a schedule is made of net changes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.batteries import battery_of, cheapest_cycle, keeps_limits
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("hours",)
"""Fields of ``StorageArrays`` that are not per row."""


class StorageArrays(NamedTuple):
    """n batteries, (n,) each; powers kW, levels kWh, wear CNY per kWh at the grid.

    ``stored``: η⁺.  ``taken``: 1 / η⁻.  ``start``: measured, else as registered.  ``hours``: (T,), shared.
    """

    charge_kw: FloatArray
    discharge_kw: FloatArray
    stored: FloatArray
    taken: FloatArray
    wear: FloatArray
    start: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    end_min: FloatArray
    hours: FloatArray


def storage_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> StorageArrays:
    """The storage table's columns as admitted, and the levels measured, as arrays."""
    number = {name: np.ascontiguousarray(columns[name], dtype=np.float64) for name in _NUMBERS}
    measured = states.energy_kwh
    return StorageArrays(
        charge_kw=number["charge_limit_kw"],
        discharge_kw=number["discharge_limit_kw"],
        stored=number["charge_efficiency"],
        taken=1 / number["discharge_efficiency"],
        wear=number["wear_cost_per_kwh"],
        start=np.where(np.isnan(measured), number["energy_start_kwh"], measured),
        floor=number["energy_min_kwh"],
        ceiling=number["energy_max_kwh"],
        end_min=np.maximum(number["energy_end_min_kwh"], number["energy_min_kwh"]),
        hours=setting.hours,
    )


_NUMBERS = (
    "charge_limit_kw",
    "discharge_limit_kw",
    "charge_efficiency",
    "discharge_efficiency",
    "wear_cost_per_kwh",
    "energy_start_kwh",
    "energy_min_kwh",
    "energy_max_kwh",
    "energy_end_min_kwh",
)


@jit_row
def cheapest_storage(
    units: StorageArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every kind is asked alike
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Fill ``power_kw`` (T,) with battery i's schedule; (least cost, its wear, 0), CNY."""
    battery = battery_of(units, i, units.end_min[i], units.ceiling[i])
    least, worn = cheapest_cycle(battery, hours.size, hours, price, stray, plan_kw, work, power_kw)
    return least, worn, 0.0


@jit_row
def planned_storage(
    units: StorageArrays, i: int, hours: FloatArray, plan_kw: FloatArray, stray: FloatArray, power_kw: FloatArray
) -> float:
    """Wear of doing what the plan does, CNY; less than 0 if that is no schedule.  Fills ``power_kw`` (T,)."""
    moved, known = 0.0, True
    for t in range(hours.size):
        power_kw[t] = plan_kw[t]
        moved += hours[t] * abs(plan_kw[t])
        known &= stray[t] > 0
    if known and keeps_limits(battery_of(units, i, units.end_min[i], units.ceiling[i]), hours.size, hours, power_kw):
        return float(units.wear[i] * moved)
    return -1.0


@jit
def sweep_storage(
    units: StorageArrays,
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
        own = -1.0
        if prices.pull > 0:
            own = planned_storage(units, i, prices.hours, plan, stray, power)
        if own >= 0:
            answer = (0.0, own, 0.0)
        else:
            answer = cheapest_storage(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power


@jit
def spent_storage(
    units: StorageArrays,
    members: Members,
    table_kw: FloatArray,
    first: int,
    last: int,
    late_cost: FloatArray,  # noqa: ARG001 - every kind is asked alike
) -> float:
    """Wear of rows [first, last) under the power that a table (R, T) has for their resources, CNY."""
    spent = 0.0
    for i in range(first, last):
        power_kw, moved = table_kw[members.resource[i]], 0.0
        for t in range(power_kw.size):
            moved += units.hours[t] * abs(power_kw[t])
        spent += units.wear[i] * moved
    return spent


@jit
def energy_storage(
    units: StorageArrays, rows: IndexArray, place: IndexArray, power_kw: FloatArray, energy_kwh: FloatArray
) -> None:
    """Fill lines ``place`` (m,) of ``energy_kwh`` (n, T): level of ``rows`` (m,) under the net power in these lines.

    Of pumped hydro too, whose arrays have these fields.
    """
    for k in range(rows.size):
        i, power, energy = rows[k], power_kw[place[k]], energy_kwh[place[k]]
        stored, taken, level = units.stored[i], units.taken[i], units.start[i]
        for t in range(power.size):
            level += units.hours[t] * (max(power[t], 0.0) * stored + min(power[t], 0.0) * taken)
            energy[t] = level
