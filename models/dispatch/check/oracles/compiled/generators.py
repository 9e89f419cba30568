"""Generators, compiled: for every start, output by a convex value function forward, as in ``oracles.plants``.

A run is left as soon as nothing that may follow could make it cheaper than what is known already: then no better
schedule contains it, and the minimum stays exact.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled.asked import Asked
from models.dispatch.check.oracles.compiled.convex import Function, cut, insert, least_up_to, room, start
from models.dispatch.check.oracles.compiled.jit import compiled
from models.dispatch.check.screens.common import BoolArray
from models.intervals import FloatArray

_EPS_H = 1e-9


class Units(NamedTuple):
    """n generators, (n,) each: portfolio columns, and output, running and hours that has been so before the horizon."""

    power_min_kw: FloatArray
    power_max_kw: FloatArray
    cost_per_kwh: FloatArray
    start_cost: FloatArray
    no_load_cost_per_h: FloatArray
    ramp_kw_per_h: FloatArray
    minimum_up_h: FloatArray
    minimum_down_h: FloatArray
    was_kw: FloatArray
    was_on: BoolArray
    was_h: FloatArray


@compiled
def _first_interval(f: Function, units: Units, i: int, hours: float) -> bool:
    """Output after a start whose cost so far ``f`` holds; False if no start reaches the minimum."""
    low = units.power_min_kw[i]
    high = min(units.power_max_kw[i], max(low, units.ramp_kw_per_h[i] * hours))
    if high < low - 1e-12:
        return False
    start(f, low, f.ends[1])
    if high > low:
        insert(f, 0.0, high - low)
    return True


@compiled
def _next_interval(f: Function, units: Units, i: int, hours: float) -> bool:
    """Output one interval later, by the ramp."""
    step = units.ramp_kw_per_h[i] * hours
    if step > 0:
        f.ends[0] -= step
        insert(f, 0.0, 2 * step)
    return bool(cut(f, units.power_min_kw[i], units.power_max_kw[i], 1e-9))


@compiled
def _most_to_gain(asked: Asked, units: Units, i: int) -> FloatArray:
    """Least that all intervals from each on could cost if nothing tied them together, (T + 1,); never positive."""
    count = asked.hours.size
    found = np.zeros(count + 1)
    for t in range(count - 1, -1, -1):
        margin = units.cost_per_kwh[i] - asked.per_kwh[i, t]
        running = min(margin * units.power_min_kw[i], margin * units.power_max_kw[i]) + units.no_load_cost_per_h[i]
        found[t] = found[t + 1] + asked.hours[t] * min(running, 0.0)
    return found


@compiled
def _follow(
    f: Function, asked: Asked, units: Units, i: int, first: int, since_h: float, running: bool, gain: FloatArray,
    stopped: FloatArray, best: float,
) -> float:  # fmt: skip
    """Follow unit i's run from interval ``first`` on; lower ``stopped`` where it may stop.

    ``f`` is the run's cost so far; it began at ``since_h``, and before the horizon if it is ``running``.  ``gain``:
    what there is to gain from each interval on.  ``best``: the least cost known.  Returns that, lowered where the run
    ends for good or lasts to the end.
    """
    for t in range(first, asked.hours.size):
        hours = asked.hours[t]
        if running:
            edge = max(units.power_min_kw[i], units.ramp_kw_per_h[i] * hours)
            if asked.edges_h[t] - since_h >= units.minimum_up_h[i] - _EPS_H and f.ends[0] <= edge + 1e-9:
                stopped[t] = min(stopped[t], least_up_to(f, edge))
                best = min(best, stopped[t])
            possible = _next_interval(f, units, i, hours)
        else:
            possible = _first_interval(f, units, i, hours)
            running = True
        if not possible:
            return best
        per_kw = hours * (units.cost_per_kwh[i] - asked.per_kwh[i, t])
        f.ends[1] += per_kw * f.ends[0] + hours * units.no_load_cost_per_h[i]
        for k in range(f.span[0], f.span[1]):
            f.slopes[k] += per_kw
        if least_up_to(f, np.inf) + gain[t + 1] >= best:
            return best
    return float(min(best, least_up_to(f, np.inf)))


@compiled
def _ready(asked: Asked, units: Units, i: int, first: int, stopped: FloatArray) -> float:
    """Least cost of being off and free to start with interval ``first``."""
    best, begins = np.inf, asked.edges_h[first]
    if not units.was_on[i] and begins + units.was_h[i] >= units.minimum_down_h[i] - _EPS_H:
        best = 0.0
    for stop in range(first):
        if stopped[stop] < best and begins - asked.edges_h[stop] >= units.minimum_down_h[i] - _EPS_H:
            best = stopped[stop]
    return float(best)


@compiled
def least_generators(asked: Asked, units: Units) -> FloatArray:
    """Least cost of n generators, (n,) (``oracles.plants.least_generator``)."""
    count, rows = asked.hours.size, units.was_h.size
    cost = np.zeros(rows)
    stopped, f = np.empty(count + 1), room(count + 2)
    for i in range(rows):
        stopped[:] = np.inf
        best = np.inf if units.was_on[i] else 0.0
        gain = _most_to_gain(asked, units, i)
        if units.was_on[i]:
            start(f, units.was_kw[i], 0.0)
            best = _follow(f, asked, units, i, 0, -units.was_h[i], True, gain, stopped, best)
        for first in range(count):
            paid = _ready(asked, units, i, first, stopped) + units.start_cost[i]
            if paid + gain[first] < best:
                start(f, 0.0, paid)
                best = _follow(f, asked, units, i, first, asked.edges_h[first], False, gain, stopped, best)
        cost[i] = best
    return cost
