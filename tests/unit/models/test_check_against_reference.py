"""The checker and the reference solver know nothing of each other, and must agree on every random fleet."""

import pytest

from models.dispatch.check import check_plan
from models.dispatch.reference.solve import ReferenceSolver
from models.resources import ResourceKind
from tests.fleets import random_problem


@pytest.fixture(scope="module")
def solver() -> ReferenceSolver:
    return ReferenceSolver()


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_a_reference_plan_of_all_kinds_passes(seed: int, solver: ReferenceSolver) -> None:
    problem = random_problem(seed, events=2)
    report = check_plan(problem, solver.solve(problem, deadline_s=60, gap=1e-6))
    assert [str(item) for item in report.violations] == []
    assert report.lower_bound_cny is not None
    assert report.lower_bound_cny <= report.objective_cny + 1e-6 * abs(report.objective_cny)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_tight_where_nothing_is_an_integer(seed: int, solver: ReferenceSolver) -> None:
    kinds = [ResourceKind.THERMAL_LOAD, ResourceKind.PV, ResourceKind.EV_SESSION]
    problem = random_problem(seed, kinds=kinds, resources=9)
    report = check_plan(problem, solver.solve(problem, deadline_s=60, gap=1e-9))
    assert report.ok
    assert report.lower_bound_cny == pytest.approx(report.objective_cny, rel=1e-6)
