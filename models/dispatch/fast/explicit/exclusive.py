"""Charging and discharging at once in plain arrays: who does both and gains by it (S6-S8, E10-E13 are lazy)."""

import numpy as np

from models.dispatch.fast.explicit.draft import ExplicitModel
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.resources import ResourceKind

TOLERANCE = 1e-7


def doing_both(problem: DispatchProblem, model: ExplicitModel, x: FloatArray) -> set[str]:
    """Ids of the resources that charge and discharge at once, and whose net power alone would break a limit.

    Where a battery's net power alone keeps all limits, doing both only wears it: the schedule stands as net power.
    """
    both = (x[model.first] > TOLERANCE) & (x[model.second] > TOLERANCE)
    owners = np.unique(model.owner[model.first[both]])
    if not owners.size:
        return set()
    names = {model.resource_ids[i] for i in owners.tolist()}
    table = problem.fleet.tables.get(ResourceKind.STORAGE)
    if table is None:
        return names
    power, place = model.power_kw(x), {model.resource_ids[i]: i for i in owners.tolist()}
    for row, name in enumerate(table.columns["resource_id"].tolist()):
        if name in names and not _overfills(problem, name, row, power[place[name]]):
            names.discard(name)
    return names


def _overfills(problem: DispatchProblem, name: str, row: int, power_kw: FloatArray) -> bool:
    columns = problem.fleet.tables[ResourceKind.STORAGE].columns
    state = problem.states.get(name)
    measured = None if state is None else state.energy_kwh
    start = float(columns["energy_start_kwh"][row]) if measured is None else measured
    into, out = float(columns["charge_efficiency"][row]), float(columns["discharge_efficiency"][row])
    stored = np.where(power_kw > 0, power_kw * into, power_kw / out) * problem.grid.hours
    most = float(columns["energy_max_kwh"][row])
    return bool((start + np.cumsum(stored) > most + TOLERANCE * max(1.0, most)).any())


def at_net_power(model: ExplicitModel, x: FloatArray) -> FloatArray:
    """The solution with what is charged and discharged at once left away on both sides; net power stays."""
    cleaned = x.copy()
    both = np.minimum(np.maximum(x[model.first], 0.0), np.maximum(x[model.second], 0.0))
    cleaned[model.first] -= both
    cleaned[model.second] -= both
    return cleaned
