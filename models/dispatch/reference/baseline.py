"""The baseline: what every resource would do at its tariff alone, blind to all events and to each other."""

import numpy as np

from models.dispatch.problem import TIE_BREAK_PER_KWH_H, DispatchProblem
from models.dispatch.reference.calls import load_kw
from models.dispatch.reference.exclusive import doing_both
from models.dispatch.reference.own import OwnPrograms
from models.dispatch.reference.structure import Entry
from models.intervals import FloatArray
from models.resources import ResourceKind

WHOLE = 1e-7
"""A binary within this of 0 or 1 is whole."""
WITHIN_CNY = 1e-8
"""A whole baseline may cost so much more than the best: what breaks a tie is often worth less than 1e-6."""
PROFILED = frozenset({ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD})
"""Kinds whose baseline is profile x scale."""
SCALE = 1e4
"""Costs are multiplied by this, so that the tie-breaking term (1e-6 per kWh and hour) stands clear of tolerances."""


def make_baseline(own: OwnPrograms, problem: DispatchProblem, entries: list[Entry], *, until: float) -> FloatArray:
    """B of every entry, (entries, T), kW: minimise Σ Δ (price + 1e-6 τ) p + own cost, with no coupling row.

    The same arrays as the city's, coupling rows left out: what is left falls apart into resources.  One relaxed
    program answers for all whose binaries come out whole; each of the others is solved by itself.
    """
    city, count = own.city, len(problem.grid)
    baseline = np.zeros((len(entries), count))
    numbers = city.numbers(problem, entries, baseline)
    cost = numbers.cost.copy()
    cost[city.net] += (TIE_BREAK_PER_KWH_H * problem.grid.tau_h * problem.grid.hours)[None, :]
    for places in city.columns:
        for name, sign in (("in_after_kwh", 1.0), ("out_after_kwh", -1.0)):
            cost[places.get(name, [])] += sign * TIE_BREAK_PER_KWH_H * problem.grid.offsets_h[-1]
    cost *= SCALE
    easy = frozenset(i for i, entry in enumerate(entries) if entry.kind not in PROFILED)
    x, _ = own.solve(easy, numbers, cost, awake=False, whole=False, until=until)
    broken = np.abs(x - np.round(x)) > WHOLE
    split = set(np.unique(city.owner[broken & city.integer & ~city.lazy_column]).tolist())
    for i in easy:
        if i in split or doing_both(city, entries[i], i, x, problem):
            alone, _ = own.solve(
                frozenset({i}), numbers, cost, awake=True, whole=True, until=until, within=WITHIN_CNY * SCALE
            )
            mine = city.owner == i
            x[mine] = alone[mine]
    for i, entry in enumerate(entries):
        baseline[i] = load_kw(entry.row, problem) if entry.kind in PROFILED else x[city.net[i]]
    return baseline
