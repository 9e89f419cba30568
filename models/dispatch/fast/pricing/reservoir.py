"""Modes and levels of pumped hydro: the exact least cost of every level that can be reached, mode by mode.

    R_t(m, y) = least of F_t(m, y) and F_t(k, y) + mode change, over the other modes k
    F_{t+1}(m, y) = least over x in the range of m of R_t(m, y − x) + cost of x,      floor ≤ y ≤ ceiling

F_t(m, y): least cost of standing at level y at edge t, after an interval in mode m.  F_0 is a point, what a mode may do
costs straight lines over an interval of changes (two of them where straying bends the cost), so every F is a broken
line and both steps are exact (``broken_lines``).  Minimum powers leave jumps and gaps in them, which no grid of levels
would find.  There are about a hundred pieces over a day of quarter hours; thousands where pump and turbine know one
power only.  Then the way is read backwards: from a level and mode at an edge to the best at the edge before.

Money CNY, powers kW, levels kWh; T intervals.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.broken_lines import at_level, lower_of, stepped, within
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.setting import IndexArray
from models.intervals import FloatArray

IDLE, PUMP, TURBINE = 0, 1, 2
MODES = 3
NEED, CHANGE, MODE = 20, 21, 22
"""Rows of scratch memory: least level at every edge, change of the level and mode in every interval."""
_SLACK = 1e-10
"""Levels may miss a bound by this part of the reservoir: rounding must not forbid a way."""


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


class Reached(NamedTuple):
    """F of every edge and mode: ``pieces`` (N, 4), those of edge t and mode m from ``first[3 t + m]`` on."""

    pieces: FloatArray
    first: IndexArray


@jit
def fill_need(units: HydroArrays, i: int, hours: FloatArray, need: FloatArray) -> None:
    """The least level at every edge from which the end condition might still be met, kWh (T + 1,)."""
    need[hours.size] = units.end_min[i]
    for t in range(hours.size - 1, -1, -1):
        need[t] = max(units.floor[i], need[t + 1] - hours[t] * units.stored[i] * units.charge_kw[i])


@jit
def _choices(
    units: HydroArrays, i: int, mode: int, hours: float, price: float, stray: float, plan_kw: float, found: FloatArray
) -> int:
    """What a mode may do in an interval: rows (least change, most change, CNY per kWh of it, constant); how many."""
    if mode == IDLE:
        found[0, 0], found[0, 1], found[0, 2], found[0, 3] = 0.0, 0.0, 0.0, hours * stray * abs(plan_kw)
        return 1
    if mode == PUMP:
        per_kwh, wear, low, high = units.stored[i], units.wear[i], units.charge_min_kw[i], units.charge_kw[i]
    else:
        per_kwh, wear, low, high = units.taken[i], -units.wear[i], -units.discharge_kw[i], -units.discharge_min_kw[i]
    count = 0
    for away in (-stray, stray):
        first, last = low, high
        if stray > 0.0:
            first, last = (low, min(high, plan_kw)) if away < 0 else (max(low, plan_kw), high)
        if first <= last:
            found[count, 0], found[count, 1] = hours * per_kwh * first, hours * per_kwh * last
            found[count, 2], found[count, 3] = (price + wear + away) / per_kwh, -hours * away * plan_kw
            count += 1
        if stray <= 0.0:
            break
    return count


@jit
def _kept(pieces: FloatArray, first: IndexArray, place: int, line: FloatArray) -> FloatArray:
    """Write a line behind the others; the array of all, which may have grown."""
    begin = first[place]
    end = begin + len(line)
    if end > len(pieces):
        grown = np.empty((2 * end, 4))
        grown[:begin] = pieces[:begin]
        pieces = grown
    pieces[begin:end] = line
    first[place + 1] = end
    return pieces


@jit
def reach(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    need: FloatArray,
) -> Reached:
    """F of all edges; ``price``, ``stray``, ``plan_kw``: (T,), ``need``: (T + 1,)."""
    first = np.zeros(MODES * (hours.size + 1) + 1, dtype=np.int64)
    pieces = np.empty((512 * MODES * (hours.size + 1) // 4, 4))
    nowhere, begin, choices = np.empty((0, 4)), np.zeros((1, 4)), np.empty((2, 4))
    begin[0, 0] = begin[0, 2] = units.start[i]
    for mode in range(MODES):
        pieces = _kept(pieces, first, mode, begin if mode == units.before[i] else nowhere)
    slack = _SLACK * max(1.0, units.ceiling[i])
    for t in range(hours.size):
        floor, ceiling, at = need[t + 1] - slack, units.ceiling[i] + slack, MODES * t
        idle, pump = pieces[first[at] : first[at + 1]], pieces[first[at + 1] : first[at + 2]]
        turbine = pieces[first[at + 2] : first[at + 3]]
        anyhow = lower_of(lower_of(idle, pump, 0.0), turbine, 0.0)
        for mode in range(MODES):
            own = idle if mode == IDLE else pump if mode == PUMP else turbine
            before = lower_of(own, anyhow, units.change_cost[i])
            count = _choices(units, i, mode, hours[t], price[t], stray[t], plan_kw[t], choices)
            if mode == IDLE:
                line = within(before, 0.0, choices[0, 3], floor, ceiling)
            else:
                low, high, slope, constant = choices[0]
                line = stepped(before, low, high, slope, constant, floor, ceiling)
                if count > 1:
                    low, high, slope, constant = choices[1]
                    line = lower_of(line, stepped(before, low, high, slope, constant, floor, ceiling), 0.0)
            pieces = _kept(pieces, first, at + MODES + mode, line)
    return Reached(pieces, first)


@jit
def _end(reached: Reached, place: int) -> tuple[float, float, int]:
    """The least cost at an edge, its level and its mode; inf where nothing is reached."""
    least, level, mode = np.inf, 0.0, IDLE
    for k in range(MODES):
        for row in range(reached.first[place + k], reached.first[place + k + 1]):
            for end in (0, 2):
                if reached.pieces[row, end + 1] < least:
                    least, level, mode = reached.pieces[row, end + 1], reached.pieces[row, end], k
    return least, level, mode


@jit
def _cheapest_source(
    reached: Reached, place: int, mode: int, change_cost: float, bottom: float, top: float, slope: float
) -> tuple[float, float, int]:
    """Least F + mode change − slope · level at an edge, between two levels: cost, level, mode there."""
    best, source, was = np.inf, bottom, mode
    for k in range(MODES):
        paid = 0.0 if k == mode else change_cost
        for row in range(reached.first[place + k], reached.first[place + k + 1]):
            if reached.pieces[row, 0] > top or reached.pieces[row, 2] < bottom:
                continue
            for z in (max(reached.pieces[row, 0], bottom), min(reached.pieces[row, 2], top)):
                cost = at_level(reached.pieces, row, z) + paid - slope * z
                if cost < best:
                    best, source, was = cost, z, k
    return best, source, was


@jit
def read_way(
    units: HydroArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    reached: Reached,
    work: FloatArray,
) -> float:
    """Modes and changes of the level of the cheapest way; its cost, inf if there is none."""
    slack, choices = _SLACK * max(1.0, units.ceiling[i]), np.empty((2, 4))
    least, level, mode = _end(reached, MODES * hours.size)
    if not least < np.inf:
        return np.inf
    for t in range(hours.size - 1, -1, -1):
        best, source, was = np.inf, level, mode
        for k in range(_choices(units, i, mode, hours[t], price[t], stray[t], plan_kw[t], choices)):
            low, high, slope, constant = choices[k]
            found, z, before = _cheapest_source(
                reached, MODES * t, mode, units.change_cost[i], level - high - slack, level - low + slack, slope
            )
            if found + constant + slope * level < best:
                best, source, was = found + constant + slope * level, z, before
        work[MODE, t], work[CHANGE, t] = mode, level - source
        level, mode = source, was
    return float(least)
