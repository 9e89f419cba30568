"""A bound for pumped hydro that knows minimum powers and changes of mode, at water values that a plan claims.

Beside the relaxed least cost (``stores.least_storage``): dynamic programming over mode and *cell*, one of N equal parts
of the reservoir, where a step may lead from a cell to another by any change of level that leads from some place in the
one to some place in the other.  The place inside the cell is forgotten between steps, so costs can only be too low.
What this would give away is won back by pricing the balance: w_t, CNY per kWh of level at the end of interval t, is
taken off every change of level and charged on every level, Σ w_t (y_t − y_{t−1} − x_t) = 0 for a true schedule.  So the
bound holds for any w, and is best at the true value of water.

Levels are counted from where the horizon starts: y_0 = 0.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices
from models.intervals import FloatArray
from models.resources import Storage

CELLS = 8192
"""Cells of a reservoir; part of what a plan claims with its water values."""
MOST_PER_KWH = 1e4
"""Water values beyond are moved to here, CNY per kWh: a claim must not live on rounding."""
_TOUCH = 1e-6
"""A step may miss a cell by this part of it: rounding must not forbid a way."""
_IDLE, _PUMP, _TURBINE = 0, 1, 2


class _Line(NamedTuple):
    """Changes of level from ``low`` to ``high`` (kWh) that cost ``cost`` at low and ``slope`` per kWh more, CNY."""

    low: float
    high: float
    cost: float
    slope: float

    def mirrored(self) -> "_Line":
        """The same with falling for rising."""
        return _Line(-self.high, -self.low, self.cost + self.slope * (self.high - self.low), -self.slope)


def usable(water: FloatArray, horizon: Horizon) -> bool:
    """Whether claimed water values are one number for every interval."""
    return water.shape == horizon.hours.shape and bool(np.isfinite(water).all())


def least_by_cells(unit: Storage, prices: Prices, horizon: Horizon, water: FloatArray, cells: int = CELLS) -> float:
    """Lower bound of the least cost of ``unit`` (limits as admitted) at any ``water`` (T,); -inf if it gives none."""
    worth = np.clip(water, -MOST_PER_KWH, MOST_PER_KWH)
    per_level = worth - np.append(worth[1:], 0.0)
    floor, ceiling = unit.energy_min_kwh - unit.energy_start_kwh, unit.energy_max_kwh - unit.energy_start_kwh
    width = max(ceiling - floor, _TOUCH * max(1.0, unit.energy_max_kwh)) / cells
    low = floor + width * np.arange(cells, dtype=np.float64)
    high = low + width
    before = horizon.state(unit.resource_id).power_kw or 0.0
    mode_before = _PUMP if before > 1e-6 else _TURBINE if before < -1e-6 else _IDLE
    cost: FloatArray = np.full((3, cells), np.inf)
    for t, hours in enumerate(horizon.hours):
        lines = _lines(unit, prices, t, float(hours), float(worth[t]))
        if t == 0:
            for mode in range(3):
                begun = 0.0 if mode == mode_before else unit.mode_change_cost
                cost[mode] = begun + _from_start(low, high, lines[mode], _TOUCH * width)
        else:
            cost = np.minimum(cost, cost.min(axis=0) + unit.mode_change_cost)
            cost[_IDLE] += lines[_IDLE][0].cost  # standing still stays in its cell
            for mode in (_PUMP, _TURBINE):
                cost[mode] = np.min([_between(cost[mode], width, line) for line in lines[mode]], axis=0)
        if t == len(horizon.hours) - 1:
            needed = unit.energy_end_min_kwh - unit.energy_start_kwh
            cost[:, high < needed - _TOUCH * width] = np.inf
            low = np.maximum(low, needed)
        cost += np.minimum(per_level[t] * low, per_level[t] * high)
    least = float(cost.min())
    return least if np.isfinite(least) else -np.inf


def _lines(unit: Storage, prices: Prices, t: int, hours: float, worth: float) -> list[list[_Line]]:
    """Cost of an interval over the change of level, less what the change is worth, for each mode."""
    ranges = (
        (0.0, 0.0, 1.0),
        (unit.charge_min_kw, unit.charge_limit_kw, hours * unit.charge_efficiency),
        (-unit.discharge_limit_kw, -unit.discharge_min_kw, hours / unit.discharge_efficiency),
    )
    found = []
    for low_kw, high_kw, per_kw in ranges:
        powers = prices.corners(t, low_kw, high_kw)
        changes = [per_kw * power for power in powers]
        costs = [
            hours * (prices.cost(t, power) + unit.wear_cost_per_kwh * abs(power)) - worth * change
            for power, change in zip(powers, changes, strict=True)
        ]
        lines = [
            _Line(x0, x1, c0, (c1 - c0) / (x1 - x0))
            for x0, x1, c0, c1 in zip(changes, changes[1:], costs, costs[1:], strict=False)
            if x1 > x0
        ]
        found.append(lines or [_Line(changes[0], changes[0], costs[0], 0.0)])
    return found


def _from_start(low: FloatArray, high: FloatArray, lines: list[_Line], touch: float) -> FloatArray:
    """Least cost of a step from level 0 into every cell, (N,)."""
    found = []
    for line in lines:
        first, last = np.maximum(low, line.low), np.minimum(high, line.high)
        best = np.where(line.slope >= 0, first, last)
        found.append(np.where(first <= last + touch, line.cost + line.slope * (best - line.low), np.inf))
    return np.asarray(np.min(found, axis=0))


def _between(cost: FloatArray, width: float, line: _Line) -> FloatArray:
    """Least cost of being in a cell and stepping along ``line`` into every cell, (N,).

    Up by d cells leads any change from (d − 1) to (d + 1) widths: on a rising line the lower end of what both allow is
    best.  That is the line's own low end for the first few d, and (d − 1) widths from then on.
    """
    if line.slope < 0:
        return _between(cost[::-1], width, line.mirrored())[::-1]
    first = int(np.ceil(line.low / width - 1 - _TOUCH))
    last = int(np.floor(line.high / width + 1 + _TOUCH))
    own = min(last, int(np.floor(line.low / width + 1 + _TOUCH)))
    tilt = line.slope * width * np.arange(len(cost))
    rising = tilt + _least_of_window(cost - tilt, own + 1, last) - line.slope * (width + line.low)
    return np.asarray(line.cost + np.minimum(_least_of_window(cost, first, own), rising))


def _least_of_window(values: FloatArray, first: int, last: int) -> FloatArray:
    """Least of values[i − last], ..., values[i − first] for every i, (N,), by windows of doubled length."""
    count = len(values)
    first, last = max(first, 1 - count), min(last, count - 1)
    size = last - first + 1
    if size <= 0:
        return np.full(count, np.inf)
    beyond = np.full(2 * count, np.inf)
    window = np.concatenate([beyond, values, beyond])[2 * count - last : 3 * count - first]
    length = 1
    while 2 * length <= size:
        window = np.minimum(window[:-length], window[length:])
        length *= 2
    return np.asarray(np.minimum(window[:count], window[size - length : size - length + count]))
