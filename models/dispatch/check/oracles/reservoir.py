"""Least cost of pumped hydro with its minimum powers and mode changes, exact, by cost functions in straight pieces.

C_t(m, e), the least cost of being at level e at edge t after an interval in mode m, goes forward from the start:

    B(m, e) = min(C_t(m, e), min over k of C_t(k, e) + mode change)
    C_{t+1}(m, e) = min over changes x that mode m allows of cost(x) + B(m, e − x)

Every C is linear in pieces, with gaps and jumps that minimum powers leave (``knots``).  Where the cost of a change is a
straight line, the cheapest way from a window of levels begins at an end of the window or at a knot inside: C_{t+1} is
the lowest of B moved by the least change, B moved by the most, and the least knot within reach.  Nothing is
approximated.
"""

import numpy as np

from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.knots import Knots, lowest
from models.dispatch.check.oracles.prices import Prices
from models.resources import Storage

_SLACK = 1e-10
"""A level may miss a bound by this part of the reservoir: rounding must not forbid a way."""
_IDLE, _PUMP, _TURBINE = 0, 1, 2
_RUNNING_KW = 1e-6


def least_with_modes(unit: Storage, prices: Prices, horizon: Horizon) -> float:
    """Least cost of a unit (limits as admitted), CNY; inf if its modes leave no way to the end."""
    slack, hours = _SLACK * max(1.0, unit.energy_max_kwh), horizon.hours
    most = unit.charge_limit_kw * unit.charge_efficiency * np.append(np.cumsum(hours[::-1])[::-1][1:], 0.0)
    floors = np.maximum(unit.energy_min_kwh, unit.energy_end_min_kwh - most)  # lower, no pump reaches the end
    before = horizon.state(unit.resource_id).power_kw or 0.0
    mode_before = _PUMP if before > _RUNNING_KW else _TURBINE if before < -_RUNNING_KW else _IDLE
    best = [Knots.point(unit.energy_start_kwh, 0.0 if mode == mode_before else np.inf) for mode in range(3)]
    for t in range(len(hours)):
        anyhow = lowest(*best).plus(unit.mode_change_cost)
        best = [_step(lowest(best[mode], anyhow), unit, prices, t, float(hours[t]), mode) for mode in range(3)]
        best = [each.cut(floors[t] - slack, unit.energy_max_kwh + slack).simpler() for each in best]
    return lowest(*best).least()


def _step(best: Knots, unit: Storage, prices: Prices, t: int, hours: float, mode: int) -> Knots:
    """C after one interval in one mode."""
    if mode == _IDLE:
        return best.plus(hours * prices.cost(t, 0.0))
    if mode == _PUMP:
        powers = prices.corners(t, unit.charge_min_kw, unit.charge_limit_kw)
        per_kw = hours * unit.charge_efficiency
    else:
        powers = prices.corners(t, -unit.discharge_limit_kw, -unit.discharge_min_kw)
        per_kw = hours / unit.discharge_efficiency
    costs = [hours * (prices.cost(t, power) + unit.wear_cost_per_kwh * abs(power)) for power in powers]
    found = [
        _along(best, (per_kw * p0, per_kw * p1), c0, (c1 - c0) / (per_kw * (p1 - p0)))
        for p0, p1, c0, c1 in zip(powers, powers[1:], costs, costs[1:], strict=False)
    ]
    return lowest(*found) if found else best.moved(-per_kw * powers[0]).plus(costs[0])


def _along(best: Knots, changes: tuple[float, float], cost: float, slope: float) -> Knots:
    """Least of B(e − x) + ``cost`` + slope · (x − least change) over the changes x."""
    low, high = changes
    tilted = best.plus(0.0, -slope)  # of e − x; slope · e comes on again
    found = lowest(tilted.moved(-low), tilted.moved(-high), tilted.spread(-high, -low))
    return found.plus(cost - slope * low, slope)
