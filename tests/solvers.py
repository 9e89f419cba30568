"""The solvers that tests hold against something that nobody here wrote."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import pytest

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.solve import ReferenceSolver
from models.plan import DispatchPlan


class Solver(Protocol):
    """Makes plans."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan within ``gap`` before the deadline."""
        ...


SOLVERS: dict[str, Callable[[], Solver]] = {"reference": cache(ReferenceSolver)}
"""Where each comes from: one reference for all tests, which keeps what it has compiled."""

each_solver = pytest.mark.parametrize("solver", list(SOLVERS))
"""Runs a test with each solver's name as ``solver``."""


def solved(solver: str, problem: DispatchProblem, *, gap: float, deadline_s: float = 120) -> DispatchPlan:
    """The plan of a solver by its name."""
    return SOLVERS[solver]().solve(problem, deadline_s=deadline_s, gap=gap)
