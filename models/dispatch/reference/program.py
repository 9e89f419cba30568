"""The compiled city in HiGHS: updated in place while a problem is solved, and begun warm.

One ``Program`` belongs to one ``CompiledCity``.  Lazy rows and binaries are left out until ``wake`` puts those of an
entry in.  From problem to problem two things are kept, who is awake and the last basis (``Warm``), and each problem
begins with a HiGHS of its own: a factorisation, weights or a model that others have left behind would make the same
problem come out otherwise.  Never Pyomo's own HiGHS interfaces: they deadlock under threads.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import highspy
import numpy as np

from models.dispatch.highs_runs import Incumbent, run
from models.dispatch.reference.compiled import CompiledCity, IntArray, Numbers
from models.dispatch.reference.highs import quiet_highs
from models.dispatch.solve_clock import look
from models.errors import SolverError
from models.intervals import FloatArray


@dataclass(frozen=True)
class Outcome:
    """A solution of the arrays: ``x`` (all columns), ``row_dual`` (all rows; zero where left out)."""

    x: FloatArray
    row_dual: FloatArray
    objective: float
    bound: float
    status: str
    nodes: int


@dataclass(frozen=True)
class Basis:
    """HiGHS's basis, and how many columns and rows it is for."""

    basis: highspy.HighsBasis
    columns: int
    rows: int

    @cached_property
    def statuses(self) -> tuple[bytes, bytes]:
        """Status of every column and row as a byte; slow, for HiGHS makes an object of each."""
        return bytes(self.basis.col_status), bytes(self.basis.row_status)


@dataclass(frozen=True)
class Warm:
    """What a problem leaves to the next: who is awake, and the basis of its last linear program."""

    awake: frozenset[int] = frozenset()
    basis: Basis | None = None


