"""Admissions of a million devices: columns find the few rows that a state put out of reach, ``admit_row`` answers them.

Every screen repeats the arithmetic of ``models.dispatch.admissions`` on columns, operation by operation in the same
order, so that it finds a row exactly where ``admit_row`` would change it; where the same bits are not certain (the
exponentials of a leaking store) it asks about the doubtful rows too.  n rows, T intervals.
"""

from collections.abc import Callable, Mapping
from datetime import UTC

import numpy as np
from numpy.typing import NDArray

from models.dispatch.admissions import admit_row
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.states import FleetStates, StateColumns
from models.fleet import Column, ResourceTable
from models.intervals import FloatArray
from models.plan import Admission
from models.resources import ResourceKind

Columns = Mapping[str, Column]
BoolArray = NDArray[np.bool_]

_RELAXED = {
    ResourceKind.STORAGE: ("energy_min_kwh", "energy_max_kwh", "energy_end_min_kwh"),
    ResourceKind.EV_SESSION: ("energy_needed_kwh", "battery_capacity_kwh"),
    ResourceKind.THERMAL_LOAD: ("store_low_kwh", "store_high_kwh", "store_end_min_kwh"),
    ResourceKind.SHIFTABLE_LOAD: ("energy_kwh", "window_end"),
    ResourceKind.INTERRUPTIBLE_LOAD: ("shortest_h",),
}
"""Columns that an admission may change."""

_DOUBT = 1e-9
"""Relative: closer than this to its limit, a leaking store is asked about."""


def admit_columns(
    problem: DispatchProblem, known: FleetStates | None = None
) -> tuple[dict[ResourceKind, Columns], tuple[Admission, ...]]:
    """Columns of every kind with what cannot be reached relaxed, and what was relaxed: ``admit`` on columns.

    ``known``: the problem's states, if somebody has looked them up.
    A kind of which nothing is relaxed keeps its columns; of the others, those that change are copies.
    """
    admitted: dict[ResourceKind, Columns] = {}
    found: list[Admission] = []
    known = known or FleetStates(problem)
    for kind, table in problem.fleet.tables.items():
        admitted[kind] = table.columns
        if kind in _SCREENS and len(table) > 0:
            asked = np.flatnonzero(_SCREENS[kind](table.columns, known.of(kind), problem))
            admitted[kind] = _relax(table, asked, problem, found)
    return admitted, tuple(found)


def _relax(table: ResourceTable, asked: NDArray[np.int64], problem: DispatchProblem, found: list[Admission]) -> Columns:
    """The columns with the answers for the rows ``asked`` written in; what was relaxed by name goes to ``found``."""
    if asked.size == 0:
        return table.columns
    kind, rows = table.kind, []
    for row in ResourceTable(kind, {name: column[asked] for name, column in table.columns.items()}).rows():
        relaxed, news = admit_row(row, problem.states.get(row.resource_id, ResourceState()), problem)
        rows.append(relaxed)
        found.extend(news)
    answers = ResourceTable.from_rows(kind, rows).columns
    changed = {name: table.columns[name].copy() for name in _RELAXED[kind]}
    for name, column in changed.items():
        column[asked] = answers[name]
    return {**table.columns, **changed}


def _known(values: FloatArray, otherwise: FloatArray | float) -> FloatArray:
    return np.where(np.isnan(values), otherwise, values)


def _microseconds(moments: Column, problem: DispatchProblem) -> NDArray[np.int64]:
    """Microseconds from the horizon's start to every moment (n,)."""
    start = np.datetime64(problem.grid.start.astimezone(UTC).replace(tzinfo=None), "us")
    return np.asarray((moments - start) / np.timedelta64(1, "us")).astype(np.int64)


def _hours(microseconds: NDArray[np.int64]) -> FloatArray:
    # As timedelta.total_seconds() / 3600 has it.
    return np.asarray(microseconds / 1e6 / 3600)


def _storage(columns: Columns, states: StateColumns, problem: DispatchProblem) -> BoolArray:
    start = _known(states.energy_kwh, columns["energy_start_kwh"])
    outside = (start < columns["energy_min_kwh"]) | (start > columns["energy_max_kwh"])
    # Charging never lowers a level: who starts at the end condition reaches it.
    doubtful = np.flatnonzero(start < columns["energy_end_min_kwh"])
    outside[doubtful] |= _never_full({name: columns[name][doubtful] for name in _CHARGING}, start[doubtful], problem)
    return np.asarray(outside)


_CHARGING = ("charge_limit_kw", "charge_min_kw", "charge_efficiency", "energy_max_kwh", "energy_end_min_kwh")


def _never_full(columns: Columns, level: FloatArray, problem: DispatchProblem) -> BoolArray:
    """Whose level misses its end condition, charged as much as fits in every interval from ``level`` on."""
    limit, least, efficiency, high, end = (columns[name] for name in _CHARGING)
    high = np.maximum(high, level)
    left = np.arange(len(level))
    for hours in problem.grid.hours:
        room = (high - level) / (efficiency * hours)
        power = np.minimum(limit, room)
        level = np.where((power >= least) & (power > 0), level + efficiency * hours * power, level)
        short = level < end
        if not short.all():
            left, level, high, end = left[short], level[short], high[short], end[short]
            limit, least, efficiency = limit[short], least[short], efficiency[short]
        if left.size == 0:
            break
    missed = np.zeros(len(columns["energy_max_kwh"]), dtype=np.bool_)
    missed[left] = True
    return missed


