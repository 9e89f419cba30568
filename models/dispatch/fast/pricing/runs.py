"""Shiftable loads that run once, in a fixed shape: when to begin.

Why it is exact.  R1-R3 leave one choice: the interval with which the run begins (or that it begins after the horizon).
Every possible one is priced, with what leaving the preferred run and straying cost.  A start is priced by what it
changes against not running at all, in the intervals that it touches: about as many as the run has steps.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.calls import part
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import EPS_H, floats, or_zero
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("run_first", "run_values", "edges_h", "even_until")

LEAST_KWH = 1e-9
"""A run that lacks less than this is done."""

_ROUND_H = 1e-12
"""A step that reaches into an interval by less ends before it."""


_SHAPE, _KEPT, _LIKED = 0, 1, 2
"""Parts of the scratch memory: a run from its first interval on, the best one so far, and the preferred one (T,)."""


class RunArrays(NamedTuple):
    """n loads; the shapes, run k being ``run_values[run_first[k]:run_first[k + 1]]``, and ``edges_h`` are shared.

    ``step_h``: length of one step.  ``first``, ``last``: intervals with which the run may begin, none if last < first.
    ``waits``: 1 if it need not begin in the horizon.  ``begun_h``: hours from the start to the beginning of a run that
    is going on, else NaN.  ``liked_h``: the preferred beginning, NaN without one.  ``half_cost``: CNY per kWh off it.
    ``even_until``: (T,) first interval after each whose length is another.
    """

    run: IndexArray
    step_h: FloatArray
    power_max_kw: FloatArray
    first: IndexArray
    last: IndexArray
    waits: IndexArray
    begun_h: FloatArray
    liked_h: FloatArray
    half_cost: FloatArray
    run_first: IndexArray
    run_values: FloatArray
    edges_h: FloatArray
    even_until: IndexArray


def run_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> RunArrays:
    """The loads of a table's columns (rows with ``run_profile``)."""
    names = list(setting.run_profiles)
    shapes = [np.asarray(setting.run_profiles[name], dtype=np.float64) for name in names]
    lengths = np.array([len(shape) for shape in shapes], dtype=np.int64)
    sums = np.array([float(shape.sum()) for shape in shapes])
    run = rows_in({name: row for row, name in enumerate(names)}, columns["run_profile"])
    energy, power = floats(columns["energy_kwh"]), floats(columns["power_max_kw"])
    full = power * sums[run]
    step = np.divide(energy, full, out=np.zeros_like(energy), where=full > 0)
    opens, closes = (setting.hours_since_start(columns[name]) for name in ("window_start", "window_end"))
    begins, length = setting.edges_h[:-1], step * lengths[run]
    left = np.where(closes <= 0, 0.0, np.maximum(0.0, energy - or_zero(states.delivered_kwh)))
    first = np.searchsorted(begins, opens - EPS_H)
    last = np.searchsorted(begins, closes - length + EPS_H, side="right") - 1
    last = np.where(left <= LEAST_KWH, -1, last)
    later = np.maximum(setting.edges_h[-1], opens) + length <= closes + EPS_H
    liked = setting.hours_since_start(columns["preferred_start"])
    on = states.on == 1
    return RunArrays(
        run=run,
        step_h=step,
        power_max_kw=power,
        first=first.astype(np.int64),
        last=last.astype(np.int64),
        waits=(later | (last < first)).astype(np.int64),
        begun_h=np.where(on, -or_zero(states.hours_in_state_h), np.nan),
        liked_h=liked,
        half_cost=np.where(np.isnan(liked) | on, 0.0, 0.5 * floats(columns["cost_per_kwh"])),
        run_first=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        run_values=np.concatenate([*shapes, np.empty(0)]),
        edges_h=setting.edges_h,
        even_until=_even_until(setting.hours),
    )


def _even_until(hours: FloatArray) -> IndexArray:
    """The first interval after each whose length is another, T if none is, (T,)."""
    changes = np.flatnonzero(np.abs(np.diff(hours)) > EPS_H) + 1
    ends = np.append(changes, len(hours))
    return ends[np.searchsorted(ends, np.arange(len(hours)), side="right")].astype(np.int64)