class Program:
    """HiGHS holding the rows and columns of one compiled city that are awake."""

    def __init__(self, city: CompiledCity) -> None:
        self.city = city
        self.awake: set[int] = set()
        self.highs: Any = quiet_highs()  # highspy declares only a part of itself
        self._loaded: FloatArray | None = None
        self._rows: IntArray = np.empty(0, dtype=np.int64)
        self._columns: IntArray = np.empty(0, dtype=np.int64)
        self._has_integers = False
        self._warm = Warm()

    def begin(self, warm: Warm | None = None) -> Warm:
        """Get ready for the next problem, from what the last one left, or from another ``warm``; returns it."""
        self._warm = replace(self._warm, awake=frozenset(self.awake)) if warm is None else warm
        self.awake = set(self._warm.awake)
        self.highs, self._loaded, self._has_integers = quiet_highs(), None, False
        return self._warm

    def rest(self) -> None:
        """Make ready what the record of the next solve asks for."""
        if self._warm.basis is not None:
            _ = self._warm.basis.statuses

    def wake(self, entries: set[int]) -> None:
        """Put the lazy equations of these entries in from now on."""
        if entries - self.awake:
            self.awake |= entries
            self._loaded = None

    def solve(
        self,
        numbers: Numbers,
        *,
        until: float,
        integer: bool,
        gap: float = 1e-4,
        base_cny: float = 0.0,
        guess: FloatArray | None = None,
    ) -> Outcome:
        """Minimise; ``until`` is a moment of ``look``; ``base_cny`` the constant that must not flatter the gap;
        ``guess`` a whole solution to begin with.  What branch and bound has found when time is up is told in its
        integers alone.

        Raises ``DeadlineError`` if nothing was found in time, ``SolverError`` for any status but optimal or feasible.
        """
        self._load(numbers, integer=integer, base_cny=base_cny)
        highs = self.highs
        highs.setOptionValue("mip_rel_gap", gap)
        highs.setOptionValue("mip_abs_gap", gap * max(1e-3 * abs(base_cny), 1e-6))
        if guess is not None and self._has_integers:
            index = np.arange(len(self._columns), dtype=np.int32)
            highs.setSolution(len(index), index, guess[self._columns])
        whole = np.flatnonzero(self.city.integer[self._columns]) if self._has_integers else np.empty(0, dtype=np.int64)
        found = run(highs, "city", until - look("city"), columns=len(self._columns), whole=whole)
        if found is not None:
            return self._incumbent(found, base_cny)
        outcome = self._outcome(base_cny)
        if not self._has_integers and (basis := highs.getBasis()).valid:
            self._warm = Warm(frozenset(self.awake), Basis(basis, len(self._columns), len(self._rows)))
        return outcome

    def fix_and_solve(self, numbers: Numbers, x: FloatArray, *, until: float, base_cny: float) -> Outcome:
        """The linear program with every binary held at its rounded value: a clean schedule and its duals."""
        low, high = numbers.low.copy(), numbers.high.copy()
        whole = self.city.integer
        low[whole] = high[whole] = np.round(x[whole])
        held = Numbers(numbers.cost, low, high, numbers.row_low, numbers.row_high, numbers.values)
        return self.solve(held, until=until, integer=False, base_cny=base_cny)

    # ---- HiGHS

    def _load(self, numbers: Numbers, *, integer: bool, base_cny: float) -> None:
        """Bring the numbers in: in place where the matrix is the same, anew (with the old basis) where it is not."""
        same_matrix = self._loaded is not None and np.array_equal(self._loaded, numbers.values)
        if same_matrix:
            self._change(numbers)
        else:
            self._pass(numbers)
        self.highs.changeObjectiveOffset(-base_cny)
        wanted = integer and bool(self.city.integer[self._columns].any())
        if wanted or self._has_integers:
            kinds = (
                self.city.integer[self._columns].astype(np.uint8) if wanted else np.zeros(len(self._columns), np.uint8)
            )
            index = np.arange(len(self._columns), dtype=np.int32)
            self.highs.changeColsIntegrality(len(index), index, kinds)
        self._has_integers = wanted

    def _change(self, numbers: Numbers) -> None:
        columns, rows = self._columns, self._rows
        index = np.arange(len(columns), dtype=np.int32)
        self.highs.changeColsCost(len(index), index, numbers.cost[columns])
        self.highs.changeColsBounds(len(index), index, numbers.low[columns], numbers.high[columns])
        row_index = np.arange(len(rows), dtype=np.int32)
        self.highs.changeRowsBounds(len(row_index), row_index, numbers.row_low[rows], numbers.row_high[rows])

    def _pass(self, numbers: Numbers) -> None:
        city = self.city
        asleep_row = city.lazy_row & ~np.isin(city.row_owner, list(self.awake))
        asleep_column = city.lazy_column & ~np.isin(city.owner, list(self.awake))
        rows = city.kept_rows[~asleep_row[city.kept_rows]]
        columns = np.flatnonzero(~asleep_column)
        self._rows, self._columns = rows, columns
        matrix = city.a.copy()
        matrix.data = numbers.values
        matrix = matrix[rows][:, columns]
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(columns), len(rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (
            numbers.cost[columns],
            numbers.low[columns],
            numbers.high[columns],
        )
        lp.row_lower_, lp.row_upper_ = numbers.row_low[rows], numbers.row_high[rows]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = (
            matrix.indptr,
            matrix.indices,
            matrix.data,
        )
        self.highs.passModel(lp)
        self._has_integers = False
        self._loaded = numbers.values.copy()
        warm = self._warm.basis
        if warm is not None and (warm.columns, warm.rows) == (len(columns), len(rows)):
            self.highs.setBasis(warm.basis)

    def _incumbent(self, found: Incumbent, base_cny: float) -> Outcome:
        x = np.zeros(self.city.a.shape[1])
        x[self._columns] = found.x
        status = "optimal" if found.is_optimal else "feasible"
        nothing = np.zeros(self.city.a.shape[0])
        return Outcome(x, nothing, found.objective + base_cny, found.bound + base_cny, status, found.nodes)

    def _outcome(self, base_cny: float) -> Outcome:
        highs, info = self.highs, self.highs.getInfo()
        status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(
                highs.modelStatusToString(status), f"{len(self._columns)} columns, {len(self._rows)} rows"
            )
        solution = highs.getSolution()
        x = np.zeros(self.city.a.shape[1])
        x[self._columns] = solution.col_value
        dual = np.zeros(self.city.a.shape[0])
        if solution.dual_valid:
            dual[self._rows] = solution.row_dual
        objective = info.objective_function_value + base_cny
        bound = info.mip_dual_bound + base_cny if self._has_integers else objective
        return Outcome(x, dual, objective, bound, "optimal", int(info.mip_node_count))
