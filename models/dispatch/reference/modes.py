"""On or off, pump or idle or turbine: what net power leaves open where a minimum is 0 kW, at its cheapest.

A generator whose minimum is 0 may run at 0 kW instead of stopping and starting again; a pump or turbine without a
minimum may stand in its mode.  The model chooses; whoever reads a schedule's cost from its power chooses here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray, IntervalGrid

EPS = 1e-9


def running_cost(unit: Any, gives: NDArray[np.bool_], was_on: bool, been_h: float, grid: IntervalGrid) -> float:
    """Least no-load and start cost of a generator that gives power where ``gives``, times up and down kept, CNY.

    A table that was made before the state was known may break those times; then it costs what it says.
    """
    starts = np.count_nonzero(gives & ~np.concatenate([[was_on], gives[:-1]]))
    as_given = float(unit.no_load_cost_per_h * float(gives @ grid.hours) + unit.start_cost * starts)
    if unit.power_min_kw > 0:
        return as_given
    least_h = unit.minimum_up_h if was_on else unit.minimum_down_h
    costs: dict[tuple[bool, float], float] = {(was_on, max(0.0, least_h - been_h)): 0.0}
    for t, begin in enumerate(grid.tau_h.tolist()):
        reached: dict[tuple[bool, float], float] = {}
        for (on, free_h), cost in costs.items():
            for then in (True,) if gives[t] else (False, True):
                if then != on and begin < free_h - EPS:
                    continue
                free = free_h if then == on else begin + (unit.minimum_up_h if then else unit.minimum_down_h)
                key = (then, free if free > begin else 0.0)
                paid = cost + (unit.no_load_cost_per_h * float(grid.hours[t]) if then else 0.0)
                paid += unit.start_cost if then and not on else 0.0
                reached[key] = min(paid, reached.get(key, np.inf))
        costs = reached
    return min(costs.values(), default=as_given)


def mode_cost(unit: Any, mode: NDArray[np.int_], before: int) -> float:
    """Least cost of changing mode for a machine that pumps where ``mode`` is 1 and turbines where it is -1, CNY."""
    reach = {-1: np.inf, 0: np.inf, 1: np.inf, before: 0.0}
    for now in mode.tolist():
        open_modes = {now}
        if now == 0:
            open_modes |= {1} if unit.charge_min_kw == 0 else set()
            open_modes |= {-1} if unit.discharge_min_kw == 0 else set()
        cheapest = min(reach.values()) + unit.mode_change_cost
        reach = {each: min(cost, cheapest) if each in open_modes else np.inf for each, cost in reach.items()}
    return float(min(reach.values()))


def mode_of(power_kw: FloatArray, least_kw: float) -> NDArray[np.int_]:
    """1 where it pumps, -1 where it turbines, else 0."""
    return np.where(power_kw > least_kw, 1, np.where(power_kw < -least_kw, -1, 0))
