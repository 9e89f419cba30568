r"""Water values: a lower bound for pumped hydro that knows its modes.

The oracle's least cost for pumped hydro is that of a battery: minimum powers and mode changes are left out.  With a
value π_t for the level after every interval, the balance may be priced instead of kept, and what remains is exact:

    L(π) = min over modes and powers { Σ_t cost_t(p_t) − π_t x_t + changes }  +  min over levels { Σ_t π_t (e_t − e_{t−1}) }

with x_t the change of level by p_t.  The first is a shortest path through three modes, the second is separate for
every level.  L(π) is a lower bound for any π (weak duality); the π here are the duals of the balance in the linear
program whose modes are a flow of one unit through time, which makes L the best of all (its flow polytope is integral).

Source: A. Geoffrion, Math. Program. Study 2 (1974) 82; A. Borghetti et al., IEEE Trans. Power Syst. 23 (2008) 1115
(pumped storage by mode).
"""

from typing import Any, NamedTuple

import highspy
import numpy as np
from scipy import sparse

from models.intervals import FloatArray

IDLE, PUMP, TURBINE = 0, 1, 2
_MODES = 3


class Reservoir(NamedTuple):
    """One unit; powers kW, levels kWh, money CNY.  ``stored``: η⁺, ``taken``: 1 / η⁻, ``before``: mode before T=0."""

    charge_kw: tuple[float, float]
    discharge_kw: tuple[float, float]
    stored: float
    taken: float
    wear: float
    change_cost: float
    start: float
    floor: float
    ceiling: float
    end_min: float
    before: int


def powers_of(unit: Reservoir) -> tuple[tuple[float, float], ...]:
    """Lowest and highest net power of idle, pump and turbine, kW."""
    return (0.0, 0.0), unit.charge_kw, (-unit.discharge_kw[1], -unit.discharge_kw[0])


def least_with_water_values(
    unit: Reservoir,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    water: FloatArray,
) -> float:
    """L(π) in CNY; ``price``, ``stray``: (T,) CNY per kWh at the grid, ``water``: (T,) CNY per kWh of level."""
    cost = np.full(_MODES, np.inf)
    cost[unit.before] = 0.0
    for t in range(len(hours)):
        cheapest = float(cost.min()) + unit.change_cost
        stage = [_stage(unit, bounds, hours[t], price[t], stray[t], plan_kw[t], water[t]) for bounds in powers_of(unit)]
        cost = np.minimum(cost, cheapest) + np.array(stage)
    slope = water - np.append(water[1:], 0.0)
    low = np.full(len(hours), unit.floor)
    low[-1] = max(unit.floor, unit.end_min)
    levels = np.minimum(slope * low, slope * unit.ceiling).sum() - water[0] * unit.start
    return float(cost.min() + levels)


def _stage(
    unit: Reservoir, bounds: tuple[float, float], hours: float, price: float, stray: float, plan_kw: float, water: float
) -> float:
    """Least cost of one interval in one mode: at an end of its powers, or where straying bends."""
    best = np.inf
    for power in (*bounds, min(max(plan_kw, bounds[0]), bounds[1])):
        change = power * (unit.stored if power > 0 else unit.taken)
        own = price * power + stray * abs(power - plan_kw) + unit.wear * abs(power) - water * change
        best = min(best, hours * own)
    return best


def water_values(
    unit: Reservoir, hours: FloatArray, price: FloatArray, stray: FloatArray, plan_kw: FloatArray
) -> FloatArray:
    """π (T,), the duals of the balance; zeros if HiGHS finds none.

    Variables per interval: nine arcs from mode to mode, power drawn, power fed in, kW off the plan, the level.
    """
    count = len(hours)
    width = _MODES * _MODES + 4
    arc, draw, feed, off, level = 0, _MODES * _MODES, _MODES * _MODES + 1, _MODES * _MODES + 2, _MODES * _MODES + 3
    entries: list[tuple[int, int, float]] = []
    low: list[float] = []
    high: list[float] = []

    def row(terms: list[tuple[int, float]], least: float, most: float) -> None:
        entries.extend((len(low), column, value) for column, value in terms)
        low.append(least)
        high.append(most)

    inf = highspy.kHighsInf
    for t in range(count):
        at = t * width
        gained = [(at + draw, -hours[t] * unit.stored), (at + feed, hours[t] * unit.taken), (at + level, 1.0)]
        if t:
            gained.append((at - width + level, -1.0))
        row(gained, 0.0 if t else unit.start, 0.0 if t else unit.start)
    for t in range(count):
        at = t * width
        for mode in range(_MODES):
            into = [(at + arc + _MODES * k + mode, 1.0) for k in range(_MODES)]
            leaving = [(at + width + arc + _MODES * mode + k, -1.0) for k in range(_MODES)] if t + 1 < count else []
            if leaving:
                row([*into, *leaving], 0.0, 0.0)
            if t == 0:
                row([(at + arc + _MODES * mode + k, 1.0) for k in range(_MODES)], *([float(mode == unit.before)] * 2))
            if mode != IDLE:
                column, bounds = (draw, unit.charge_kw) if mode == PUMP else (feed, unit.discharge_kw)
                row([(at + column, 1.0), *((k, -bounds[1] * v) for k, v in into)], -inf, 0.0)
                row([(at + column, 1.0), *((k, -bounds[0] * v) for k, v in into)], 0.0, inf)
        if stray[t] > 0:
            row([(at + off, 1.0), (at + draw, -1.0), (at + feed, 1.0)], -plan_kw[t], inf)
            row([(at + off, 1.0), (at + draw, 1.0), (at + feed, -1.0)], plan_kw[t], inf)
    cost = np.zeros(count * width)
    lower, upper = np.zeros(count * width), np.full(count * width, inf)
    for t in range(count):
        at = t * width
        for k in range(_MODES):
            for mode in range(_MODES):
                cost[at + _MODES * k + mode] = unit.change_cost * (k != mode)
        cost[at + draw] = hours[t] * (price[t] + unit.wear)
        cost[at + feed] = hours[t] * (unit.wear - price[t])
        cost[at + off] = hours[t] * stray[t]
        lower[at + level], upper[at + level] = unit.floor, unit.ceiling
    lower[count * width - 1] = max(unit.floor, unit.end_min)
    rows_, columns, values = (np.array(each) for each in zip(*entries, strict=True))
    matrix = sparse.csc_matrix((values, (rows_, columns)), shape=(len(low), count * width))
    return -_duals(matrix, cost, lower, upper, np.array(low), np.array(high))[:count]


def _duals(
    matrix: Any, cost: FloatArray, lower: FloatArray, upper: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, lower, upper
    lp.row_lower_, lp.row_upper_ = low, high
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.passModel(lp)
    highs.run()
    solution = highs.getSolution()
    if not solution.dual_valid:
        return np.zeros(len(low))
    return np.asarray(solution.row_dual)
