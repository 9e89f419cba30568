"""The checker's bound of pumped hydro knows its modes: alone with their tariff, units cost what it says."""

from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.problem import DispatchProblem, RealTimeTerms, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.fleet import Fleet
from models.plan import DispatchPlan
from tests.unit.models.fast.pricing_cases import problem_of, random_grid, random_prices
from tests.unit.models.fast.test_pricing_hydro import unit


def hydro_city(seed: int, count: int = 12) -> DispatchProblem:
    """Three units in different states that nothing couples."""
    dice = np.random.default_rng(seed)
    rows = [unit(dice).model_copy(update={"resource_id": name}) for name in ("a", "b", "c")]
    problem = problem_of(rows[0], random_grid(dice, count), random_prices(dice, count))
    states = {
        row.resource_id: ResourceState(
            energy_kwh=float(dice.uniform(0, 1.1)) * row.energy_max_kwh,
            power_kw=float(dice.choice([0.0, row.charge_limit_kw, -row.discharge_limit_kw])),
        )
        for row in rows
    }
    return replace(problem, fleet=Fleet.from_rows(rows), states=states)


def bound(problem: DispatchProblem, plan: DispatchPlan) -> float:
    report = check_plan(problem, plan)
    assert [violation.limit for violation in report.violations if "bound" in violation.limit] == []
    assert report.lower_bound_cny is not None
    return report.lower_bound_cny


@pytest.mark.parametrize("seed", range(8))
def test_uncoupled_units_cost_what_the_bound_says(seed: int) -> None:
    problem = hydro_city(seed)
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
    moved = float(problem.grid.hours @ np.abs(problem.tariffs["t"])) * 600
    assert bound(problem, plan) == pytest.approx(plan.objective_cny, rel=1e-6, abs=1e-6 * moved)


@pytest.mark.parametrize("seed", range(6))
def test_a_re_plan_of_units_that_share_a_limit_is_never_bounded_above_its_cost(seed: int) -> None:
    problem, dice = hydro_city(seed), np.random.default_rng(seed)
    shape = (3, len(problem.grid))
    given = RealTimeTerms(dice.normal(0, 50, 3), dice.normal(0, 50, shape), np.ones(shape[1]))
    problem = replace(problem, real_time=given, baseline_kw=np.zeros(shape), zone_limit_kw=np.full((1, shape[1]), 60.0))
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
    assert bound(problem, plan) <= plan.objective_cny + 1e-6 * max(1.0, abs(plan.objective_cny))
