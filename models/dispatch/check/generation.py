"""Generators and photovoltaics, checked: output limits, ramps, times up and down; what the sun gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dispatch.check.horizon import DeviceCheck, Horizon, tolerance
from models.intervals import FloatArray
from models.resources import Generator, Pv

_EPS_H = 1e-9


@dataclass(frozen=True, slots=True)
class Before:
    """A generator when the horizon starts: output, whether it runs, and for how long that has been so (h)."""

    output_kw: float
    on: bool
    hours: float


def before(unit: Generator, horizon: Horizon) -> Before:
    """At rest, off for long, unless the state says otherwise; a measured output counts within its limits."""
    state = horizon.state(unit.resource_id)
    hours = np.inf if state.hours_in_state_h is None else state.hours_in_state_h
    output = min(max(-(state.power_kw or 0.0), unit.power_min_kw), unit.power_max_kw) if state.on else 0.0
    return Before(output, bool(state.on), hours)


def check_generator(unit: Generator, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,) of a generator (never positive): it is off, or between its limits."""
    found = DeviceCheck()
    output = -power_kw
    margin = tolerance(unit.power_max_kw)
    found.at_most("power_kw", power_kw, 0.0)
    found.at_most("power_max_kw", output, unit.power_max_kw)
    runs = output > margin
    found.at_least("power_min_kw", np.where(runs, output, np.inf), unit.power_min_kw)
    was = before(unit, horizon)
    running, cost = _cheapest_commitment(unit, runs, was, horizon)
    _check_ramps(unit, output, running, was, horizon, found)
    _check_times(unit, running, was, horizon, found)
    found.own_cost = unit.cost_per_kwh * float(horizon.hours @ np.maximum(output, 0)) + cost
    return found


def _cheapest_commitment(
    unit: Generator, runs: NDArray[np.bool_], was: Before, horizon: Horizon
) -> tuple[NDArray[np.bool_], float]:
    """When it is committed, and the start and no-load cost of that.

    A unit whose minimum cannot be told from 0 kW may idle there while running: then the times up and down decide, else
    the cost.
    """
    if unit.power_min_kw > tolerance(unit.power_max_kw):
        starts = int((runs & ~np.concatenate([[was.on], runs[:-1]])).sum())
        return runs, unit.start_cost * starts + unit.no_load_cost_per_h * float(horizon.hours @ runs)
    return _fill_idle(unit, runs, was, horizon)


def _fill_idle(
    unit: Generator, runs: NDArray[np.bool_], was: Before, horizon: Horizon
) -> tuple[NDArray[np.bool_], float]:
    """Least-cost commitment that keeps the times up and down, where 0 kW may mean running or not.

    Dynamic programming over (on, since which edge); if none keeps the times, the one that follows the output.
    """
    count = len(runs)
    first_up = max(0.0, unit.minimum_up_h - was.hours) if was.on else 0.0
    first_down = max(0.0, unit.minimum_down_h - was.hours) if not was.on else 0.0
    # state: (on, hour from which on it may change) -> (cost, commitment so far)
    table: dict[tuple[bool, float], tuple[float, tuple[bool, ...]]] = {(was.on, max(first_up, first_down)): (0.0, ())}
    for t in range(count):
        reached: dict[tuple[bool, float], tuple[float, tuple[bool, ...]]] = {}
        begin = float(horizon.tau_h[t])
        for (on, free_h), (cost, path) in table.items():
            for wanted in (True,) if runs[t] else (False, True):
                if wanted != on and begin < free_h - _EPS_H:
                    continue
                free = free_h if wanted == on else begin + (unit.minimum_up_h if wanted else unit.minimum_down_h)
                free = free if free > begin else 0.0
                paid = cost + unit.start_cost * (wanted and not on)
                paid += unit.no_load_cost_per_h * float(horizon.hours[t]) * wanted
                if paid < reached.get((wanted, free), (np.inf, ()))[0]:
                    reached[wanted, free] = (paid, (*path, wanted))
        table = reached
    if not table:
        starts = int((runs & ~np.concatenate([[was.on], runs[:-1]])).sum())
        return runs, unit.start_cost * starts + unit.no_load_cost_per_h * float(horizon.hours @ runs)
    cost, path = min(table.values())
    return np.array(path, dtype=np.bool_), cost


def _check_ramps(
    unit: Generator,
    output: FloatArray,
    running: NDArray[np.bool_],
    was: Before,
    horizon: Horizon,
    found: DeviceCheck,
) -> None:
    """Up and down by ramp Δ while running; a start or stop by max(G_min, ramp Δ)."""
    earlier = np.concatenate([[was.output_kw], output[:-1]])
    ran = np.concatenate([[was.on], running[:-1]])
    step = unit.ramp_kw_per_h * horizon.hours
    edge = np.maximum(unit.power_min_kw, step)
    slack = tolerance(unit.power_max_kw)
    found.at_most("ramp_kw_per_h", np.where(running & ran, output - earlier, -np.inf), step, slack)
    found.at_most("ramp_kw_per_h", np.where(running & ran, earlier - output, -np.inf), step, slack)
    found.at_most("start_ramp", np.where(running & ~ran, output, -np.inf), edge, slack)
    found.at_most("stop_ramp", np.where(~running & ran, earlier, -np.inf), edge, slack)


def _check_times(
    unit: Generator, running: NDArray[np.bool_], was: Before, horizon: Horizon, found: DeviceCheck
) -> None:
    """Every run lasts its minimum, and so does every standstill, except what the horizon's end cuts off."""
    since, state = -was.hours, was.on
    for t, here in enumerate(running):
        if here == state:
            continue
        lasted = float(horizon.tau_h[t]) - since
        least = unit.minimum_up_h if state else unit.minimum_down_h
        if lasted < least - _EPS_H:
            found.note("minimum_up_h" if state else "minimum_down_h", t, least, lasted)
        since, state = float(horizon.tau_h[t]), bool(here)


def check_pv(panel: Pv, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,): it feeds in no more than the sun gives, and draws nothing."""
    found = DeviceCheck()
    available = horizon.profiles[panel.available_profile] * panel.available_scale_kw
    found.at_most("power_kw", power_kw, 0.0)
    found.at_most("available_profile", -power_kw, available)
    found.own_cost = panel.curtail_cost_per_kwh * float(horizon.hours @ (available + power_kw))
    return found
