"""Cheapest schedule of a generator: output limits, ramps, times up and down, start, no-load and marginal cost.

Why it is exact.  (1) Between a start and a stop only ramps tie intervals together: with F_t(g) the least cost of a run
up to t that ends at output g, F_t(g) = a_t g + idle_t + min over |g' − g| ≤ ramp Δ_t of F_{t−1}(g'), a_t = Δ_t (cost −
price_t).  F stays convex: widening by a ramp puts a flat piece at its minimum, and the limits cut its ends.  The
outputs follow backwards: each is the minimum of F_{t−1}, moved into reach of the output after it.  (2) Which runs
follow each other is a shortest path over edges: ``stopped[e]`` is the least cost of having stopped at edge e, and a
start may follow a stop that is old enough.  (3) Without ramps a run costs the sum of its intervals, and (2) takes O(T).
That is the answer where ramps cannot bind, or do not; else it is a lower bound that spares most starts: a run is
followed only while it may still beat the best schedule known.

Straying costs of real time shape the schedule (they are convex, so all of the above holds), not the least cost, which
leaves them out as the checker's oracle does.  Source: dispatch-model §2; ``models/dispatch/reference/generation.py``.
"""

from collections.abc import Mapping

import numpy as np

from models.dispatch.fast.pricing.commitment import (
    BEFORE,
    CLIMB,
    EPS_H,
    IDLE,
    NEVER,
    PER_KW,
    RUN_OF,
    RUNS,
    STEP,
    STOP_OF,
    STOPPED,
    TO_GO_ON,
    GeneratorArrays,
    fill_costs,
    least_commitment,
)
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.pricing.ramping import add_kink, minimum, value_at, widen
from models.dispatch.fast.setting import Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("edges_h",)

_EQUAL = 1e-11
"""Relative: costs that differ by less are the same."""
_SLOPE, _LENGTH, _BEST_KW, _LOW_KW, _HIGH_KW = range(19, 24)


def generator_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> GeneratorArrays:
    """The generators of a portfolio table, at rest for long where no state is known."""
    numbers = {name: np.ascontiguousarray(columns[name], dtype=np.float64) for name in GeneratorArrays._fields[:8]}
    was_on = np.nan_to_num(states.on) > 0
    output = np.clip(-np.nan_to_num(states.power_kw), numbers["power_min_kw"], numbers["power_max_kw"])
    been_h = np.where(np.isnan(states.hours_in_state_h), np.inf, states.hours_in_state_h)
    return GeneratorArrays(
        **numbers, was_on=was_on, was_kw=np.where(was_on, output, 0.0), been_h=been_h, edges_h=setting.edges_h
    )


@jit_row
def _follow(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    start: int,
    stop: int,
    paid: float,
    limit: float,
) -> float:
    """Follow one run from its start (or from before the horizon) forward, F as sorted slopes.

    With a ``stop`` (an edge, or T): note what the way back needs, and return the cost of the run that ends there.
    Without one (−1): note the cost of stopping at every edge, and return that of running to the end, inf if the run
    cannot beat ``limit`` any more.
    """
    slope, length = work[_SLOPE], work[_LENGTH]
    bottom, top = units.power_min_kw[i], units.power_max_kw[i]
    ends = stop if stop >= 0 else hours.size
    first = max(start, 0)
    since = -units.been_h[i] if start == BEFORE else units.edges_h[start]
    # F: value at low, then pieces a..b−1 with slopes slope + tilt; ``least`` is its minimum, at ``best_kw``.
    low = high = best_kw = units.was_kw[i]
    value = least = paid
    tilt = 0.0
    a = b = 0
    for t in range(first, ends):
        step, per_kw = work[STEP, t], work[PER_KW, t]
        jump = max(bottom, step)
        if t == start:
            low, high = bottom, max(min(top, jump), bottom)
            if high > low:
                slope[0], length[0] = 0.0, high - low
                b = 1
        else:
            if stop < 0 and units.edges_h[t] - since >= units.minimum_up_h[i] - EPS_H and low <= jump + 1e-9:
                cost = least if best_kw <= jump else value_at(slope, length, a, b, tilt, low, value, jump)
                if cost < work[STOPPED, t]:
                    work[STOPPED, t], work[RUN_OF, t] = cost, start
            if step > 0:
                a, b, low, high, value = widen(slope, length, a, b, tilt, low, high, value, step, bottom, top)
        tilt += per_kw
        value += per_kw * low + work[IDLE, t]
        if stray[t] > 0.0:
            b, value = add_kink(slope, length, a, b, low, value, hours[t] * stray[t], -plan_kw[t])
        least, best_kw = minimum(slope, length, a, b, tilt, low, high, value)
        if stop >= 0:
            work[_BEST_KW, t], work[_LOW_KW, t], work[_HIGH_KW, t] = best_kw, low, high
        elif not least + work[TO_GO_ON, t + 1] < limit:
            return np.inf
    if 0 <= stop < hours.size:
        jump = max(bottom, work[STEP, stop])
        if low > jump + 1e-9:
            return np.inf
        return least if best_kw <= jump else value_at(slope, length, a, b, tilt, low, value, jump)
    return least


