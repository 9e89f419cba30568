"""When a generator runs, if of its ramps only those at a run's two ends are seen: a lower bound, and a good guess.

Over a run from s to e the ramps allow max(G_min, ramp Δ_s) in interval s, a ramp more in every one that follows, and
as little on the way down to e.  Each interval then costs the least between G_min and that cap, and a run their sum: a
lower bound, exact where no other ramp binds.  Which runs follow each other is a shortest path, backwards over edges:

    off_t = min(off_{t+1}, start cost + climb from t)           free to start at edge t
    on_t  = min over stops e ≥ t of run t ... e going down to e, then off at the first edge that is free again

``climb`` sums capped intervals until the cap is out of sight and the minimum time is over, then goes on with ``on``.
Rows of scratch memory are named here for all files about generators.  Money CNY, powers kW; T intervals, T + 1 edges.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray

EPS_H = 1e-9
BEFORE = -1
"""Start of the run that was on before the horizon."""
NEVER = -2
"""There is no run before."""

PER_KW, IDLE, ON, SUM, STEP, CAPS, READY, TO_GO_ON, TO_GO_OFF, END_OF, NEXT, FULL, FULL_END, CLIMB, RUN_END = range(15)
"""Marginal cost, no-load cost, least cost on, its sums, ramp, and what a kW less than wanted costs (negative), of every
interval; first free edge after a stop; bounds of what is to come, and the stops and starts that belong to them.
"""
STOPPED, RUN_OF, STOP_OF, RUNS = 15, 16, 17, 18
"""Least cost of having stopped at an edge, the run that did, the stop before a start; the runs of an answer."""


class GeneratorArrays(NamedTuple):
    """n generators; powers kW, money CNY, times h.  ``edges_h``: (T + 1,) hours since the horizon's start.

    ``was_on``, ``was_kw``, ``been_h``: running at the start, at what output, and for how long that has been so.
    """

    power_min_kw: FloatArray
    power_max_kw: FloatArray
    cost_per_kwh: FloatArray
    start_cost: FloatArray
    no_load_cost_per_h: FloatArray
    ramp_kw_per_h: FloatArray
    minimum_up_h: FloatArray
    minimum_down_h: FloatArray
    was_on: NDArray[np.bool_]
    was_kw: FloatArray
    been_h: FloatArray
    edges_h: FloatArray


@jit_row
def fill_costs(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> None:
    """Costs of running in every interval, against standing still."""
    low, high = units.power_min_kw[i], units.power_max_kw[i]
    work[SUM, 0] = 0.0
    for t in range(hours.size):
        per_kw = hours[t] * (units.cost_per_kwh[i] - price[t])
        work[PER_KW, t], work[CAPS, t] = per_kw, min(per_kw, 0.0)
        work[IDLE, t] = hours[t] * units.no_load_cost_per_h[i]
        work[STEP, t] = hours[t] * units.ramp_kw_per_h[i]
        on = per_kw * (high if per_kw < 0.0 else low)
        if stray[t] > 0.0:
            planned, weight = -plan_kw[t], hours[t] * stray[t]
            on = min(_strayed(per_kw, weight, planned, low), _strayed(per_kw, weight, planned, high))
            if low < planned < high:
                on = min(on, _strayed(per_kw, weight, planned, planned))
            work[CAPS, t] = 0.0
        work[ON, t] = on + work[IDLE, t]
        work[SUM, t + 1] = work[SUM, t] + work[ON, t]


@jit_row
def _strayed(per_kw: float, stray: float, planned_kw: float, output_kw: float) -> float:
    return per_kw * output_kw + stray * (abs(output_kw - planned_kw) - abs(planned_kw))


@jit_row
def least_commitment(units: GeneratorArrays, i: int, work: FloatArray) -> tuple[float, int]:
    """A lower bound of the least cost, and the number of runs in row RUNS that belong to it; fills the TO_GO rows."""
    count = units.edges_h.size - 1
    if not units.was_on[i] and _never_pays(units, i, work):
        return 0.0, 0
    edges, on, off, total = units.edges_h, work[TO_GO_ON], work[TO_GO_OFF], work[SUM]
    down = units.minimum_down_h[i] - EPS_H
    on[count], off[count] = 0.0, 0.0
    work[END_OF, count], work[NEXT, count], work[READY, count] = count, count, count
    for t in range(count):
        on[t], work[END_OF, t], work[FULL, t] = total[count] - total[t], count, np.inf
    full, full_end, ready = np.inf, count, count
    for t in range(count - 1, -1, -1):
        cost, end = _climb(units, i, t, work)
        work[CLIMB, t], work[RUN_END, t] = cost, end
        off[t], work[NEXT, t] = off[t + 1], work[NEXT, t + 1]
        if cost < off[t]:
            off[t], work[NEXT, t] = cost, t
        while ready > t + 1 and edges[ready - 1] - edges[t] >= down:
            ready -= 1
        work[READY, t] = ready
        _come_down(units, i, t, off[ready], work)
        if work[FULL, t] < full:
            full, full_end = work[FULL, t], int(work[FULL_END, t])
        if full - total[t] < on[t]:
            on[t], work[END_OF, t] = full - total[t], full_end
    cost, runs = _runs_ahead(units, i, work)
    return cost, runs


@jit_row
def _never_pays(units: GeneratorArrays, i: int, work: FloatArray) -> bool:
    """True if no run earns its start, even without ramps and times: the cheapest stretch of intervals (Kadane)."""
    ending_here = least = 0.0
    for t in range(units.edges_h.size - 1):
        ending_here = min(ending_here, 0.0) + work[ON, t]
        least = min(least, ending_here)
    return bool(units.start_cost[i] + least >= 0.0)


@jit_row
def _climb(units: GeneratorArrays, i: int, start: int, work: FloatArray) -> tuple[float, int]:
    """Least cost from a start (or, from BEFORE, of the run that is on) to the horizon's end, and where it stops."""
    count, edges, top = units.edges_h.size - 1, units.edges_h, units.power_max_kw[i]
    first, paid, cap = start, units.start_cost[i], 0.0
    since = edges[max(start, 0)]
    if start == BEFORE:
        first, paid, cap, since = 0, 0.0, units.was_kw[i], -units.been_h[i]
    best, end = np.inf, count
    for t in range(first, count):
        jump = max(units.power_min_kw[i], work[STEP, t])
        old_enough = edges[t] - since >= units.minimum_up_h[i] - EPS_H
        if old_enough and t > start:
            if t > first and cap >= top:
                if paid + work[TO_GO_ON, t] < best:
                    best, end = paid + work[TO_GO_ON, t], int(work[END_OF, t])
                return best, end
            if t > first or cap <= jump + 1e-9:
                stop = paid + work[TO_GO_OFF, int(work[READY, t])]
                if stop < best:
                    best, end = stop, t
        cap = jump if t == start else cap + work[STEP, t]
        paid += work[ON, t] + work[CAPS, t] * min(cap - top, 0.0)
    if paid < best:
        best, end = paid, count
    return best, end


