"""What a schedule costs a device in every interval, and how far it could move there: from its net power alone.

The sum over the intervals leaves out what belongs to none (changing the mode of a pumped-hydro machine, virtual slots
after the horizon); the checker's total has it all.
"""

from typing import Any

import numpy as np

from models.dispatch.check.charging import Stay
from models.dispatch.check.devices import Device
from models.dispatch.check.generation import before
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.loads import profile_kw, rebound_of_the_past, rebound_weights
from models.dispatch.check.shifting import preferred_kw, window_share
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.resources import CurtailableLoad, InterruptibleLoad, ResourceKind

PROFILED = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)
"""Kinds whose baseline is profile x scale and costs them nothing."""
RUNNING_KW = 1e-6


def reduction_kw(load: CurtailableLoad | InterruptibleLoad, power_kw: FloatArray, horizon: Horizon) -> FloatArray:
    """r_t ≥ 0, (T,): what a load gives up, with what returns of earlier reductions taken out."""
    cut = profile_kw(load, horizon) + rebound_of_the_past(load, horizon) - power_kw
    weights = rebound_weights(load, horizon)
    if weights is not None:
        for t in range(len(cut)):
            cut[t] += weights[t, :t] @ cut[:t]
    return np.asarray(np.maximum(cut, 0.0))


def cost_by_interval_cny(device: Device, power_kw: FloatArray, horizon: Horizon) -> FloatArray:
    """Own cost of a schedule in every interval, (T,), CNY."""
    row, hours = device.row, horizon.hours
    if device.kind is ResourceKind.STORAGE:
        return np.asarray(row.wear_cost_per_kwh * hours * np.abs(power_kw))
    if device.kind is ResourceKind.EV_SESSION:
        return np.asarray(_wear_per_kwh(device.stays, len(power_kw)) * hours * np.abs(power_kw))
    if device.kind in (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD):
        return np.asarray(row.cost_per_kwh * hours * reduction_kw(row, power_kw, horizon))
    if device.kind is ResourceKind.THERMAL_LOAD:
        less = np.maximum(profile_kw(row, horizon) - power_kw, 0.0)
        return np.asarray(row.discomfort_cost_per_kwh * hours * less)
    if device.kind is ResourceKind.SHIFTABLE_LOAD:
        wanted = preferred_kw(row, horizon)
        moved = np.zeros_like(hours) if wanted is None else np.abs(power_kw - wanted)
        return np.asarray(0.5 * row.cost_per_kwh * hours * moved)
    if device.kind is ResourceKind.PV:
        return np.asarray(row.curtail_cost_per_kwh * hours * (_available_kw(row, horizon) + power_kw))
    return _generation_cny(row, power_kw, horizon)


def _wear_per_kwh(stays: list[Stay], count: int) -> FloatArray:
    wear = np.zeros(count)
    for stay in stays:
        wear[stay.share > 0] = stay.wear_cost_per_kwh
    return wear


def _available_kw(panel: Any, horizon: Horizon) -> FloatArray:
    return np.asarray(horizon.profiles[panel.available_profile] * panel.available_scale_kw)


def _generation_cny(unit: Any, power_kw: FloatArray, horizon: Horizon) -> FloatArray:
    runs = -power_kw > RUNNING_KW
    starts = runs & ~np.concatenate([[before(unit, horizon).on], runs[:-1]])
    cost = horizon.hours * (unit.cost_per_kwh * np.maximum(-power_kw, 0.0) + unit.no_load_cost_per_h * runs)
    return np.asarray(cost + unit.start_cost * starts)


def total_cny(device: Device, power_kw: FloatArray, late_price: float, horizon: Horizon) -> float:
    """Own cost of a schedule as the checker computes it, what is drawn after the horizon included, CNY."""
    check = device.check(power_kw, horizon)
    return check.own_cost + late_price * check.late_kwh


def reach_kw(device: Device, horizon: Horizon) -> tuple[FloatArray, FloatArray]:
    """Least and most net power in every interval by itself, (T,) each; energy, durations and calls left aside."""
    row, ones = device.row, np.ones_like(horizon.hours)
    if device.kind is ResourceKind.STORAGE:
        return -row.discharge_limit_kw * ones, row.charge_limit_kw * ones
    if device.kind is ResourceKind.EV_SESSION:
        low, high = 0.0 * ones, 0.0 * ones
        for stay in device.stays:
            low = low - stay.session.discharge_limit_kw * stay.share
            high = high + stay.session.charge_limit_kw * stay.share
        return low, high
    if device.kind is ResourceKind.SHIFTABLE_LOAD:
        share = window_share(row, horizon)
        least = 0.0 if row.run_profile is not None else row.power_min_kw
        return least * share, row.power_max_kw * share
    if device.kind is ResourceKind.GENERATOR:
        return -row.power_max_kw * ones, 0.0 * ones
    if device.kind is ResourceKind.PV:
        return -_available_kw(row, horizon), 0.0 * ones
    base = profile_kw(row, horizon)
    if device.kind is ResourceKind.THERMAL_LOAD:
        return np.maximum(base - row.decrease_limit_kw, 0.0), base + row.increase_limit_kw
    if device.kind is ResourceKind.CURTAILABLE_LOAD:
        return (1.0 - row.curtail_share) * base, base
    return np.maximum(base - row.block_kw, 0.0), base


def unsteady_cny(problem: DispatchProblem, index: int, power_kw: FloatArray) -> FloatArray:
    """What switching now and straying from the day plan cost a re-plan in every interval, (T,), CNY.

    ``index``: the resource's place in ``fleet.resource_ids``.
    """
    terms, penalties = problem.real_time, problem.penalties
    cost = np.zeros(len(power_kw))
    if terms is None:
        return cost
    strayed = np.abs(power_kw - terms.plan_kw[index]) * terms.stray_applies * problem.grid.hours
    cost += penalties.stray_cost_per_kwh * np.nan_to_num(strayed)
    cost[0] += penalties.switch_cost_per_kw * np.nan_to_num(np.abs(power_kw[0] - terms.now_kw[index]))
    return cost