@jit
def shape_run(units: RunArrays, i: int, start_h: float, hours: FloatArray, power_kw: FloatArray) -> tuple[int, int]:
    """Fill the mean power of a run that begins at ``start_h`` in the intervals that it touches; first and past last."""
    count, edges = hours.size, units.edges_h
    step, peak = units.step_h[i], units.power_max_kw[i]
    begin, end = units.run_first[units.run[i]], units.run_first[units.run[i] + 1]
    stop_h = start_h + step * (end - begin)
    if step <= 0 or start_h >= edges[count] or stop_h <= 0:
        return 0, 0
    first = max(int(np.searchsorted(edges, start_h, side="right")) - 1, 0)
    t = first
    power_kw[t] = 0.0
    for k in range(begin, end):
        low, high = start_h + step * (k - begin), start_h + step * (k - begin + 1)
        while True:
            inside = min(high, edges[t + 1]) - max(low, edges[t])
            if inside > _ROUND_H:
                power_kw[t] += peak * units.run_values[k] * inside / hours[t]
            if high <= edges[t + 1] + _ROUND_H:
                break
            t += 1
            if t == count:
                return first, count
            power_kw[t] = 0.0
    return first, t + 1


@jit
def _cost_of_running(
    shape: FloatArray,
    begin: int,
    size: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    half: float,
    liked: FloatArray,
) -> tuple[float, float, bool]:
    """What ``shape`` (size,) from interval ``begin`` on costs more than not running: all, off the preferred run alone.

    And whether it draws anything at all.
    """
    total, off = 0.0, 0.0
    runs = False
    for j in range(size):
        t = begin + j
        p = shape[j]
        total += hours[t] * (price[t] * p + stray[t] * (abs(p - plan_kw[t]) - abs(plan_kw[t])))
        if half > 0:
            off += hours[t] * (abs(p - liked[t]) - abs(liked[t]))
        runs = runs or p != 0
    return total + half * off, half * off, runs


@jit
def _best_start(
    units: RunArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> tuple[int, int, float, float, bool]:
    """The interval with which the run had best begin, −1 if none may; how many it touches; ``_cost_of_running``.

    Its shape is left in the scratch memory.
    """
    shape, kept, liked = part(work, _SHAPE), part(work, _KEPT), part(work, _LIKED)
    half, even = units.half_cost[i], units.even_until
    best_at, best_size, best, best_off, any_runs = -1, 0, np.inf, 0.0, False
    size = 0
    for t in range(units.first[i], units.last[i] + 1):
        # on equal intervals the shape of the start before is this one's
        if t == units.first[i] or even[t] != even[t - 1] or t + size > even[t]:
            begin, end = shape_run(units, i, units.edges_h[t], hours, shape)
            size = end - begin
            for j in range(size):
                shape[j] = shape[begin + j]
        cost, off, runs = _cost_of_running(shape, t, size, hours, price, stray, plan_kw, half, liked)
        any_runs = any_runs or runs
        if cost < best:
            best_at, best_size, best, best_off = t, size, cost, off
            kept[:size] = shape[:size]
    return best_at, best_size, best, best_off, any_runs


@jit
def cheapest_run(
    units: RunArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Least cost, own cost (of leaving the preferred run) and 0; fills net power (T,), kW.  Ties go to the earlier."""
    count = hours.size
    shape, kept, liked = part(work, _SHAPE), part(work, _KEPT), part(work, _LIKED)
    half = units.half_cost[i]
    idle, idle_off = 0.0, 0.0
    for t in range(count):
        power_kw[t] = 0.0
        liked[t] = 0.0
        idle += hours[t] * stray[t] * abs(plan_kw[t])
    if not np.isnan(units.begun_h[i]):
        begin, end = shape_run(units, i, units.begun_h[i], hours, shape)
        more, _, _ = _cost_of_running(shape[begin:end], begin, end - begin, hours, price, stray, plan_kw, 0.0, liked)
        power_kw[begin:end] = shape[begin:end]
        return idle + more, 0.0, 0.0
    if half > 0:
        begin, end = shape_run(units, i, units.liked_h[i], hours, liked)
        for t in range(begin, end):
            idle_off += half * hours[t] * abs(liked[t])
    best_at, best_size, best, best_off, any_runs = _best_start(units, i, hours, price, stray, plan_kw, work)
    if not any_runs:
        # nothing can run inside the horizon, so nothing is off what is preferred
        best, best_off, idle_off = min(best, 0.0), 0.0, 0.0
    if units.waits[i] == 1 and best > 0.0:
        best_at, best_size, best, best_off = -1, 0, 0.0, 0.0
    if best_at >= 0:
        power_kw[best_at : best_at + best_size] = kept[:best_size]
    return idle + idle_off + best, idle_off + best_off, 0.0


@jit
def sweep_runs(
    units: RunArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Cheapest schedules of the rows first to last (exclusive), added up; written to ``power_out`` if it has rows."""
    count = prices.hours.size
    price, stray, plan, power = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan)
        late = prices.late[members.tariff[i]]
        answer = cheapest_run(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
