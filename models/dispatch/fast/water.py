r"""Water values: a lower bound for pumped hydro that knows its modes.

The oracle's least cost for pumped hydro is that of a battery: minimum powers and mode changes are left out.  With a
value π_t for the level after every interval, the balance may be priced instead of kept:

    L(π) = min over modes, powers, levels { Σ_t cost_t(p_t) − π_t x_t + changes + Σ_t π_t (e_t − e_{t−1}) }

with x_t the change of level by p_t.  L(π) is a lower bound for any π (weak duality), and by itself falls apart into a
shortest path through three modes and one term per level.  ``least_by_cells`` keeps of the balance what a grid can keep:
levels are cut into N equal cells, and a step may go from one cell to another only by a change that leads from some
place of the first to some place of the second.  Only the place inside the cell is forgotten between steps, so it is
still a lower bound for any π, at least L(π), and tends to the true least cost as N grows.  Good values make it close
at moderate N; those here are the duals of the balance in the linear program whose modes are a flow of one unit through
time, which make L(π) the best of all (its flow polytope is integral).

Source: A. Geoffrion, Math. Program. Study 2 (1974) 82; A. Borghetti et al., IEEE Trans. Power Syst. 23 (2008) 1115
(pumped storage by mode); aggregation of states as a relaxation: D. P. Bertsekas, Dynamic Programming and Optimal
Control II (2012) §6.5.
"""

from typing import Any, NamedTuple

import highspy
import numpy as np
from scipy import sparse
from scipy.ndimage import minimum_filter1d

from models.dispatch.fast.pricing.reservoir import IDLE, PUMP, TURBINE, HydroArrays
from models.intervals import FloatArray

CELLS = 8192
"""Cells of a reservoir: a step moves by hundreds of them."""
MOST_PER_KWH = 1e4
"""No water value is farther from zero, CNY per kWh of level: beyond, rounding would be seen."""
_MODES = 3
_TOUCH = 1e-6
"""Cells that touch within this part of a cell may be stepped between: rounding must not forbid a way."""


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


class Piece(NamedTuple):
    """Changes of level from ``low`` to ``high``, kWh, in one interval and mode: cost = constant + slope · change, CNY.

    The cost has the water value taken off.
    """

    low: float
    high: float
    slope: float
    constant: float


def reservoir_of(units: HydroArrays, i: int) -> Reservoir:
    """Unit ``i`` of many."""
    return Reservoir(
        charge_kw=(float(units.charge_min_kw[i]), float(units.charge_kw[i])),
        discharge_kw=(float(units.discharge_min_kw[i]), float(units.discharge_kw[i])),
        stored=float(units.stored[i]),
        taken=float(units.taken[i]),
        wear=float(units.wear[i]),
        change_cost=float(units.change_cost[i]),
        start=float(units.start[i]),
        floor=float(units.floor[i]),
        ceiling=float(units.ceiling[i]),
        end_min=float(units.end_min[i]),
        before=int(units.before[i]),
    )


def least_by_cells(
    unit: Reservoir,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    water: FloatArray,
    cells: int = CELLS,
) -> float:
    """A lower bound of the unit's least cost, modes included, CNY; -inf if rounding leaves no way.

    ``price``, ``stray``: (T,) CNY per kWh at the grid; ``plan_kw``: (T,); ``water``: (T,) CNY per kWh of level.
    """
    room = max(unit.ceiling - unit.floor, _TOUCH * max(1.0, unit.ceiling))
    width = room / cells
    below: FloatArray = unit.floor + width * np.arange(cells, dtype=np.float64)
    above: FloatArray = below + width
    slope = water - np.append(water[1:], 0.0)
    cost = np.empty((_MODES, cells))
    for t in range(len(hours)):
        pieces = _pieces(unit, hours[t], price[t], stray[t], plan_kw[t], water[t])
        if t == 0:
            for mode in range(_MODES):
                cost[mode] = unit.change_cost * (mode != unit.before)
                cost[mode] += _from_level(unit.start, below, above, pieces[mode])
        else:
            reached = np.minimum(cost, cost.min(axis=0) + unit.change_cost)
            cost[IDLE] = reached[IDLE] + pieces[IDLE][0].constant  # the level stays: so does its cell
            for mode in (PUMP, TURBINE):
                cost[mode] = _from_cells(reached[mode], width, pieces[mode])
        if t < len(hours) - 1:
            cost += np.minimum(slope[t] * below, slope[t] * above)
    low = np.maximum(below, unit.end_min)
    ends = np.minimum(slope[-1] * low, slope[-1] * above)
    ends[low > above + _TOUCH * width] = np.inf
    least = float((cost + ends).min() - water[0] * unit.start)
    return least if np.isfinite(least) else -np.inf


