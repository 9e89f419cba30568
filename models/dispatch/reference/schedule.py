"""From power to energy and cost: what a schedule means, computed from the power of each resource alone."""

from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.calls import load_kw
from models.dispatch.reference.charging import hours_after, stay_start_kwh, stay_target_kwh, stay_wear
from models.dispatch.reference.generation import available_kw
from models.dispatch.reference.given import state_of
from models.dispatch.reference.modes import mode_cost, mode_of, running_cost
from models.dispatch.reference.shifting import preferred_kw, run_to_do
from models.dispatch.reference.storage import end_energy_kwh, start_kwh
from models.dispatch.reference.structure import Entry
from models.dispatch.reference.thermal import store_start_kwh, store_steps
from models.intervals import FloatArray
from models.resources import EvSession, ResourceKind

RUNNING_KW = 1e-6
"""A unit that gives less is off."""


def energy_kwh(entry: Entry, power_kw: FloatArray, problem: DispatchProblem) -> FloatArray:
    """Level at the end of every interval (storage, V2G), delivered since arrival (V1G), comfort store (thermal), (T,).

    NaN for the other kinds and where no car is plugged in.
    """
    if entry.kind is ResourceKind.STORAGE:
        level = end_energy_kwh(entry.row, power_kw, problem.grid.hours, start_kwh(entry.row, problem))
        return np.asarray(level)
    if entry.kind is ResourceKind.THERMAL_LOAD:
        return _store_kwh(entry, power_kw, problem)
    if entry.kind is ResourceKind.EV_SESSION:
        return _stays(entry.rows, power_kw, problem)[0]
    return np.full(len(power_kw), np.nan)


def _store_kwh(entry: Entry, power_kw: FloatArray, problem: DispatchProblem) -> FloatArray:
    kept, gain = store_steps(entry.row, problem.grid.hours)
    change = power_kw - load_kw(entry.row, problem)
    level, levels = store_start_kwh(entry.row, problem), np.empty(len(power_kw))
    for t in range(len(power_kw)):
        level = kept[t] * level + gain[t] * change[t]
        levels[t] = level
    return levels


def _stays(
    rows: list[EvSession], power_kw: FloatArray, problem: DispatchProblem
) -> tuple[FloatArray, list[float], list[float]]:
    """(energy shown (T,), kWh through each battery at the grid's side, energy of each stay at the horizon's end).

    In an interval in which one car leaves and the next one comes, the one that leaves takes what it still lacks.
    """
    grid, count = problem.grid, len(power_kw)
    shares = [grid.overlap_h(row.arrival, row.departure) / grid.hours for row in rows]
    level = [stay_start_kwh(row, problem) for row in rows]
    moved = [0.0 for _ in rows]
    shown = np.full(count, np.nan)
    for t in range(count):
        left = float(power_kw[t])
        here = [k for k in range(len(rows)) if shares[k][t] > 0]
        for k in here:
            row = rows[k]
            power = left
            if k != here[-1]:
                lacking = (stay_target_kwh(row) - level[k]) / grid.hours[t]
                power = lacking / row.charge_efficiency if lacking > 0 else lacking * row.discharge_efficiency
            left -= power
            factor = row.charge_efficiency if power > 0 else 1 / row.discharge_efficiency
            level[k] += grid.hours[t] * power * factor
            moved[k] += grid.hours[t] * abs(power)
            shown[t] = level[k]
    return shown, moved, level


def own_cost_cny(entry: Entry, power_kw: FloatArray, problem: DispatchProblem) -> float:
    """What a schedule costs a resource beyond its tariff, for kinds whose baseline is a schedule of their own.

    Loads with a profile are at their baseline by definition, and cost nothing there.
    """
    hours, row = problem.grid.hours, entry.row
    if entry.kind is ResourceKind.STORAGE:
        return float(row.wear_cost_per_kwh * np.abs(power_kw) @ hours) + _mode_cost(row, power_kw, problem)
    if entry.kind is ResourceKind.EV_SESSION:
        return _stay_cost(entry.rows, power_kw, problem)
    if entry.kind is ResourceKind.PV:
        return float(row.curtail_cost_per_kwh * np.maximum(available_kw(row, problem) + power_kw, 0.0) @ hours)
    if entry.kind is ResourceKind.GENERATOR:
        return _generator_cost(row, power_kw, problem)
    if entry.kind is ResourceKind.SHIFTABLE_LOAD:
        wanted = preferred_kw(row, problem) if not row.run_profile or run_to_do(row, problem) else None
        return 0.0 if wanted is None else float(0.5 * row.cost_per_kwh * np.abs(power_kw - wanted) @ hours)
    return 0.0


def _mode_cost(row: Any, power_kw: FloatArray, problem: DispatchProblem) -> float:
    if row.mode_change_cost == 0:
        return 0.0
    before = mode_of(np.array([state_of(problem, row.resource_id).power_kw or 0.0]), RUNNING_KW)
    return mode_cost(row, mode_of(power_kw, RUNNING_KW), int(before[0]))


def _generator_cost(row: Any, power_kw: FloatArray, problem: DispatchProblem) -> float:
    running = _running_cost(row, power_kw, problem)
    return float(row.cost_per_kwh * np.maximum(-power_kw, 0.0) @ problem.grid.hours) + running


def _running_cost(row: Any, power_kw: FloatArray, problem: DispatchProblem) -> float:
    state = state_of(problem, row.resource_id)
    been_h = np.inf if state.hours_in_state_h is None else state.hours_in_state_h
    return running_cost(row, -power_kw > RUNNING_KW, bool(state.on), been_h, problem.grid)


def standing_cost_cny(entry: Entry, power_kw: FloatArray, problem: DispatchProblem) -> tuple[tuple[str, ...], float]:
    """(the variables that say whether a unit runs or in which mode it stands, what they cost at their cheapest).

    Only where a minimum of 0 kW leaves that open: branch and bound stops within a gap, and may leave a unit running at
    0 kW without need.  A schedule says power only, and costs what the cheapest choice behind it costs.
    """
    row = entry.row
    if entry.kind is ResourceKind.GENERATOR and row.power_min_kw == 0:
        return ("is_on", "starts"), _running_cost(row, power_kw, problem)
    open_mode = entry.kind is ResourceKind.STORAGE and min(row.charge_min_kw, row.discharge_min_kw) == 0
    if open_mode and row.mode_change_cost > 0:
        return ("mode_changes",), _mode_cost(row, power_kw, problem)
    return (), 0.0


def _stay_cost(rows: list[EvSession], power_kw: FloatArray, problem: DispatchProblem) -> float:
    """Wear of the battery, and the virtual slot after the horizon at the tariff's mean."""
    hours = problem.grid.hours
    price = float(problem.tariffs[rows[0].tariff_id] @ hours / hours.sum())
    _, moved, level = _stays(rows, power_kw, problem)
    cost = 0.0
    for k, row in enumerate(rows):
        if row.departure <= problem.grid.start:
            continue
        wear = stay_wear(row)
        cost += wear * moved[k]
        if hours_after(row, problem) > 0:
            lacking = stay_target_kwh(row) - level[k]
            after = lacking / row.charge_efficiency if lacking > 0 else lacking * row.discharge_efficiency
            cost += price * after + wear * abs(after)
    return cost
