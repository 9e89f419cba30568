"""What every device does if nobody tells it anything, neither a price nor an event.

It is the *u* of "already helping by price" (performance P4).  Per kind, definitions rather than forecasts:

===============  =====================================================================================================
kind             what it does
===============  =====================================================================================================
storage          idle, 0 kW
EV session       charges with its full power from the moment it is plugged in until the energy needed is there
shiftable load   its preferred run: full power (or its run profile) from ``preferred_start``, else the window's start
generator        off
PV               everything that is available
all other loads  their profile x scale, which is their baseline: price alone never moves them
===============  =====================================================================================================

Losses of an idle battery and a car's charge taper are left out: this is a yardstick, not a simulation.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray, IntervalGrid
from models.resources import ResourceKind


def undispatched_kw(problem: DispatchProblem) -> FloatArray:
    """(R, T) kW in the order of ``fleet.resource_ids``; sessions at one charger add up."""
    ids = problem.fleet.resource_ids
    row_of = {name: row for row, name in enumerate(ids)}
    power = np.zeros((len(ids), len(problem.grid)))
    for resource in problem.fleet.rows():
        power[row_of[resource.resource_id]] += _BY_KIND[resource.kind](resource, problem)
    return power


def from_start_at_full_power(
    grid: IntervalGrid, start_h: float, end_h: float, power_kw: float, energy_kwh: float
) -> FloatArray:
    """Mean power (T,) of a device that takes ``power_kw`` from ``start_h`` until it has ``energy_kwh``, at
    most to ``end_h``; hours count from the start of the grid.
    """
    if power_kw <= 0:
        return np.zeros(len(grid))
    stop_h = min(end_h, start_h + energy_kwh / power_kw)
    low = np.maximum(grid.offsets_h[:-1], start_h)
    high = np.minimum(grid.offsets_h[1:], stop_h)
    return np.asarray(power_kw * np.clip(high - low, 0.0, None) / grid.hours)


def _nothing(_resource: Any, problem: DispatchProblem) -> FloatArray:
    return np.zeros(len(problem.grid))


def _session(car: Any, problem: DispatchProblem) -> FloatArray:
    grid = problem.grid
    arrival_h, departure_h = grid.hours_since_start(car.arrival), grid.hours_since_start(car.departure)
    at_meter_kwh = car.energy_needed_kwh / car.charge_efficiency
    return from_start_at_full_power(grid, arrival_h, departure_h, car.charge_limit_kw, at_meter_kwh)


def _shiftable(load: Any, problem: DispatchProblem) -> FloatArray:
    grid = problem.grid
    start_h = grid.hours_since_start(load.preferred_start or load.window_start)
    end_h = grid.hours_since_start(load.window_end)
    if load.run_profile is None:
        return from_start_at_full_power(grid, start_h, end_h, load.power_max_kw, load.energy_kwh)
    shape = problem.run_profiles[load.run_profile] * load.power_max_kw
    power = np.zeros(len(grid))
    first = int(np.searchsorted(grid.tau_h, start_h - 1e-9))
    count = max(min(len(shape), len(grid) - first), 0)
    power[first : first + count] = shape[:count]
    return power


def _pv(plant: Any, problem: DispatchProblem) -> FloatArray:
    return -problem.profiles[plant.available_profile] * float(plant.available_scale_kw)


def _profile(load: Any, problem: DispatchProblem) -> FloatArray:
    return problem.profiles[load.baseline_profile] * float(load.baseline_scale_kw)


_BY_KIND: Mapping[ResourceKind, Callable[[Any, DispatchProblem], FloatArray]] = {
    ResourceKind.STORAGE: _nothing,
    ResourceKind.EV_SESSION: _session,
    ResourceKind.CURTAILABLE_LOAD: _profile,
    ResourceKind.INTERRUPTIBLE_LOAD: _profile,
    ResourceKind.SHIFTABLE_LOAD: _shiftable,
    ResourceKind.THERMAL_LOAD: _profile,
    ResourceKind.GENERATOR: _nothing,
    ResourceKind.PV: _pv,
}
