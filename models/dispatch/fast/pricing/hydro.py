"""Pumped hydro: a battery whose pump and turbine run at a minimum or not at all, and whose changes of mode cost.

*Exact* (S1 to S12): dynamic programming over mode and level in broken lines (``reservoir``) gives the least cost and
the modes that it takes.  With these modes fixed every step's change lies in an interval at a linear cost, which
``stores`` solves once more, so that no limit is missed by rounding.

Where there is no way at all (a pump too strong for its reservoir), the unit charges as early as it can, the path by
which admissions judge what can be reached, and the least cost is that of ``batteries``, minima and mode costs left out:
a lower bound, as in the checker.
"""

from collections.abc import Mapping

import numpy as np

from models.dispatch.fast.pricing.batteries import battery_of, cheapest_cycle
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.reservoir import (
    CHANGE,
    IDLE,
    MODE,
    NEED,
    PUMP,
    TURBINE,
    HydroArrays,
    fill_need,
    reach,
    read_way,
)
from models.dispatch.fast.pricing.stores import LOWEST, USED, cheapest_path, write_pieces
from models.dispatch.fast.setting import Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("hours",)
"""Fields of ``HydroArrays`` that are not per row."""

FOLLOWED = 5.0
"""Straying costs more than any price can pay, CNY per kWh."""
_RUNNING_KW = 1e-6
"""Before the horizon, less than this is standing still."""


def hydro_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> HydroArrays:
    """The storage table's columns as admitted, and the levels and modes measured, as arrays."""

    def number(name: str) -> FloatArray:
        return np.ascontiguousarray(columns[name], dtype=np.float64)

    measured, power = states.energy_kwh, np.nan_to_num(states.power_kw)
    return HydroArrays(
        charge_kw=number("charge_limit_kw"),
        discharge_kw=number("discharge_limit_kw"),
        charge_min_kw=number("charge_min_kw"),
        discharge_min_kw=number("discharge_min_kw"),
        stored=number("charge_efficiency"),
        taken=1 / number("discharge_efficiency"),
        wear=number("wear_cost_per_kwh"),
        change_cost=number("mode_change_cost"),
        start=np.where(np.isnan(measured), number("energy_start_kwh"), measured),
        floor=number("energy_min_kwh"),
        ceiling=number("energy_max_kwh"),
        end_min=np.maximum(number("energy_end_min_kwh"), number("energy_min_kwh")),
        before=np.where(power > _RUNNING_KW, PUMP, np.where(power < -_RUNNING_KW, TURBINE, IDLE)).astype(np.int64),
        hours=setting.hours,
    )


@jit
def _charge_early(units: HydroArrays, i: int, hours: FloatArray, work: FloatArray) -> None:
    """Modes and changes of charging as much as fits in every interval from the first on, until the end is reached."""
    level = units.start[i]
    for t in range(hours.size):
        work[MODE, t], work[CHANGE, t] = IDLE, 0.0
        power = min(units.charge_kw[i], (units.ceiling[i] - level) / (units.stored[i] * hours[t]))
        if level < units.end_min[i] and power >= units.charge_min_kw[i] and power > 0.0:
            work[MODE, t], work[CHANGE, t] = PUMP, units.stored[i] * hours[t] * power
            level += work[CHANGE, t]


@jit
def _least_without_modes(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    power_kw: FloatArray,
) -> float:
    """The least cost of the unit as a battery; ``power_kw`` is used up."""
    battery = battery_of(units, i, units.end_min[i], units.ceiling[i])
    least, _ = cheapest_cycle(battery, hours.size, hours, price, stray, plan_kw, work, power_kw)
    return float(least)


