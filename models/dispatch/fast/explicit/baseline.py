"""The baseline in plain arrays: what every resource would do at its tariff alone (``reference/baseline.py``)."""

import numpy as np

from models.dispatch.fast.explicit.draft import BoolArray, ExplicitModel
from models.dispatch.fast.explicit.exclusive import at_net_power, doing_both
from models.dispatch.fast.explicit.model import explicit_model, tariff_prices
from models.dispatch.fast.explicit.program import ArrayProgram, arrays_of
from models.dispatch.fast.explicit.table import kind_table
from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_clock import look
from models.intervals import FloatArray
from models.resources import ResourceKind

PROFILED = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)
"""Kinds whose baseline is profile x scale."""
SCALE = 1e4
"""Costs are multiplied by this, so that the tie-breaking term (1e-6 per kWh and hour) stands clear of tolerances."""
CHEAPEST_CNY = 1e-8
"""A whole baseline may cost so much more than the best: what breaks a tie is often worth less than 1e-6."""
WHOLE = 1e-6
"""An integer within this of a whole number is whole."""
SHARE_OF_DEADLINE = 0.2
"""One resource by itself may take this part of the time that is left."""


def explicit_baseline(problem: DispatchProblem, *, until: float) -> tuple[FloatArray, float]:
    """(b of an *admitted* problem's fleet, (R, T), kW; what it costs, CNY).

    One relaxed program answers for all whose integers come out whole; each of the others is solved by itself.
    """
    names = problem.fleet.resource_ids
    place = {name: i for i, name in enumerate(names)}
    baseline = np.zeros((len(names), len(problem.grid)))
    profiled: set[str] = set()
    for kind in PROFILED:
        table = kind_table(problem, kind, place)
        if table is not None:
            baseline[table.at] = table.load_kw()
            profiled.update(table["resource_id"].tolist())
    tariff = np.array([problem.tariffs[problem.attributes[name].tariff_id] for name in names])
    cost = float((baseline * tariff.reshape(baseline.shape) * problem.grid.hours).sum())
    free = [name for name in names if name not in profiled]
    if not free:
        return baseline, cost
    model = explicit_model(problem, free)
    x = _cheapest(problem, model, until=until, whole=False)
    fractional = model.is_integer & (np.abs(x - np.round(x)) > WHOLE)
    alone = {model.resource_ids[i] for i in np.unique(model.owner[fractional])} | doing_both(problem, model, x)
    easy = np.array([name not in alone for name in model.resource_ids])
    cost += _read(problem, model, x, easy, place, baseline)
    for name in sorted(alone):
        own = explicit_model(problem, [name], never_both=[name])
        now = look("own baseline")
        whole = _cheapest(problem, own, until=now + SHARE_OF_DEADLINE * (until - now), whole=True)
        cost += _read(problem, own, whole, np.ones(1, dtype=np.bool_), place, baseline)
    return baseline, cost


def _cheapest(problem: DispatchProblem, model: ExplicitModel, *, until: float, whole: bool) -> FloatArray:
    cost, _ = model.baseline_cost_at(tariff_prices(problem, model))
    program = ArrayProgram(arrays_of(model, cost * SCALE))
    found = program.solve(until=until, whole=whole, absolute_gap=CHEAPEST_CNY * SCALE)
    return program.solve_held(found.x, until=until).x if whole else found.x


def _read(
    problem: DispatchProblem,
    model: ExplicitModel,
    x: FloatArray,
    wanted: BoolArray,
    place: dict[str, int],
    baseline: FloatArray,
) -> float:
    """Write the power of the wanted resources into ``baseline``; returns what they cost at their tariffs."""
    x = at_net_power(model, x)
    power = model.power_kw(x)
    rows = np.array([place[name] for name in model.resource_ids])
    baseline[rows[wanted]] = power[wanted]
    energy = (power * tariff_prices(problem, model) * model.hours)[wanted].sum()
    return float(energy + (model.cost * x)[wanted[model.owner]].sum())
