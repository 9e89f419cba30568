"""Shiftable loads, checked: energy inside the window, power limits throughout it, the shape of a contiguous run."""

import numpy as np

from models.dispatch.check.horizon import DeviceCheck, Horizon, tolerance
from models.intervals import FloatArray
from models.resources import ShiftableLoad

_EPS = 1e-9


def window_share(load: ShiftableLoad, horizon: Horizon) -> FloatArray:
    """Part of every interval that lies in the window, (T,)."""
    return np.asarray(horizon.grid.overlap_h(load.window_start, load.window_end) / horizon.hours)


def hours_later(load: ShiftableLoad, horizon: Horizon) -> float:
    """Hours of the window after the horizon."""
    opens = max(horizon.grid.end, load.window_start)
    return max(0.0, (load.window_end - opens).total_seconds() / 3600)


def energy_left_kwh(load: ShiftableLoad, horizon: Horizon) -> float:
    """What is still to be used from the horizon's start on."""
    if load.window_end <= horizon.grid.start:
        return 0.0
    return max(0.0, load.energy_kwh - (horizon.state(load.resource_id).delivered_kwh or 0.0))


def shape_kw(load: ShiftableLoad, start_h: float, horizon: Horizon) -> FloatArray:
    """Mean power of the load's run (or of full power until the energy is reached) from ``start_h`` on, (T,).

    The steps of a run are equally long, such that it uses ``energy_kwh``.
    """
    run = np.ones(1) if load.run_profile is None else horizon.run_profiles[load.run_profile]
    full = load.power_max_kw * float(run.sum())
    step_h = load.energy_kwh / full if full > 0 else 0.0
    edges = start_h + step_h * np.arange(len(run) + 1)
    used = np.concatenate([[0.0], np.cumsum(run * load.power_max_kw * step_h)])
    if step_h == 0:
        return np.zeros_like(horizon.hours)
    at_edges = np.interp(np.concatenate([horizon.tau_h[:1], horizon.ends_h]), edges, used)
    return np.asarray(np.diff(at_edges) / horizon.hours)


def run_hours(load: ShiftableLoad, horizon: Horizon) -> float:
    """Length of the run."""
    run = horizon.run_profiles[str(load.run_profile)]
    full = load.power_max_kw * float(run.sum())
    return len(run) * load.energy_kwh / full if full > 0 else 0.0


def preferred_kw(load: ShiftableLoad, horizon: Horizon) -> FloatArray | None:
    """The preferred schedule, (T,); None if the load has no preference."""
    if load.preferred_start is None:
        return None
    return shape_kw(load, horizon.grid.hours_since_start(load.preferred_start), horizon)


def run_choices(load: ShiftableLoad, horizon: Horizon) -> list[FloatArray]:
    """Every schedule (T,) that a run may have: one for each interval it may begin with, and one if it may wait.

    A run that began before the horizon goes on; one that nothing allows any more does not take place.
    """
    state = horizon.state(load.resource_id)
    if state.on:
        return [shape_kw(load, -(state.hours_in_state_h or 0.0), horizon)]
    idle = np.zeros_like(horizon.hours)
    if energy_left_kwh(load, horizon) <= _EPS:
        return [idle]
    length = run_hours(load, horizon)
    opens, closes = (horizon.grid.hours_since_start(edge) for edge in (load.window_start, load.window_end))
    fits = (horizon.tau_h >= opens - _EPS) & (horizon.tau_h + length <= closes + _EPS)
    choices = [shape_kw(load, float(horizon.tau_h[t]), horizon) for t in np.flatnonzero(fits)]
    if max(float(horizon.ends_h[-1]), opens) + length <= closes + _EPS or not choices:
        choices.append(idle)
    return choices


def check_shiftable(load: ShiftableLoad, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check power (T,): the window, the limits in it, the energy, and for a run its shape."""
    found = DeviceCheck()
    if load.run_profile is not None:
        _check_run(load, power_kw, horizon, found)
    else:
        share = window_share(load, horizon)
        inside = share > 0
        found.equals("window", np.where(inside, 0.0, power_kw), 0.0)
        power = np.where(inside, power_kw, np.nan)
        found.at_most("power_max_kw", power, load.power_max_kw * share, tolerance(load.power_max_kw))
        found.at_least("power_min_kw", power, load.power_min_kw * share, tolerance(load.power_min_kw))
        _check_energy(load, power_kw, horizon, found)
    preferred = preferred_kw(load, horizon)
    if preferred is not None and _still_costs(load, horizon):
        found.own_cost = load.cost_per_kwh * 0.5 * float(horizon.hours @ np.abs(power_kw - preferred))
    return found


def _still_costs(load: ShiftableLoad, horizon: Horizon) -> bool:
    """A run that has begun, is done or cannot take place any more has nothing left to prefer."""
    if load.run_profile is None:
        return True
    return not horizon.state(load.resource_id).on and any(choice.any() for choice in run_choices(load, horizon))


def energy_range_kwh(load: ShiftableLoad, horizon: Horizon) -> tuple[float, float]:
    """Least and most that may be used inside the horizon, given what the window holds after it and what is
    reachable.
    """
    left, later = energy_left_kwh(load, horizon), hours_later(load, horizon)
    open_h = float(window_share(load, horizon) @ horizon.hours)
    least, most = load.power_min_kw * open_h, load.power_max_kw * open_h
    low, high = left - load.power_max_kw * later, left - load.power_min_kw * later
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


def _check_energy(load: ShiftableLoad, power_kw: FloatArray, horizon: Horizon, found: DeviceCheck) -> None:
    low, high = energy_range_kwh(load, horizon)
    used = float(horizon.hours @ power_kw)
    slack = tolerance(load.energy_kwh)
    found.at_most("energy_kwh", used, high, slack)
    found.at_least("energy_kwh", used, low, slack)


def _check_run(load: ShiftableLoad, power_kw: FloatArray, horizon: Horizon, found: DeviceCheck) -> None:
    choices = np.array(run_choices(load, horizon))
    off = np.abs(choices - power_kw)
    best = int(off.max(axis=1).argmin())
    if off[best].max() > tolerance(load.power_max_kw):
        near = int(off.sum(axis=1).argmin())
        t = int(off[near].argmax())
        found.note("run_profile", t, float(choices[near][t]), float(power_kw[t]))
