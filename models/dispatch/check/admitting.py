"""Admissions, repeated: what a measured state made unreachable is relaxed to what the resource can still reach.

Written from dispatch-model §1 and §2 alone: a level outside its bounds moves the bound to that level, an end
condition moves to the best level in reach, a charging session's energy to the nearest it can still get.
"""

from dataclasses import replace
from datetime import timedelta

import numpy as np

from models.dispatch.check.charging import Stay
from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.shifting import energy_left_kwh, run_hours
from models.dispatch.check.thermal import store_factors, store_start_kwh
from models.plan import Admission
from models.resources import InterruptibleLoad, ShiftableLoad, Storage, ThermalLoad


def admit_storage(unit: Storage, horizon: Horizon) -> tuple[Storage, list[Admission]]:
    """The unit with its measured level as start, and the bounds and the end condition that it can still keep."""
    measured = horizon.state(unit.resource_id).energy_kwh
    level = unit.energy_start_kwh if measured is None else measured
    low, high = min(unit.energy_min_kwh, level), max(unit.energy_max_kwh, level)
    most = level
    for hours in horizon.hours:
        charge = min(unit.charge_limit_kw, (high - most) / (unit.charge_efficiency * hours))
        most += unit.charge_efficiency * hours * charge if charge >= unit.charge_min_kw else 0.0
    wanted = {
        "energy_min_kwh": low,
        "energy_max_kwh": high,
        "energy_end_min_kwh": min(unit.energy_end_min_kwh, most),
    }
    admissions = _changed(unit.resource_id, {name: getattr(unit, name) for name in wanted}, wanted)
    return unit.model_copy(update={**wanted, "energy_start_kwh": level}), admissions


def admit_thermal(load: ThermalLoad, horizon: Horizon) -> tuple[ThermalLoad, list[Admission]]:
    """The load with the store limits and the end condition that it can still keep from its measured store."""
    level = store_start_kwh(load, horizon)
    low, high = max(load.store_low_kwh, -level), max(load.store_high_kwh, level)
    most = level
    for kept, gain in zip(*store_factors(load, horizon), strict=True):
        most = min(high, kept * most + gain * load.increase_limit_kw)
    wanted = {
        "store_low_kwh": low,
        "store_high_kwh": high,
        "store_end_min_kwh": min(load.store_end_min_kwh, most),
    }
    admissions = _changed(load.resource_id, {name: getattr(load, name) for name in wanted}, wanted)
    return load.model_copy(update=wanted), admissions


def _changed(resource_id: str, asked: dict[str, float], granted: dict[str, float]) -> list[Admission]:
    return [
        Admission(resource_id, name, asked[name], value, "not reachable from the measured state")
        for name, value in granted.items()
        if abs(value - asked[name]) > tolerance(asked[name])
    ]


def admit_stays(stays: list[Stay], horizon: Horizon) -> tuple[list[Stay], list[Admission]]:
    """The stays with the energy that each can still get by its departure."""
    admitted, admissions = [], []
    for stay in stays:
        session = stay.session
        capacity = session.battery_capacity_kwh
        if session.is_v2g and capacity is not None and stay.start_kwh > capacity:
            reason = "measured above it"
            admissions.append(
                Admission(
                    session.resource_id, "battery_capacity_kwh", capacity, stay.start_kwh, reason, session.session_id
                )
            )
        plugged_h = float(stay.share @ horizon.hours) + stay.hours_after
        most = stay.start_kwh + session.charge_limit_kw * session.charge_efficiency * plugged_h
        least = stay.start_kwh
        if session.is_v2g:
            most = min(most, max(stay.ceiling_kwh, stay.start_kwh))
            least -= session.discharge_limit_kw / session.discharge_efficiency * plugged_h
            least = max(least, min(0.0, stay.start_kwh))
        granted = float(np.clip(stay.target_kwh, least, most))
        if abs(granted - stay.target_kwh) > tolerance(stay.target_kwh):
            moved = session.energy_needed_kwh + granted - stay.target_kwh
            reason = "not reachable before departure"
            admissions.append(
                Admission(
                    session.resource_id,
                    "energy_needed_kwh",
                    session.energy_needed_kwh,
                    moved,
                    reason,
                    session.session_id,
                )
            )
        admitted.append(replace(stay, target_kwh=granted))
    return admitted, admissions


def admit_shiftable(load: ShiftableLoad, horizon: Horizon) -> tuple[ShiftableLoad, list[Admission]]:
    """The load with the energy that the rest of its window can hold; a run that is too late ends after its window."""
    if load.window_end <= horizon.grid.start:
        return load, []
    if load.run_profile is not None:
        return _admit_run(load, horizon)
    done = horizon.state(load.resource_id).delivered_kwh or 0.0
    rest_h = (load.window_end - max(load.window_start, horizon.grid.start)).total_seconds() / 3600
    left = float(np.clip(load.energy_kwh - done, load.power_min_kw * rest_h, load.power_max_kw * rest_h))
    wanted = {"energy_kwh": done + left}
    return load.model_copy(update=wanted), _changed(load.resource_id, {"energy_kwh": load.energy_kwh}, wanted)


def _admit_run(load: ShiftableLoad, horizon: Horizon) -> tuple[ShiftableLoad, list[Admission]]:
    if horizon.state(load.resource_id).on or energy_left_kwh(load, horizon) <= 1e-9:
        return load, []
    length = run_hours(load, horizon)
    opens, closes = (horizon.grid.hours_since_start(edge) for edge in (load.window_start, load.window_end))
    begins = np.concatenate([horizon.tau_h, [max(float(horizon.ends_h[-1]), opens)]])
    begins = begins[begins >= opens - 1e-9]
    if begins[0] + length <= closes + 1e-9:
        return load, []
    end = horizon.grid.start + timedelta(hours=float(begins[0]) + length)
    reason = "the run cannot begin early enough (seconds, UTC)"
    asked, granted = load.window_end.timestamp(), end.timestamp()
    row = Admission(load.resource_id, "window_end", asked, granted, reason)
    return load.model_copy(update={"window_end": end}), [row]


def admit_interruptible(load: InterruptibleLoad, horizon: Horizon) -> tuple[InterruptibleLoad, list[Admission]]:
    """The load with the shortest time that an interruption which runs already can keep on these intervals."""
    state = horizon.state(load.resource_id)
    if not state.on:
        return load, []
    been = state.hours_in_state_h or 0.0
    must = np.flatnonzero(horizon.tau_h < load.shortest_h - been - 1e-9)
    may = np.flatnonzero(horizon.ends_h <= load.longest_h - been + 1e-9)
    if must.size <= may.size:
        return load, []
    granted = min(load.shortest_h, been + (float(horizon.ends_h[may[-1]]) if may.size else 0.0))
    wanted = {"shortest_h": granted}
    return load.model_copy(update=wanted), _changed(load.resource_id, {"shortest_h": load.shortest_h}, wanted)
