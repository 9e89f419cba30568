"""Plain arrays in HiGHS: passed once, solved relaxed, whole, or with integers held; new costs without a new model."""

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from models.dispatch.fast.explicit.draft import BoolArray, ExplicitModel
from models.dispatch.highs_runs import run
from models.dispatch.reference.highs import quiet_highs
from models.dispatch.solve_clock import look
from models.errors import SolverError
from models.intervals import FloatArray

WHOLE = 1e-7
"""An integer column within this of a whole number is whole."""
_OPTIMAL = frozenset({highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kModelEmpty})


@dataclass(frozen=True)
class Arrays:
    """Minimise cost·x, row_low ≤ matrix x ≤ row_high, low ≤ x ≤ high, some x whole: n columns, m rows."""

    cost: FloatArray
    low: FloatArray
    high: FloatArray
    is_integer: BoolArray
    matrix: sparse.csr_matrix
    row_low: FloatArray
    row_high: FloatArray


@dataclass(frozen=True)
class ArraySolution:
    """``x`` (n,); ``row_dual`` (m,), zero after branch and bound; ``status`` optimal or feasible (time was up)."""

    x: FloatArray
    row_dual: FloatArray
    objective: float
    bound: float
    status: str
    nodes: int


class ArrayProgram:
    """HiGHS holding one set of arrays; one thread, feasibility 1e-9."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._low, self._high = arrays.low, arrays.high
        self._columns = np.arange(len(arrays.cost), dtype=np.int32)
        self._is_whole = False
        self._highs: Any = quiet_highs()  # highspy declares only a part of itself
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(arrays.cost), len(arrays.row_low)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = arrays.cost, arrays.low, arrays.high
        lp.row_lower_, lp.row_upper_ = arrays.row_low, arrays.row_high
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = arrays.matrix.indptr, arrays.matrix.indices
        lp.a_matrix_.value_ = arrays.matrix.data
        self._highs.passModel(lp)

    def price(self, cost: FloatArray) -> None:
        """New costs from now on."""
        self._highs.changeColsCost(len(cost), self._columns, cost)

    def solve(
        self,
        *,
        until: float,
        whole: bool,
        relative_gap: float = 0.0,
        absolute_gap: float = 1e-6,
        offset: float = 0.0,
        start: FloatArray | None = None,
    ) -> ArraySolution:
        """Minimise cost·x + ``offset``; ``until`` is a moment of ``look``, ``start`` a whole solution.  What
        branch and bound has found when time is up is told in its integers alone.

        Raises ``DeadlineError`` if nothing was found in time, ``SolverError`` for any status but optimal or feasible.
        """
        whole = whole and bool(self.arrays.is_integer.any())
        self._set_whole(whole)
        self._bound(self.arrays.low, self.arrays.high)
        highs = self._highs
        highs.setOptionValue("mip_rel_gap", relative_gap)
        highs.setOptionValue("mip_abs_gap", absolute_gap)
        highs.changeObjectiveOffset(offset)
        if start is not None and whole:
            highs.setSolution(len(start), self._columns, start)
        return self._run(until)

    def solve_held(self, x: FloatArray, *, until: float, offset: float = 0.0) -> ArraySolution:
        """The linear program with every integer held at its rounded value in ``x``: a clean schedule and its duals."""
        whole = self.arrays.is_integer
        low, high = self.arrays.low.copy(), self.arrays.high.copy()
        low[whole] = high[whole] = np.round(x[whole])
        self._set_whole(False)
        self._bound(low, high)
        self._highs.changeObjectiveOffset(offset)
        return self._run(until)

    def fractional(self, x: FloatArray) -> BoolArray:
        """Integer columns that are not whole in ``x``, (n,)."""
        return self.arrays.is_integer & (np.abs(x - np.round(x)) > WHOLE)

    # ---- HiGHS

    def _set_whole(self, whole: bool) -> None:
        if whole != self._is_whole:
            kinds = self.arrays.is_integer.astype(np.uint8) * np.uint8(whole)
            self._highs.changeColsIntegrality(len(kinds), self._columns, kinds)
            self._is_whole = whole

    def _bound(self, low: FloatArray, high: FloatArray) -> None:
        if low is not self._low or high is not self._high:
            self._highs.changeColsBounds(len(low), self._columns, low, high)
            self._low, self._high = low, high

    def _run(self, until: float) -> ArraySolution:
        highs, nothing = self._highs, np.zeros(len(self.arrays.row_low))
        whole = np.flatnonzero(self.arrays.is_integer) if self._is_whole else np.empty(0, dtype=np.int64)
        found = run(highs, "arrays", until - look("arrays"), columns=len(self._columns), whole=whole, again=True)
        if found is not None:
            status = "optimal" if found.is_optimal else "feasible"
            return ArraySolution(found.x, nothing, found.objective, found.bound, status, found.nodes)
        status, info = highs.getModelStatus(), highs.getInfo()
        if status not in _OPTIMAL:
            what = f"{len(self.arrays.cost)} columns, {len(self.arrays.row_low)} rows"
            raise SolverError(highs.modelStatusToString(status), what)
        solution, dual = highs.getSolution(), nothing
        if solution.dual_valid and not self._is_whole:
            dual = np.asarray(solution.row_dual, dtype=np.float64)
        objective = float(info.objective_function_value)
        bound = float(info.mip_dual_bound) if self._is_whole else objective
        x = np.asarray(solution.col_value, dtype=np.float64)
        return ArraySolution(x, dual, objective, bound, "optimal", int(info.mip_node_count))


@dataclass(frozen=True)
class UnitSchedule:
    """What some units do at given prices: ``power_kw`` (R, T); ``cost_cny`` at those prices, and its lower bound.

    ``own_cost_cny``: what of it is not power at a price: wear, starts, energy after the horizon.
    """

    power_kw: FloatArray
    own_cost_cny: float
    cost_cny: float
    bound_cny: float
    x: FloatArray


class UnitProgram:
    """Single units (pumped hydro, gas peakers) by themselves, again and again at new prices; HiGHS stays warm."""

    def __init__(self, model: ExplicitModel) -> None:
        self.model = model
        self._program = ArrayProgram(arrays_of(model))

    def cheapest(
        self, price_per_kwh: FloatArray, *, until: float, whole: bool = True, relative_gap: float = 0.0
    ) -> UnitSchedule:
        """Their cheapest schedule at effective prices (R, T), CNY per kWh (tariff plus duals).

        ``until`` is a moment of ``look``; the errors are those of ``ArrayProgram.solve``.
        """
        cost, constant = self.model.cost_at(price_per_kwh)
        self._program.price(cost)
        found = self._program.solve(until=until, whole=whole, relative_gap=relative_gap, offset=constant)
        own = float(self.model.cost @ found.x) + self.model.cost_constant
        return UnitSchedule(self.model.power_kw(found.x), own, found.objective, found.bound, found.x)


def arrays_of(model: ExplicitModel, cost: FloatArray | None = None) -> Arrays:
    """The arrays of a model at its own cost, or at another."""
    priced = model.cost if cost is None else cost
    return Arrays(priced, model.low, model.high, model.is_integer, model.matrix, model.row_low, model.row_high)
