"""Admissions: before each solve, every limit that a measured state made unreachable is relaxed to what can be reached.

A silent battery, a car that came late: physics is hard, so that a plan exists only if the promises that cannot be
kept any more are named and cut back first.  ``admit`` is a pure function of the problem; each relaxation is one
``Admission``, and whoever checks a plan repeats it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem, ResourceState
from models.fleet import Fleet
from models.plan import Admission
from models.resources import (
    EvSession,
    InterruptibleLoad,
    ResourceBase,
    ResourceKind,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

SLACK = 1e-7
"""Relative: what misses its limit by less is relaxed without a row."""


def admit(problem: DispatchProblem) -> tuple[DispatchProblem, tuple[Admission, ...]]:
    """The problem with every unreachable limit relaxed, and what was relaxed; the same problem if nothing was."""
    rows: list[ResourceBase] = []
    found: list[Admission] = []
    changed = False
    for row in problem.fleet.rows():
        admitted, news = admit_row(row, problem.states.get(row.resource_id, ResourceState()), problem)
        rows.append(admitted)
        found.extend(news)
        changed = changed or admitted is not row
    if not changed:
        return problem, ()
    return replace(problem, fleet=Fleet.from_rows(rows)), tuple(found)


def admit_row(row: Any, state: ResourceState, problem: DispatchProblem) -> tuple[Any, list[Admission]]:
    """One row with what its state made unreachable relaxed, and what was relaxed; the same row if nothing was."""
    relax = _BY_KIND.get(row.kind)
    return (row, []) if relax is None else relax(row, state, problem)


def _below(value: float, limit: float) -> bool:
    return value < limit - SLACK * max(1.0, abs(limit))


def _storage(row: Storage, state: ResourceState, problem: DispatchProblem) -> tuple[Storage, list[Admission]]:
    """Bounds to where the level is; the end condition to the fullest that charging from now on can reach."""
    start = row.energy_start_kwh if state.energy_kwh is None else state.energy_kwh
    low, high = min(row.energy_min_kwh, start), max(row.energy_max_kwh, start)
    news = []
    if low < row.energy_min_kwh:
        news.append(Admission(row.resource_id, "energy_min_kwh", row.energy_min_kwh, low, "level measured below it"))
    if high > row.energy_max_kwh:
        news.append(Admission(row.resource_id, "energy_max_kwh", row.energy_max_kwh, high, "level measured above it"))
    reach = _fullest(row, start, high, problem)
    end = row.energy_end_min_kwh
    if _below(reach, end):
        news.append(Admission(row.resource_id, "energy_end_min_kwh", end, reach, "cannot be charged by then"))
    end = min(end, reach)
    if not news and end == row.energy_end_min_kwh:
        return row, news
    return row.model_copy(update={"energy_min_kwh": low, "energy_max_kwh": high, "energy_end_min_kwh": end}), news


def _fullest(row: Storage, start: float, high: float, problem: DispatchProblem) -> float:
    """Level after charging as much as fits in every interval, from the first on (a pump runs at its minimum or not)."""
    level = start
    for hours in problem.grid.hours:
        room = (high - level) / (row.charge_efficiency * hours)
        power = min(row.charge_limit_kw, room)
        if power >= row.charge_min_kw and power > 0:
            level += row.charge_efficiency * hours * power
    return level


def _stay(row: EvSession, state: ResourceState, problem: DispatchProblem) -> tuple[EvSession, list[Admission]]:
    """The energy by departure to the most (or, if there is too much already, the least) that is still reachable."""
    grid = problem.grid
    if row.departure <= grid.start:
        return row, []
    here = row.arrival <= grid.start
    first = float(row.battery_start_kwh or 0.0) if row.is_v2g else 0.0
    measured = state.energy_kwh if row.is_v2g else state.delivered_kwh
    level = measured if here and measured is not None else first
    hours = (row.departure - max(row.arrival, grid.start)).total_seconds() / 3600
    most = level + row.charge_efficiency * row.charge_limit_kw * hours - first
    least = level - row.discharge_limit_kw / row.discharge_efficiency * hours - first
    news, update = [], {}
    capacity = row.battery_capacity_kwh if row.is_v2g else None
    if capacity is not None and level > capacity:
        news.append(_stay_row(row, "battery_capacity_kwh", capacity, level, "level measured above it"))
        update["battery_capacity_kwh"] = level
    granted = min(max(row.energy_needed_kwh, least), most)
    missed = _below(granted, row.energy_needed_kwh) or _below(row.energy_needed_kwh, granted)
    if missed:
        why = "cannot be charged by departure" if granted < row.energy_needed_kwh else "is there already"
        news.append(_stay_row(row, "energy_needed_kwh", row.energy_needed_kwh, granted, why))
    if granted != row.energy_needed_kwh:
        update["energy_needed_kwh"] = granted
    return (row.model_copy(update=update) if update else row), news


def _stay_row(row: EvSession, limit: str, asked: float, granted: float, reason: str) -> Admission:
    return Admission(row.resource_id, limit, asked, granted, reason, session_id=row.session_id)


def _thermal(row: ThermalLoad, state: ResourceState, problem: DispatchProblem) -> tuple[ThermalLoad, list[Admission]]:
    """Store limits to where the store is; the end condition to the coldest that can be reached."""
    start = state.store_kwh or 0.0
    low, high = max(row.store_low_kwh, -start), max(row.store_high_kwh, start)
    news = []
    if low > row.store_low_kwh:
        news.append(Admission(row.resource_id, "store_low_kwh", row.store_low_kwh, low, "store measured below it"))
    if high > row.store_high_kwh:
        news.append(Admission(row.resource_id, "store_high_kwh", row.store_high_kwh, high, "store measured above it"))
    level = start
    for span in problem.grid.hours:
        decay = row.decay_per_hour
        kept = float(np.exp(-decay * span))
        gain = -float(np.expm1(-decay * span)) / decay if decay > 0 else float(span)
        level = min(high, kept * level + gain * row.increase_limit_kw)
    end = row.store_end_min_kwh
    if _below(level, end):
        news.append(Admission(row.resource_id, "store_end_min_kwh", end, level, "cannot be cooled by then"))
    end = min(end, level)
    if not news and end == row.store_end_min_kwh:
        return row, news
    return row.model_copy(update={"store_low_kwh": low, "store_high_kwh": high, "store_end_min_kwh": end}), news


def _shiftable(
    row: ShiftableLoad, state: ResourceState, problem: DispatchProblem
) -> tuple[ShiftableLoad, list[Admission]]:
    """Energy to what the rest of the window can hold; a run that cannot begin in time may end after the window."""
    if row.window_end <= problem.grid.start:
        return row, []
    if row.run_profile:
        return _run(row, state, problem)
    done = state.delivered_kwh or 0.0
    hours = (row.window_end - max(row.window_start, problem.grid.start)).total_seconds() / 3600
    left = row.energy_kwh - done
    granted = min(max(left, row.power_min_kw * hours), row.power_max_kw * hours)
    if granted == left:
        return row, []
    why = "too late for the rest of the window" if granted < left else "minimum power for the rest of the window"
    energy = granted + done
    missed = _below(granted, left) or _below(left, granted)
    news = [Admission(row.resource_id, "energy_kwh", row.energy_kwh, energy, why)] if missed else []
    return row.model_copy(update={"energy_kwh": energy}), news


def _run(row: ShiftableLoad, state: ResourceState, problem: DispatchProblem) -> tuple[ShiftableLoad, list[Admission]]:
    grid, shape = problem.grid, problem.run_profiles[str(row.run_profile)]
    if state.on or row.energy_kwh - (state.delivered_kwh or 0.0) <= 1e-9:
        return row, []
    full = row.power_max_kw * float(shape.sum())
    run_h = row.energy_kwh / full * len(shape) if full > 0 else 0.0
    first, last = grid.hours_since_start(row.window_start), grid.hours_since_start(row.window_end)
    starts = np.append(grid.tau_h, max(float(grid.offsets_h[-1]), first))
    starts = starts[starts >= first - 1e-9]
    if (starts + run_h <= last + 1e-9).any():
        return row, []
    end = grid.start + timedelta(hours=float(starts[0]) + run_h)
    asked, granted = row.window_end.timestamp(), end.timestamp()
    return row.model_copy(update={"window_end": end}), [
        Admission(row.resource_id, "window_end", asked, granted, "the run cannot begin early enough (seconds, UTC)")
    ]


def _interruptible(
    row: InterruptibleLoad, state: ResourceState, problem: DispatchProblem
) -> tuple[InterruptibleLoad, list[Admission]]:
    """An interruption that runs may end before its shortest time where the intervals leave no other way."""
    if not state.on:
        return row, []
    been, ends = state.hours_in_state_h or 0.0, problem.grid.offsets_h[1:]
    must = int(np.count_nonzero(problem.grid.tau_h < row.shortest_h - been - 1e-9))
    if must == 0 or ends[must - 1] <= row.longest_h - been + 1e-9:
        return row, []
    allowed = int(np.count_nonzero(ends <= row.longest_h - been + 1e-9))
    granted = been + (float(ends[allowed - 1]) if allowed else 0.0)
    granted = min(granted, row.shortest_h)
    news: list[Any] = [
        Admission(row.resource_id, "shortest_h", row.shortest_h, granted, "would pass longest_h on these intervals")
    ]
    return row.model_copy(update={"shortest_h": granted}), news


_BY_KIND: dict[ResourceKind, Callable[..., tuple[Any, list[Admission]]]] = {
    ResourceKind.STORAGE: _storage,
    ResourceKind.EV_SESSION: _stay,
    ResourceKind.THERMAL_LOAD: _thermal,
    ResourceKind.SHIFTABLE_LOAD: _shiftable,
    ResourceKind.INTERRUPTIBLE_LOAD: _interruptible,
}