@jit_row
def _with_ramps(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    limit: float,
) -> tuple[float, int]:
    """Least cost with ramps and the number of runs in row RUNS, if it is below ``limit``."""
    count = hours.size
    edges, stopped, been = units.edges_h, work[STOPPED], units.been_h[i]
    best, last_start, last_stop = np.inf, NEVER, 0
    for t in range(count):
        stopped[t], work[RUN_OF, t] = np.inf, NEVER
    if units.was_on[i]:
        best = _follow(units, i, hours, stray, plan_kw, work, BEFORE, -1, 0.0, limit)
        last_start, last_stop = BEFORE, count
    ready, ready_by, stops = np.inf, 0, 0
    for t in range(count):
        if stopped[t] < best:
            best, last_start, last_stop = stopped[t], int(work[RUN_OF, t]), t
        limit = min(limit, best)
        while stops < t and edges[t] - edges[stops] >= units.minimum_down_h[i] - EPS_H:
            if stopped[stops] < ready:
                ready, ready_by = stopped[stops], stops
            stops += 1
        paid, work[STOP_OF, t] = ready, ready_by
        if not units.was_on[i] and edges[t] + been >= units.minimum_down_h[i] - EPS_H and paid >= 0.0:
            paid, work[STOP_OF, t] = 0.0, NEVER
        if paid + work[CLIMB, t] < limit:
            paid += units.start_cost[i]
            cost = _follow(units, i, hours, stray, plan_kw, work, t, -1, paid, limit)
            if cost < best:
                best, last_start, last_stop = cost, t, count
    return best, _runs_back(last_start, last_stop, work)


@jit_row
def _runs_back(last_start: int, last_stop: int, work: FloatArray) -> int:
    """Write (start, stop) of every run into row RUNS, the last one first; their number."""
    runs = work[RUNS]
    count, start, stop = 0, last_start, last_stop
    while start != NEVER:
        runs[2 * count], runs[2 * count + 1] = start, stop
        count += 1
        stop = NEVER if start == BEFORE else int(work[STOP_OF, start])
        start = NEVER if stop == NEVER else int(work[RUN_OF, stop])
    return count


@jit_row
def _outputs(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    runs: int,
    power_kw: FloatArray,
) -> tuple[float, float]:
    """Outputs of the runs in the scratch row, backwards; what they cost with ramps, and their own cost."""
    power_kw[:] = 0.0
    total = own = 0.0
    for k in range(runs):
        start, stop = int(work[RUNS, 2 * k]), int(work[RUNS, 2 * k + 1])
        paid = 0.0 if start == BEFORE else units.start_cost[i]
        total += _follow(units, i, hours, stray, plan_kw, work, start, stop, paid, np.inf)
        own += paid
        reach = np.inf if stop == hours.size else max(units.power_min_kw[i], work[STEP, stop])
        below = -np.inf
        for t in range(stop - 1, max(start, 0) - 1, -1):
            output = min(work[_BEST_KW, t], reach, work[_HIGH_KW, t])
            output = max(output, below, work[_LOW_KW, t])
            power_kw[t] = -output
            own += units.cost_per_kwh[i] * hours[t] * output + work[IDLE, t]
            reach, below = output + work[STEP, t], output - work[STEP, t]
    return total, own


@jit_row
def _cheapest_runs(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float]:
    """Least cost against standing still (straying included where it costs), own cost; fills ``power_kw``."""
    fill_costs(units, i, hours, price, stray, plan_kw, work)
    bound, runs = least_commitment(units, i, work)
    cost, own = _outputs(units, i, hours, stray, plan_kw, work, runs, power_kw)
    if cost > 0.0 and not units.was_on[i]:
        cost, own = _outputs(units, i, hours, stray, plan_kw, work, 0, power_kw)
    if cost <= bound + _EQUAL * max(1.0, abs(bound)):
        return cost, own
    limit = cost - _EQUAL * max(1.0, abs(cost)) if cost < np.inf else cost
    best, runs = _with_ramps(units, i, hours, stray, plan_kw, work, limit)
    if best < limit:
        cost = best
        _, own = _outputs(units, i, hours, stray, plan_kw, work, runs, power_kw)
    return cost, own


@jit_row
def cheapest_generator(
    units: GeneratorArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Least cost, own cost of the schedule in ``power_kw`` (T,), and 0: a generator has no virtual slot.

    Of two schedules that cost the same, the one that starts earlier and gives less is taken.
    """
    near = False
    for t in range(hours.size):
        near = near or stray[t] > 0.0
    nothing = work[RUNS, 3 * hours.size : 4 * hours.size]  # there are at most T / 2 runs
    nothing[:] = 0.0
    least, own = _cheapest_runs(units, i, hours, price, nothing, plan_kw, power_kw, work)
    if near:
        _, own = _cheapest_runs(units, i, hours, price, stray, plan_kw, power_kw, work)
    return least, own, 0.0


@jit
def sweep_generator(
    units: GeneratorArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Cheapest schedules of rows ``first`` to ``last`` − 1, added to ``sums``; written out where there is room."""
    count = prices.hours.size
    price, stray, plan_kw, power_kw = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan_kw)
        late = prices.late[members.tariff[i]]
        answer = cheapest_generator(units, i, prices.hours, price, late, stray, plan_kw, power_kw, work)
        account(members, near, i, prices, power_kw, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power_kw