@jit_row
def _come_down(units: GeneratorArrays, i: int, stop: int, after: float, work: FloatArray) -> None:
    """Tell every edge before ``stop`` what stopping there would cost, ``after`` included."""
    total, top = work[SUM], units.power_max_kw[i]
    cap = max(units.power_min_kw[i], work[STEP, stop])
    cost = total[stop] + after
    t = stop
    while True:
        if cap >= top:
            if cost < work[FULL, t]:
                work[FULL, t], work[FULL_END, t] = cost, stop
            return
        if cost - total[t] < work[TO_GO_ON, t]:
            work[TO_GO_ON, t], work[END_OF, t] = cost - total[t], stop
        if t == 0:
            return
        t -= 1
        cost += work[CAPS, t] * (cap - top)
        cap += work[STEP, t]


@jit_row
def _runs_ahead(units: GeneratorArrays, i: int, work: FloatArray) -> tuple[float, int]:
    """The bound from the state before the horizon on, and its runs."""
    count, runs, found = units.edges_h.size - 1, work[RUNS], 0
    free = 0
    if units.was_on[i]:
        cost, end = _climb(units, i, BEFORE, work)
        runs[0], runs[1] = BEFORE, end
        found, free = 1, int(work[READY, end])
    else:
        while free < count and units.edges_h[free] + units.been_h[i] < units.minimum_down_h[i] - EPS_H:
            free += 1
        cost = work[TO_GO_OFF, free]
    while work[NEXT, free] < count:
        start = int(work[NEXT, free])
        end = int(work[RUN_END, start])
        runs[2 * found], runs[2 * found + 1] = start, end
        found += 1
        free = int(work[READY, end])
    return cost, found
