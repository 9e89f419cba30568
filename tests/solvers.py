"""The solvers that tests hold against something that nobody here wrote."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import pytest

from models.dispatch.fast.explicit.solve import solve_explicit
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.schedule import energy_kwh
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.reference.structure import entries_of
from models.plan import DispatchPlan, PlanSource


class Solver(Protocol):
    """Makes plans."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan within ``gap`` before the deadline."""
        ...


class ExplicitSolver:
    """The city as plain arrays in HiGHS, its result as a plan."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """As any solver does."""
        found = solve_explicit(problem, deadline_s=deadline_s, gap=gap)
        entry_of = {entry.resource_id: entry for entry in entries_of(found.problem)}
        entries = [entry_of[name] for name in problem.fleet.resource_ids]

        def shown(power_kw: np.ndarray) -> np.ndarray:
            pairs = zip(entries, power_kw, strict=True)
            return np.array([energy_kwh(entry, row, found.problem) for entry, row in pairs])

        return DispatchPlan(
            grid=problem.grid,
            resource_ids=problem.fleet.resource_ids,
            power_kw=found.power_kw,
            energy_kwh=shown(found.power_kw),
            baseline_kw=found.baseline_kw,
            baseline_energy_kwh=shown(found.baseline_kw),
            status=found.status,
            source=PlanSource.REFERENCE,  # its bound is its own, not that at its prices
            objective_cny=found.objective_cny,
            baseline_cost_cny=found.baseline_cost_cny,
            lower_bound_cny=found.bound_cny,
            iterations=found.nodes,
            wall_s=found.build_s + found.solve_s,
            penalties=problem.penalties.as_dict(),
            unmet=found.unmet,
            prices=found.price_rows,
            admissions=found.admissions,
        )


SOLVERS: dict[str, Callable[[], Solver]] = {
    "reference": cache(ReferenceSolver),
    "explicit": ExplicitSolver,
    "fast": FastSolver,
}
"""Where each comes from: one reference for all tests (it keeps what it has compiled), fresh ones of the others."""


def by_solvers(*names: str) -> pytest.MarkDecorator:
    """Runs a test with the name of each of these solvers as ``solver``."""
    return pytest.mark.parametrize("solver", names)


def solved(solver: str, problem: DispatchProblem, *, gap: float, deadline_s: float = 120) -> DispatchPlan:
    """The plan of a solver by its name."""
    return SOLVERS[solver]().solve(problem, deadline_s=deadline_s, gap=gap)
