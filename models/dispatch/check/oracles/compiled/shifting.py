"""Shiftable loads, compiled: the cheapest kWh first, or the cheapest run, as in ``oracles.plants``."""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled import asked as ask
from models.dispatch.check.oracles.compiled.asked import Asked
from models.dispatch.check.oracles.compiled.convex import corners, cut, hull, insert, least_up_to, room, start
from models.dispatch.check.oracles.compiled.jit import compiled
from models.dispatch.check.screens.common import BoolArray, IndexArray
from models.intervals import FloatArray

_cost, _kink = ask.cost, ask.kink


class Spread(NamedTuple):
    """n loads that may spread their energy: ``share`` of every interval in the window and ``liked_kw`` (NaN without
    preference) are (n, T), the others (n,).
    """

    share: FloatArray
    low_kw: FloatArray
    high_kw: FloatArray
    liked_kw: FloatArray
    cost_per_kwh: FloatArray
    least_kwh: FloatArray
    most_kwh: FloatArray
    energy_kwh: FloatArray


class Runs(NamedTuple):
    """n loads that run once.

    ``may``: (n, T) intervals with which the run may begin.  ``waits``: it may also come after the horizon, or not at
    all.  ``begun``: it began ``been_h`` before the horizon.  ``done``: nothing is left to run.  Load i's shape has the
    running sum ``steps[first_step[i]:first_step[i + 1]]``, in steps of ``step_h`` at ``power_kw``.
    """

    may: BoolArray
    waits: BoolArray
    begun: BoolArray
    done: BoolArray
    been_h: FloatArray
    step_h: FloatArray
    power_kw: FloatArray
    first_step: IndexArray
    steps: FloatArray
    liked_kw: FloatArray
    cost_per_kwh: FloatArray


@compiled
def least_spread(asked: Asked, of: Spread) -> FloatArray:
    """Least cost of n loads that may spread their energy, (n,) (``oracles.plants.least_shiftable``)."""
    count, rows = asked.hours.size, of.low_kw.size
    found = np.zeros(rows)
    f, x, y = room(3 * count + 1), np.empty(4), np.empty(4)
    for i in range(rows):
        start(f, 0.0, 0.0)
        for t in range(count):
            liked, share = of.liked_kw[i, t], of.share[i, t]
            corners_of = corners(x, of.low_kw[i] * share, of.high_kw[i] * share, _kink(asked, i, t), liked)
            for k in range(corners_of):
                each = _cost(asked, i, t, x[k])
                if not np.isnan(liked):
                    each += 0.5 * of.cost_per_kwh[i] * abs(x[k] - liked)
                x[k], y[k] = asked.hours[t] * x[k], asked.hours[t] * each
            kept, _ = hull(x, y, corners_of)
            f.ends[0] += x[0]
            f.ends[1] += y[0]
            for k in range(1, kept):
                insert(f, (y[k] - y[k - 1]) / (x[k] - x[k - 1]), x[k] - x[k - 1])
        fits = cut(f, of.least_kwh[i], of.most_kwh[i], 1e-6 * max(1.0, of.energy_kwh[i]))
        found[i] = least_up_to(f, np.inf) if fits else np.inf
    return found


@compiled
def _used(moment_h: float, begin_h: float, step_h: float, steps: FloatArray) -> float:
    """How many full-power steps are done by a moment."""
    size = steps.size - 1
    since = min(max((moment_h - begin_h) / step_h, 0.0), float(size))
    whole = min(int(since), size - 1)
    return float(steps[whole] + (since - whole) * (steps[whole + 1] - steps[whole]))


@compiled
def _run_cost(asked: Asked, of: Runs, i: int, begin_h: float, prefers: float, idle: FloatArray) -> float:
    """Cost of load i's run from ``begin_h`` on, less what idling costs in the intervals that it touches.

    ``prefers``: half the CNY per kWh off the preferred schedule, 0 if that does not count.
    """
    edges, step_h = asked.edges_h, of.step_h[i]
    steps = of.steps[of.first_step[i] : of.first_step[i + 1]]
    end_h = begin_h + (steps.size - 1) * step_h
    t = max(int(np.searchsorted(edges, begin_h, side="right")) - 1, 0)
    found, before = 0.0, _used(edges[t], begin_h, step_h, steps)
    while t < asked.hours.size and edges[t] < end_h:
        after = _used(edges[t + 1], begin_h, step_h, steps)
        power = (after - before) * of.power_kw[i] * step_h / asked.hours[t]
        each = _cost(asked, i, t, power)
        if prefers > 0:
            each += prefers * abs(power - of.liked_kw[i, t])
        found += asked.hours[t] * each - idle[t]
        before = after
        t += 1
    return float(found)


@compiled
def least_runs(asked: Asked, of: Runs) -> FloatArray:
    """Least cost of n loads that run once, (n,) (``oracles.plants.least_shiftable``)."""
    count, rows = asked.hours.size, of.step_h.size
    found, idle = np.zeros(rows), np.empty(count)
    for i in range(rows):
        matters = not of.begun[i] and not of.done[i] and of.may[i].any() and not np.isnan(of.liked_kw[i, 0])
        prefers = 0.5 * of.cost_per_kwh[i] if matters else 0.0
        for t in range(count):
            idle[t] = _cost(asked, i, t, 0.0)
            if prefers > 0:
                idle[t] += prefers * abs(of.liked_kw[i, t])
            idle[t] *= asked.hours[t]
        if of.begun[i]:
            best = _run_cost(asked, of, i, -of.been_h[i], prefers, idle) if of.step_h[i] > 0 else 0.0
        elif of.done[i]:
            best = 0.0
        else:
            best = 0.0 if of.waits[i] else np.inf
            for t in range(count):
                if of.may[i, t]:
                    best = min(best, _run_cost(asked, of, i, asked.edges_h[t], prefers, idle))
        found[i] = idle.sum() + best
    return found
