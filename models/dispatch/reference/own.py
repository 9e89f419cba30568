"""One resource by itself: its own equations at given prices, with its binaries whole.

Two uses.  The baseline is every resource by itself at its tariff.  And at the duals of the relaxed city, what a
resource would do by itself is a good guess of its binaries, and what it would then cost is a bound (Lagrange):
city ≥ relaxed city + Σ_i (resource i by itself, whole - resource i by itself, relaxed).
"""

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from models.dispatch.highs_runs import run
from models.dispatch.reference.compiled import CompiledCity, IntArray, Numbers
from models.dispatch.reference.highs import quiet_highs
from models.dispatch.solve_clock import look
from models.errors import SolverError
from models.intervals import FloatArray

SHARE_OF_DEADLINE = 0.2
"""One resource by itself may take this part of the time that is left."""


@dataclass(frozen=True)
class _Local:
    """Rows and columns of some entries, and where their coefficients stand in the city's matrix."""

    rows: IntArray
    columns: IntArray
    start: NDArray[np.int32]
    index: NDArray[np.int32]
    data: IntArray


class OwnPrograms:
    """The equations of single entries (or groups of them), cut out of the compiled city once."""

    def __init__(self, city: CompiledCity) -> None:
        self.city = city
        self._cut: dict[tuple[frozenset[int], bool], _Local] = {}

    def solve(
        self,
        chosen: frozenset[int],
        numbers: Numbers,
        cost: FloatArray,
        *,
        awake: bool,
        whole: bool,
        until: float,
        within: float = 0.0,
    ) -> tuple[FloatArray, float]:
        """(columns of the chosen entries at their cheapest, zero elsewhere; a lower bound of that cost).

        ``within``: how far from the best a whole solution may be, in the unit of ``cost``.
        """
        x = np.zeros(self.city.a.shape[1])
        if not chosen:
            return x, 0.0
        cut = self._local(chosen, awake)
        integer = self.city.integer[cut.columns] & whole
        low, high = numbers.low[cut.columns], numbers.high[cut.columns]
        lp = self._program(cut, numbers, cost, low, high)
        if not integer.any():
            x[cut.columns], bound = _run(lp, integer, until, within)
            return x, bound
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in integer]
        found, bound = _run(lp, integer, until, within)
        low, high = low.copy(), high.copy()
        low[integer] = high[integer] = np.round(found[integer])
        held = self._program(cut, numbers, cost, low, high)
        x[cut.columns], _ = _run(held, np.zeros_like(integer), until, within)
        return x, bound

    def _program(
        self, cut: _Local, numbers: Numbers, cost: FloatArray, low: FloatArray, high: FloatArray
    ) -> highspy.HighsLp:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(cut.columns), len(cut.rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost[cut.columns], low, high
        lp.row_lower_, lp.row_upper_ = numbers.row_low[cut.rows], numbers.row_high[cut.rows]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = cut.start, cut.index
        lp.a_matrix_.value_ = numbers.values[cut.data]
        return lp

    def _local(self, chosen: frozenset[int], awake: bool) -> _Local:
        cut = self._cut.get((chosen, awake))
        if cut is None:
            city, members = self.city, list(chosen)
            row_here = np.isin(city.row_owner, members) & (awake | ~city.lazy_row)
            rows = city.kept_rows[row_here[city.kept_rows]]
            columns = np.flatnonzero(np.isin(city.owner, members) & (awake | ~city.lazy_column))
            place = np.full(city.a.shape[1], -1, dtype=np.int64)
            place[columns] = np.arange(len(columns))
            spans = [np.arange(city.a.indptr[row], city.a.indptr[row + 1]) for row in rows]
            data = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
            start = np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int32)
            cut = _Local(rows, columns, start, place[city.a.indices[data]].astype(np.int32), data)
            self._cut[chosen, awake] = cut
        return cut


def _run(lp: highspy.HighsLp, integer: NDArray[np.bool_], until: float, within: float) -> tuple[FloatArray, float]:
    """(the answer, its bound); where time was up, of its columns the integers alone."""
    highs: Any = quiet_highs()
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.setOptionValue("mip_abs_gap", max(1e-6, within))
    highs.passModel(lp)
    left_s = until - look("own")
    found = run(highs, "own", left_s * SHARE_OF_DEADLINE, columns=lp.num_col_, whole=np.flatnonzero(integer))
    if found is not None:
        return found.x, found.bound
    status, info = highs.getModelStatus(), highs.getInfo()
    if status != highspy.HighsModelStatus.kOptimal:
        raise SolverError(highs.modelStatusToString(status), "one resource by itself")
    bound = info.mip_dual_bound if integer.any() else info.objective_function_value
    return np.asarray(highs.getSolution().col_value), float(bound)
