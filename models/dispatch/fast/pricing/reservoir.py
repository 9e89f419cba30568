"""Modes and levels of pumped hydro: value functions over (level, mode), and a search for the cheapest way along them.

The levels that matter at an edge lie between the least from which the end condition can still be met and the ceiling: a
grid of their own for every edge, LEVELS points, value functions linear in between.  A step goes from a level to
wherever its cost plus the value there is least: at the ends of what its mode can do, or at a level of the next grid.
Money CNY, powers kW, levels kWh; T intervals.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.setting import IndexArray
from models.intervals import FloatArray

LEVELS = 64
"""Points of the grid of levels."""
PLACES = 12
"""Ways that the search follows at once, for each mode."""
IDLE, PUMP, TURBINE = 0, 1, 2
NEED, CHANGE, MODE = 20, 21, 22
"""Rows of scratch memory: least level at every edge, change of the level and mode in every interval."""
_FAR = 1e15
"""Rank of a way from which the value functions see no end, CNY: followed only where there is no other."""
_TINY = 1e-12


class HydroArrays(NamedTuple):
    """n units, (n,) each; powers kW, levels kWh, wear CNY per kWh at the grid, money CNY.

    ``stored``: η⁺.  ``taken``: 1 / η⁻.  ``start``: measured, else as registered.  ``before``: mode before the horizon,
    0 idle, 1 pump, 2 turbine.  ``hours``: (T,), shared.
    """

    charge_kw: FloatArray
    discharge_kw: FloatArray
    charge_min_kw: FloatArray
    discharge_min_kw: FloatArray
    stored: FloatArray
    taken: FloatArray
    wear: FloatArray
    change_cost: FloatArray
    start: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    end_min: FloatArray
    before: IndexArray
    hours: FloatArray


@jit
def fill_need(units: HydroArrays, i: int, hours: FloatArray, need: FloatArray) -> None:
    """The least level at every edge from which the end condition can still be met, kWh (T + 1,)."""
    need[hours.size] = units.end_min[i]
    for t in range(hours.size - 1, -1, -1):
        need[t] = max(units.floor[i], need[t + 1] - hours[t] * units.stored[i] * units.charge_kw[i])


@jit
def _value(values: FloatArray, place: float) -> float:
    """A value function between its grid points."""
    k = min(int(place), LEVELS - 2)
    share = place - k
    if share <= _TINY:
        return float(values[k])
    if share >= 1 - _TINY:
        return float(values[k + 1])
    return float(values[k] + (values[k + 1] - values[k]) * share)


@jit
def _range(
    units: HydroArrays, i: int, mode: int, hours: float, level: float, need: float
) -> tuple[float, float, float]:
    """What a mode can do from a level: its lowest and highest change, and kWh of power per kWh of change.

    The lowest is above the highest where it can do nothing.
    """
    if mode == PUMP:
        per_kwh = 1.0 / units.stored[i]
        low, high = hours * units.charge_min_kw[i] / per_kwh, hours * units.charge_kw[i] / per_kwh
    elif mode == TURBINE:
        per_kwh = 1.0 / units.taken[i]
        low, high = -hours * units.discharge_kw[i] / per_kwh, -hours * units.discharge_min_kw[i] / per_kwh
    else:
        per_kwh, low, high = 1.0, 0.0, 0.0
    slack = _TINY * max(1.0, units.ceiling[i])
    low, high = max(low, need - level), min(high, units.ceiling[i] - level)
    if low <= high + slack:
        high = max(low, high)
    return low, high, per_kwh


@jit
def _best_change(
    units: HydroArrays,
    i: int,
    mode: int,
    hours: float,
    price: float,
    stray: float,
    plan_kw: float,
    level: float,
    need: float,
    values: FloatArray,
) -> tuple[float, float]:
    """(least cost of a step in ``mode`` from ``level`` on, its change of the level); inf if it cannot be done.

    ``values``: at the levels of the next grid, from ``need`` to the ceiling, for a unit that is in ``mode`` then.
    """
    low, high, per_kwh = _range(units, i, mode, hours, level, need)
    if low > high:
        return np.inf, 0.0
    slope = (price + (units.wear[i] if mode == PUMP else -units.wear[i])) * per_kwh
    width = max(units.ceiling[i] - need, _TINY) / (LEVELS - 1)
    first = min(max((level + low - need) / width, 0.0), LEVELS - 1.0)
    last = min(max((level + high - need) / width, first), LEVELS - 1.0)
    best, change = np.inf, low
    for k in range(int(first) + 1, int(last) + 1):
        at = need + width * k - level
        cost = slope * at + values[k]
        if stray > 0.0:
            cost += stray * abs(at * per_kwh - hours * plan_kw)
        if cost < best:
            best, change = cost, at
    cost = slope * low + _value(values, first) + stray * abs(low * per_kwh - hours * plan_kw)
    if cost <= best:
        best, change = cost, low
    cost = slope * high + _value(values, last) + stray * abs(high * per_kwh - hours * plan_kw)
    if cost < best:
        best, change = cost, high
    planned = hours * plan_kw / per_kwh
    if stray > 0.0 and low < planned < high:
        cost = slope * planned + _value(values, min((level + planned - need) / width, LEVELS - 1.0))
        if cost < best:
            best, change = cost, planned
    return best, change


@jit
def fill_values(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    need: FloatArray,
    values: FloatArray,
) -> None:
    """Value functions (T + 1, 3 modes, levels) of being in a mode at an edge, backwards."""
    count = hours.size
    values[count, :, :] = 0.0
    for t in range(count - 1, -1, -1):
        width = (units.ceiling[i] - need[t]) / (LEVELS - 1)
        for k in range(LEVELS):
            level, least = need[t] + width * k, np.inf
            for mode in range(3):
                cost, _ = _best_change(
                    units, i, mode, hours[t], price[t], stray[t], plan_kw[t], level, need[t + 1], values[t + 1, mode]
                )
                values[t, mode, k] = cost
                least = min(least, cost)
            for mode in range(3):
                values[t, mode, k] = min(values[t, mode, k], least + units.change_cost[i])


class Beam(NamedTuple):
    """Ways from the start to every edge: (T + 1, modes x places), the cheapest of each mode and stretch of levels.

    ``cost``: CNY so far.  ``rank``: the same and what is still to come.  ``level``: kWh, exact.  ``change``: the last
    step's.  ``parent``: where it comes from.
    """

    cost: FloatArray
    rank: FloatArray
    level: FloatArray
    change: FloatArray
    parent: IndexArray


@jit
def _put(beam: Beam, t: int, mode: int, place: float, parent: int, cost: float, ahead: float, level: float) -> None:
    """Keep a way to edge t if it is the best of its place; ``place``: 0 ... 1 between least level and ceiling."""
    slot = mode * PLACES + min(max(int(place * PLACES), 0), PLACES - 1)
    rank = cost + (ahead if ahead < np.inf else _FAR)
    if rank < beam.rank[t, slot]:
        beam.cost[t, slot], beam.rank[t, slot], beam.level[t, slot] = cost, rank, level
        beam.change[t, slot], beam.parent[t, slot] = level - beam.level[t - 1, parent], parent


@jit
def search_modes(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    values: FloatArray,
    beam: Beam,
    work: FloatArray,
) -> bool:
    """Modes and changes of the level of the cheapest way found; False if there is none."""
    beam.rank[:, :] = np.inf
    origin = units.before[i] * PLACES
    beam.rank[0, origin], beam.cost[0, origin], beam.level[0, origin] = 0.0, 0.0, units.start[i]
    for t in range(hours.size):
        need = work[NEED, t + 1]
        width = max(units.ceiling[i] - need, _TINY)
        for slot in range(3 * PLACES):
            if not beam.rank[t, slot] < np.inf:
                continue
            level = beam.level[t, slot]
            for mode in range(3):
                low, high, per_kwh = _range(units, i, mode, hours[t], level, need)
                if low > high:
                    continue
                paid = beam.cost[t, slot]
                if mode != slot // PLACES:
                    paid += units.change_cost[i]
                slope = (price[t] + (units.wear[i] if mode == PUMP else -units.wear[i])) * per_kwh
                best = low
                if high > low:
                    _, best = _best_change(
                        units, i, mode, hours[t], price[t], stray[t], plan_kw[t], level, need, values[t + 1, mode]
                    )
                for k in range(3 if high > low else 1):
                    change = best if k == 0 else (low if k == 1 else high)
                    cost = paid + slope * change + stray[t] * abs(change * per_kwh - hours[t] * plan_kw[t])
                    place = min(max((level + change - need) / width, 0.0), 1.0)
                    ahead = _value(values[t + 1, mode], place * (LEVELS - 1))
                    _put(beam, t + 1, mode, place, slot, cost, ahead, level + change)
    slot = int(np.argmin(beam.rank[hours.size]))
    if not beam.rank[hours.size, slot] < np.inf:
        return False
    for t in range(hours.size, 0, -1):
        work[MODE, t - 1], work[CHANGE, t - 1] = slot // PLACES, beam.change[t, slot]
        slot = beam.parent[t, slot]
    return True
