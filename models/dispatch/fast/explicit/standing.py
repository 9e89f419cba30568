"""Running at 0 kW: what branch and bound left running or in a mode without need, within its gap.

A generator whose minimum is 0 may run and give nothing, a pump or turbine without a minimum may stand in its mode.
A schedule says power only, and costs what the cheapest choice behind it costs (``reference/modes.py``): the objective
must not count more.
"""

import numpy as np

from models.dispatch.fast.explicit.draft import ExplicitModel
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.modes import mode_cost, mode_of, running_cost
from models.intervals import FloatArray
from models.resources import ResourceKind

RUNNING_KW = 1e-6
"""Who gives or takes less stands."""
_OPEN = ("is_on", "starts", "mode_changes")
"""Columns that say whether a unit runs, or that its mode changes."""


def needless_cny(problem: DispatchProblem, model: ExplicitModel, x: FloatArray) -> float:
    """What the units of a whole solution ``x`` (n,) pay beyond what their net power needs, CNY."""
    place = {name: i for i, name in enumerate(model.resource_ids)}
    named = [model.places[name].ravel() for name in _OPEN if name in model.places]
    chosen = np.concatenate([*named, np.empty(0, dtype=np.int64)])
    paid = np.bincount(model.owner[chosen], weights=(model.cost * x)[chosen], minlength=len(place))
    power = model.power_kw(x)
    found = 0.0
    for unit in problem.fleet.rows(ResourceKind.GENERATOR):
        if unit.power_min_kw > 0 or unit.resource_id not in place:
            continue
        i, state = place[unit.resource_id], problem.states.get(unit.resource_id, ResourceState())
        been_h = np.inf if state.hours_in_state_h is None else state.hours_in_state_h
        found += max(0.0, paid[i] - running_cost(unit, -power[i] > RUNNING_KW, bool(state.on), been_h, problem.grid))
    for unit in problem.fleet.rows(ResourceKind.STORAGE):
        if unit.mode_change_cost == 0 or min(unit.charge_min_kw, unit.discharge_min_kw) > 0:
            continue
        if unit.resource_id in place:
            i, state = place[unit.resource_id], problem.states.get(unit.resource_id, ResourceState())
            before = mode_of(np.array([state.power_kw or 0.0]), RUNNING_KW)
            found += max(0.0, paid[i] - mode_cost(unit, mode_of(power[i], RUNNING_KW), int(before[0])))
    return found
