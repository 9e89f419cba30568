"""The market of one interval in HiGHS: which minimum quantities, then who gives how much.

First the model as it is.  Then its binaries are held and only the linear rest is solved, with the costs

    (T1)  c'_bs = K c_bs + turn_b,   V' = K V        K = number of offers + 1, turn_b = 1, 2, ... as offers stand

Two ways of serving the need differ by exchanges of one step, or one lack, for another: an exchange that saves a tick
saves at least K, turns differ by less, so (T1) never buys a dearer step and serves equal prices in turn.  In a network
the simplex method ends in whole numbers.
"""

import time
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from models.clearing.book import Book
from models.clearing.model import build_clearing
from models.dispatch.reference.highs import quiet_highs
from models.errors import DeadlineError, SolverError

FEASIBILITY = 1e-7
"""Enough to round to whole numbers, which the checker then holds against every limit exactly."""
KEPT_BACK = 0.2
"""Part of the time that the linear rest may need after all minimum quantities were chosen."""
LESS_THAN_ONE = 0.5
"""Costs are whole numbers: a gap of less than one is none."""
_OFF = 1e-3


@dataclass(frozen=True)
class Cleared:
    """``accepted``: quanta of every offer.  ``bound``: the solver's lower bound on the cost, ticks x quanta."""

    accepted: list[int]
    bound: float
    status: str


class _Program:
    """The arrays of one interval, and where the model's variables stand in them."""

    def __init__(self, book: Book) -> None:
        self.book = book
        model = build_clearing(book)
        form = LinearStandardFormCompiler().write(model, mixed_form=True)
        column = {id(var): k for k, var in enumerate(form.columns)}
        self.steps = {key: column[id(var)] for key, var in model.taken.items() if id(var) in column}
        self.binaries = np.array([column[id(var)] for var in model.is_accepted.values()], dtype=np.int32)
        lacks = [column[id(var)] for var in model.lack.values() if id(var) in column]
        self.low = np.array([var.lb for var in form.columns], dtype=np.float64)
        self.high = np.array([var.ub for var in form.columns], dtype=np.float64)
        self.cost, self.turned = np.zeros(len(form.columns)), np.zeros(len(form.columns))
        factor = len(book.offers) + 1
        for (b, s), k in self.steps.items():
            self.cost[k] = book.offers[b].prices[s]
            self.turned[k] = factor * book.offers[b].prices[s] + b + 1
        self.cost[lacks], self.turned[lacks] = book.shortfall, factor * book.shortfall
        self.highs: Any = quiet_highs()
        self.highs.setOptionValue("primal_feasibility_tolerance", FEASIBILITY)
        self.highs.setOptionValue("dual_feasibility_tolerance", FEASIBILITY)
        self._pass(form)

    def _pass(self, form: Any) -> None:
        matrix = sparse.csr_matrix(form.A)
        bound_type = np.array([entry.bound_type for entry in form.rows])
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.cost), matrix.shape[0]
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = self.cost, self.low, self.high
        lp.row_lower_ = np.where(bound_type > 0, -highspy.kHighsInf, form.rhs)
        lp.row_upper_ = np.where(bound_type < 0, highspy.kHighsInf, form.rhs)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        self.highs.passModel(lp)

    def choose(self, gap: float, until: float) -> tuple[float, bool]:
        """Decide the binaries and hold them; the bound, and whether time was not up."""
        count = len(self.binaries)
        self.highs.changeColsIntegrality(count, self.binaries, np.ones(count, dtype=np.uint8))
        # Presolve takes most of the time, and finds something to do only among choices that leave nothing to divide.
        can_divide = count < len(self.book.offers)
        self.highs.setOptionValue("presolve", "off" if can_divide else "choose")
        self.highs.setOptionValue("mip_rel_gap", gap)
        self.highs.setOptionValue("mip_abs_gap", LESS_THAN_ONE)
        self.highs.setOptionValue("mip_feasibility_tolerance", FEASIBILITY)
        is_proven = self._run(until)
        chosen = np.round(np.array(self.highs.getSolution().col_value)[self.binaries])
        bound = float(self.highs.getInfo().mip_dual_bound)
        self.highs.changeColsIntegrality(count, self.binaries, np.zeros(count, dtype=np.uint8))
        self.highs.changeColsBounds(count, self.binaries, chosen, chosen)
        return bound, is_proven

    def share(self, until: float) -> NDArray[np.float64]:
        """(T1): all columns, with the binaries as they are held."""
        index = np.arange(len(self.turned), dtype=np.int32)
        self.highs.changeColsCost(len(index), index, self.turned)
        self.highs.setOptionValue("presolve", "off")
        self._run(until)
        return np.array(self.highs.getSolution().col_value)

    def _run(self, until: float) -> bool:
        """True if solved to the end, False if time was up and something was found."""
        left = until - time.monotonic()
        if left <= 0:
            raise DeadlineError(0.0)
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + left)
        self.highs.run()
        status = self.highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return True
        if status == highspy.HighsModelStatus.kTimeLimit:
            found = self.highs.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
            if found and self.highs.getInfo().mip_node_count >= 0:
                return False
            raise DeadlineError(left)
        raise SolverError(self.highs.modelStatusToString(status), f"{len(self.cost)} columns")


def solve_interval(book: Book, *, gap: float, until: float) -> Cleared:
    """The cheapest acceptance within ``gap``; ``until`` is a ``time.monotonic`` moment.

    Raises ``DeadlineError`` if there is none in time, ``SolverError`` if the solver fails.
    """
    if not book.offers:
        return Cleared([], float(book.cost([])), "optimal")
    program = _Program(book)
    bound, is_proven = None, True
    if len(program.binaries):
        bound, is_proven = program.choose(gap, until - KEPT_BACK * (until - time.monotonic()))
    x = program.share(until)
    accepted = [0] * len(book.offers)
    for (b, _), k in program.steps.items():
        whole = round(x[k])
        if abs(x[k] - whole) > _OFF:
            raise SolverError("no corner", f"offer {b} is accepted with {x[k]!r} quanta")
        accepted[b] += whole
    cost = float(book.cost(accepted))
    if bound is None or (is_proven and cost - bound <= LESS_THAN_ONE + FEASIBILITY * cost):
        return Cleared(accepted, cost, "optimal")
    return Cleared(accepted, min(bound, cost), "feasible")