@jit
def _refine(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> bool:
    """The best changes of the level with the modes as they are; those at hand (False) if there is no way."""
    given, per_stored = 1.0 / units.taken[i], 1.0 / units.stored[i]
    for t in range(hours.size):
        low_kw, high_kw, slope, per_kwh = 0.0, 0.0, 0.0, 1.0
        if work[MODE, t] == PUMP:
            low_kw, high_kw, per_kwh = units.charge_min_kw[i], units.charge_kw[i], per_stored
            slope = (price[t] + units.wear[i]) * per_stored
        elif work[MODE, t] == TURBINE:
            low_kw, high_kw, per_kwh = -units.discharge_kw[i], -units.discharge_min_kw[i], given
            slope = (price[t] - units.wear[i]) * given
        kink_kw = min(max(plan_kw[t], low_kw), high_kw)
        scale, bend = hours[t] / per_kwh, stray[t] * per_kwh
        work[LOWEST, t] = scale * low_kw
        below, above = scale * (kink_kw - low_kw), scale * (high_kw - kink_kw)
        write_pieces(work, t, slope - bend, below, slope + bend, above, 0.0, 0.0)
    found = cheapest_path(
        units.start[i],
        units.floor[i],
        units.ceiling[i],
        units.end_min[i],
        units.ceiling[i],
        hours.size,
        False,
        work,
    )
    if not found < np.inf:
        return False
    for t in range(hours.size):
        work[CHANGE, t] = work[LOWEST, t] + work[USED, t]
    return True


@jit
def _as_planned(plan_kw: FloatArray, hours: FloatArray, work: FloatArray) -> None:
    """The modes of a plan."""
    for t in range(hours.size):
        work[MODE, t], work[CHANGE, t] = IDLE, 0.0
        if abs(plan_kw[t]) > _RUNNING_KW:
            work[MODE, t] = PUMP if plan_kw[t] > 0 else TURBINE


@jit
def _read_powers(units: HydroArrays, i: int, hours: FloatArray, work: FloatArray, power_kw: FloatArray) -> float:
    """Fill ``power_kw`` from modes and changes; the own cost: wear, and the cheapest modes that fit."""
    idle, pump, turbine = np.inf, np.inf, np.inf
    if units.before[i] == PUMP:
        pump = 0.0
    elif units.before[i] == TURBINE:
        turbine = 0.0
    else:
        idle = 0.0
    moved = 0.0
    for t in range(hours.size):
        power = 0.0
        if work[MODE, t] == PUMP:
            power = work[CHANGE, t] / (hours[t] * units.stored[i])
            power = min(max(power, units.charge_min_kw[i]), units.charge_kw[i])
        elif work[MODE, t] == TURBINE:
            power = work[CHANGE, t] / (hours[t] * units.taken[i])
            power = max(min(power, -units.discharge_min_kw[i]), -units.discharge_kw[i])
        power_kw[t] = power
        moved += hours[t] * abs(power)
        pumps = power > _RUNNING_KW * max(1.0, units.charge_kw[i])
        turbines = -power > _RUNNING_KW * max(1.0, units.discharge_kw[i])
        changed = min(idle, pump, turbine) + units.change_cost[i]
        stands = not (pumps or turbines)
        idle = min(idle, changed) if stands else np.inf
        pump = min(pump, changed) if pumps or (stands and units.charge_min_kw[i] == 0.0) else np.inf
        turbine = min(turbine, changed) if turbines or (stands and units.discharge_min_kw[i] == 0.0) else np.inf
    return float(units.wear[i] * moved + min(idle, pump, turbine))


@jit
def cheapest_hydro(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every kind is asked alike
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Fill ``power_kw`` (T,) with the cheapest schedule; (least cost; own cost of the schedule; 0), CNY.

    Where a plan is to be followed whatever it costs, the modes are the plan's if they can be, and there is no bound.
    Else it allocates its broken lines: there are few units, and each takes a thousand times longer than that.
    """
    if np.min(stray) >= FOLLOWED:
        _as_planned(plan_kw, hours, work)
        if _refine(units, i, hours, price, stray, plan_kw, work):
            return -np.inf, _read_powers(units, i, hours, work, power_kw), 0.0
    fill_need(units, i, hours, work[NEED])
    reached = reach(units, i, hours, price, stray, plan_kw, work[NEED])
    least = read_way(units, i, hours, price, stray, plan_kw, reached, work)
    if not least < np.inf:
        least = _least_without_modes(units, i, hours, price, stray, plan_kw, work, power_kw)
        _charge_early(units, i, hours, work)
    _refine(units, i, hours, price, stray, plan_kw, work)
    return least, _read_powers(units, i, hours, work, power_kw), 0.0


@jit
def sweep_hydro(
    units: HydroArrays,
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
        answer = cheapest_hydro(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
