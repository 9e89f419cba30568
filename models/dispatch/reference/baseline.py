"""The baseline: what every resource would do at its tariff alone, blind to all events and to each other."""

import time

import highspy
import numpy as np
from scipy import sparse

from models.dispatch.problem import TIE_BREAK_PER_KWH_H, DispatchProblem
from models.dispatch.reference.calls import load_kw
from models.dispatch.reference.compiled import CITY, CompiledCity, Numbers
from models.dispatch.reference.exclusive import doing_both
from models.dispatch.reference.program import quiet_highs
from models.dispatch.reference.structure import Entry
from models.errors import DeadlineError, SolverError
from models.intervals import FloatArray
from models.resources import ResourceKind

PROFILED = frozenset(
    {ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD}
)
"""Kinds whose baseline is profile x scale."""
SCALE = 1e4
"""Costs are multiplied by this, so that the tie-breaking term (1e-6 per kWh and hour) stands clear of tolerances."""


def make_baseline(
    city: CompiledCity, problem: DispatchProblem, entries: list[Entry], *, until: float
) -> FloatArray:
    """B of every entry, (entries, T), kW: minimise Σ Δ (price + 1e-6 τ) p + own cost, with no coupling row.

    The same arrays as the city's, coupling rows left out; what is left falls apart into resources.  Those without
    binaries are solved in one linear program, each of the others by itself.
    """
    count = len(problem.grid)
    baseline = np.zeros((len(entries), count))
    numbers = city.numbers(problem, entries, baseline)
    cost = numbers.cost.copy()
    cost[city.net] += (TIE_BREAK_PER_KWH_H * problem.grid.tau_h * problem.grid.hours)[None, :]
    for places in city.columns:
        for name, sign in (("in_after_kwh", 1.0), ("out_after_kwh", -1.0)):
            cost[places.get(name, [])] += sign * TIE_BREAK_PER_KWH_H * problem.grid.offsets_h[-1]
    numbers.cost = cost * SCALE
    whole = {int(i) for i in np.unique(city.owner[city.integer & ~city.lazy_column])}
    easy = [i for i, entry in enumerate(entries) if entry.kind not in PROFILED and i not in whole]
    x = _solve_some(city, numbers, easy, awake=False, until=until)
    waking = [i for i in easy if doing_both(city, entries[i], i, x, problem)]
    hard = [
        i for i, entry in enumerate(entries) if entry.kind not in PROFILED and (i in whole or i in waking)
    ]
    for i in hard:
        own = _solve_some(city, numbers, [i], awake=True, until=until)
        mine = city.owner == i
        x[mine] = own[mine]
    for i, entry in enumerate(entries):
        baseline[i] = load_kw(entry.row, problem) if entry.kind in PROFILED else x[city.net[i]]
    return baseline


def _solve_some(
    city: CompiledCity, numbers: Numbers, chosen: list[int], *, awake: bool, until: float
) -> FloatArray:
    """Columns of the chosen entries at their cheapest, every coupling row left out; zero elsewhere."""
    x = np.zeros(city.a.shape[1])
    if not chosen:
        return x
    keep_row = np.isin(city.row_owner, chosen) & (city.row_owner != CITY) & (awake | ~city.lazy_row)
    rows = city.kept_rows[keep_row[city.kept_rows]]
    columns = np.flatnonzero(np.isin(city.owner, chosen) & (awake | ~city.lazy_column))
    matrix = sparse.csr_matrix((numbers.values, city.a.indices, city.a.indptr), shape=city.a.shape)[rows][
        :, columns
    ]
    low, high = numbers.low[columns], numbers.high[columns]
    whole = city.integer[columns]
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(columns), len(rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = numbers.cost[columns], low, high
    lp.row_lower_, lp.row_upper_ = numbers.row_low[rows], numbers.row_high[rows]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    if whole.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in whole]
    highs = quiet_highs()
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.setOptionValue("mip_abs_gap", 1e-6)
    found = _run(highs, lp, until)
    if whole.any():
        low, high = low.copy(), high.copy()
        low[whole] = high[whole] = np.round(found[whole])
        lp.col_lower_, lp.col_upper_, lp.integrality_ = low, high, []
        found = _run(highs, lp, until)
    x[columns] = found
    return x


def _run(highs: highspy.Highs, lp: highspy.HighsLp, until: float) -> FloatArray:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineError(0.0)
    highs.setOptionValue("time_limit", highs.getRunTime() + left)
    highs.passModel(lp)
    highs.run()
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kTimeLimit:
        raise DeadlineError(left)
    if status != highspy.HighsModelStatus.kOptimal:
        raise SolverError(highs.modelStatusToString(status), "in the baseline")
    return np.asarray(highs.getSolution().col_value)