def _stay(columns: Columns, states: StateColumns, problem: DispatchProblem) -> BoolArray:
    v2g = columns["discharge_limit_kw"] > 0
    arrival, departure = (_microseconds(columns[name], problem) for name in ("arrival", "departure"))
    first = np.where(v2g, _known(columns["battery_start_kwh"], 0.0), 0.0)
    measured = np.where(v2g, states.energy_kwh, states.delivered_kwh)
    level = np.where((arrival <= 0) & ~np.isnan(measured), measured, first)
    hours = _hours(departure - np.maximum(arrival, 0))
    most = level + columns["charge_efficiency"] * columns["charge_limit_kw"] * hours - first
    least = level - columns["discharge_limit_kw"] / columns["discharge_efficiency"] * hours - first
    needed = columns["energy_needed_kwh"]
    overfull = v2g & (level > columns["battery_capacity_kwh"])
    granted = np.minimum(np.maximum(needed, least), most)
    return np.asarray((departure > 0) & (overfull | (granted != needed)))


def _thermal(columns: Columns, states: StateColumns, problem: DispatchProblem) -> BoolArray:
    start = _known(states.store_kwh, 0.0)
    outside = (-start > columns["store_low_kwh"]) | (start > columns["store_high_kwh"])
    # A store left alone goes towards 0 and never past it: who ends no higher than that, or than the start, gets there.
    doubtful = np.flatnonzero(columns["store_end_min_kwh"] > np.minimum(start, 0.0))
    level, decay = start[doubtful], columns["decay_per_hour"][doubtful]
    high = np.maximum(columns["store_high_kwh"][doubtful], level)
    most = columns["increase_limit_kw"][doubtful]
    for span in problem.grid.hours:
        gain = np.where(decay > 0, -np.expm1(-decay * span) / np.where(decay > 0, decay, 1.0), span)
        level = np.minimum(high, np.exp(-decay * span) * level + gain * most)
    end = columns["store_end_min_kwh"][doubtful]
    outside[doubtful] |= level < end + _DOUBT * np.maximum(1.0, np.abs(end))
    return np.asarray(outside)


def _shiftable(columns: Columns, states: StateColumns, problem: DispatchProblem) -> BoolArray:
    opens, closes = (_microseconds(columns[name], problem) for name in ("window_start", "window_end"))
    done = _known(states.delivered_kwh, 0.0)
    hours = _hours(closes - np.maximum(opens, 0))
    left = columns["energy_kwh"] - done
    granted = np.minimum(np.maximum(left, columns["power_min_kw"] * hours), columns["power_max_kw"] * hours)
    runs = np.asarray(columns["run_profile"] != "", dtype=np.bool_)
    asked = np.where(runs, False, granted != left)
    waiting = np.flatnonzero(runs & (_known(states.on, 0.0) == 0) & (left > 1e-9))
    asked[waiting] = _too_late(
        {name: columns[name][waiting] for name in ("run_profile", "energy_kwh", "power_max_kw")},
        _hours(opens[waiting]),
        _hours(closes[waiting]),
        problem,
    )
    return np.asarray((closes > 0) & asked)


def _too_late(columns: Columns, first: FloatArray, last: FloatArray, problem: DispatchProblem) -> BoolArray:
    """Which runs would pass the end of their window even from the earliest start: the first edge in it."""
    totals = {name: float(shape.sum()) for name, shape in problem.run_profiles.items()}
    counts = {name: len(shape) for name, shape in problem.run_profiles.items()}
    total = np.array([totals[name] for name in columns["run_profile"]], dtype=np.float64)
    count = np.array([counts[name] for name in columns["run_profile"]], dtype=np.float64)
    full = columns["power_max_kw"] * total
    run_h = np.where(full > 0, columns["energy_kwh"] / np.where(full > 0, full, 1.0) * count, 0.0)
    tau = problem.grid.tau_h
    place = np.searchsorted(tau, first - 1e-9)
    after = np.maximum(float(problem.grid.offsets_h[-1]), first)
    start = np.where(place < len(tau), tau[np.minimum(place, len(tau) - 1)], after)
    return np.asarray(start + run_h > last + 1e-9)


def _interruptible(columns: Columns, states: StateColumns, problem: DispatchProblem) -> BoolArray:
    been, ends = _known(states.hours_in_state_h, 0.0), problem.grid.offsets_h[1:]
    must = np.searchsorted(problem.grid.tau_h, columns["shortest_h"] - been - 1e-9)
    beyond = ends[np.maximum(must - 1, 0)] > columns["longest_h"] - been + 1e-9
    return np.asarray((_known(states.on, 0.0) != 0) & (must > 0) & beyond)


_SCREENS: Mapping[ResourceKind, Callable[[Columns, StateColumns, DispatchProblem], BoolArray]] = {
    ResourceKind.STORAGE: _storage,
    ResourceKind.EV_SESSION: _stay,
    ResourceKind.THERMAL_LOAD: _thermal,
    ResourceKind.SHIFTABLE_LOAD: _shiftable,
    ResourceKind.INTERRUPTIBLE_LOAD: _interruptible,
}