def _pieces(
    unit: Reservoir, hours: float, price: float, stray: float, plan_kw: float, water: float
) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """What idle, pump and turbine may do in one interval; straying bends the cost at the plan."""
    idle = Piece(0.0, 0.0, 0.0, hours * stray * abs(plan_kw))
    found: list[list[Piece]] = [[], []]
    pump = (*unit.charge_kw, unit.stored, unit.wear)
    turbine = (-unit.discharge_kw[1], -unit.discharge_kw[0], unit.taken, -unit.wear)
    for pieces, (low_kw, high_kw, per_kwh, wear) in zip(found, (pump, turbine), strict=True):
        parts = [(low_kw, high_kw, 0.0)]
        if stray > 0:
            parts = [(low_kw, min(high_kw, plan_kw), -stray), (max(low_kw, plan_kw), high_kw, stray)]
        for first, last, away in parts:
            if first <= last:
                slope = (price + wear + away) / per_kwh - water
                pieces.append(Piece(hours * per_kwh * first, hours * per_kwh * last, slope, -hours * away * plan_kw))
    return [idle], found[0], found[1]


def _from_level(start: float, below: FloatArray, above: FloatArray, pieces: list[Piece]) -> FloatArray:
    """Least cost of a step from a level to a place of every cell, (N,)."""
    best = np.full(len(below), np.inf)
    touch = _TOUCH * (above[0] - below[0])
    for piece in pieces:
        low, high = np.maximum(piece.low, below - start), np.minimum(piece.high, above - start)
        cost = piece.constant + np.minimum(piece.slope * low, piece.slope * high)
        best = np.minimum(best, np.where(low <= high + touch, cost, np.inf))
    return best


def _from_cells(reached: FloatArray, width: float, pieces: list[Piece]) -> FloatArray:
    """Least cost of a step from a place of some cell to a place of every cell, (N,).

    From cell i to cell i + d leads any change from (d − 1) w to (d + 1) w.  The cheapest of these in the piece is its
    cheaper end where that is among them, else the nearer end of the window, at a cost that is linear in d.
    """
    best = np.full(len(reached), np.inf)
    for low, high, slope, constant in pieces:
        first, last = int(np.ceil(low / width - 1 - _TOUCH)), int(np.floor(high / width + 1 + _TOUCH))
        if slope >= 0:
            turn = min(int(np.floor(low / width + 1 + _TOUCH)), last)
            flat, bent, end, nearer = (first, turn), (turn + 1, last), low, -width
        else:
            turn = max(int(np.ceil(high / width - 1 - _TOUCH)), first)
            flat, bent, end, nearer = (turn, last), (first, turn - 1), high, width
        best = np.minimum(best, _shifted(reached, *flat, constant + slope * end, 0.0))
        best = np.minimum(best, _shifted(reached, *bent, constant + slope * nearer, slope * width))
    return best


def _shifted(values: FloatArray, first: int, last: int, cost: float, per_cell: float) -> FloatArray:
    """Least of values[i − d] + cost + per_cell · d over d from ``first`` to ``last`` (every i): a sliding minimum."""
    count = len(values)
    first, last = max(first, 1 - count), min(last, count - 1)
    if first > last:
        return np.full(count, np.inf)
    places = np.arange(count)
    size = last - first + 1
    padded = np.full(count + size - 1, np.inf)
    since, until = max(0, -last), min(count, count - first)
    padded[since + last : until + last] = (values - per_cell * places)[since:until]
    least = minimum_filter1d(padded, size, mode="constant", cval=np.inf)[size // 2 : size // 2 + count]
    return np.asarray(least + cost + per_cell * places)


def water_values(
    unit: Reservoir, hours: FloatArray, price: FloatArray, stray: FloatArray, plan_kw: FloatArray
) -> FloatArray:
    """π (T,), CNY per kWh of level: the duals of the balance; zeros if HiGHS finds none.

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
    cost, lower, upper = _columns(unit, hours, price, stray)
    rows_, columns, values = (np.array(each) for each in zip(*entries, strict=True))
    matrix = sparse.csc_matrix((values, (rows_, columns)), shape=(len(low), count * width))
    duals = _duals(matrix, cost, lower, upper, np.array(low), np.array(high))[:count]
    return np.clip(-duals, -MOST_PER_KWH, MOST_PER_KWH)


def _columns(
    unit: Reservoir, hours: FloatArray, price: FloatArray, stray: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cost, least and most of every column, in the order of ``water_values``."""
    count, arcs = len(hours), _MODES * _MODES
    cost, lower = np.zeros((count, arcs + 4)), np.zeros((count, arcs + 4))
    upper = np.full((count, arcs + 4), highspy.kHighsInf)
    cost[:, :arcs] = unit.change_cost * (1 - np.eye(_MODES)).ravel()
    cost[:, arcs:] = np.stack([hours * (price + unit.wear), hours * (unit.wear - price), hours * stray, 0 * hours], 1)
    lower[:, -1], upper[:, -1] = unit.floor, unit.ceiling
    lower[-1, -1] = max(unit.floor, unit.end_min)
    return cost.ravel(), lower.ravel(), upper.ravel()


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
