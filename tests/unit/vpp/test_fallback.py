"""A fallback says that it is one."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from models.dispatch.problem import DispatchProblem
from models.intervals import IntervalGrid
from models.plan import DispatchPlan, PlanSource
from tests.fleets import random_problem
from vpp.real_time import fallback_plan

GOOD = random_problem(2, resources=8, intervals=12)
IDS = GOOD.fleet.resource_ids
R, T = len(IDS), len(GOOD.grid)
BASELINE = np.arange(R * T, dtype=float).reshape(R, T)
PROBLEM = replace(GOOD, baseline_kw=BASELINE)


def plan(grid: IntervalGrid, ids: tuple[str, ...], power_kw: np.ndarray) -> DispatchPlan:
    nothing = np.full(power_kw.shape, np.nan)
    return DispatchPlan(
        grid=grid,
        resource_ids=ids,
        power_kw=power_kw,
        energy_kwh=nothing,
        baseline_kw=np.zeros(power_kw.shape),
        baseline_energy_kwh=nothing,
        status="optimal",
        source=PlanSource.REFERENCE,
        objective_cny=1.0,
        baseline_cost_cny=1.0,
        lower_bound_cny=1.0,
        iterations=1,
        wall_s=0.1,
        penalties={},
    )


def says_fallback(made: DispatchPlan, problem: DispatchProblem, source: PlanSource) -> None:
    assert (made.status, made.source) == ("fallback", source)
    assert math.isnan(made.gap)  # it has no certificate, and claims none
    assert np.isnan(made.energy_kwh).all()
    assert made.penalties == problem.penalties.as_dict()
    assert made.resource_ids == problem.fleet.resource_ids
    assert made.grid == problem.grid


def test_without_a_last_plan_everyone_follows_the_baseline() -> None:
    made = fallback_plan(PROBLEM, None)
    says_fallback(made, PROBLEM, PlanSource.RULE)
    assert np.array_equal(made.power_kw, BASELINE)
    made.power_kw[0, 0] = -1.0
    assert BASELINE[0, 0] == 0.0  # a copy


def test_without_a_baseline_nobody_does_anything() -> None:
    assert (fallback_plan(GOOD, None).power_kw == 0).all()


def test_the_last_good_plan_holds_where_it_reaches_and_for_whom_it_knows() -> None:
    known = IDS[1:]
    earlier = IntervalGrid(GOOD.grid.edges[:7])
    last = plan(earlier, known, np.full((len(known), 6), 500.0))
    made = fallback_plan(PROBLEM, last)
    says_fallback(made, PROBLEM, PlanSource.LAST_GOOD)
    assert np.array_equal(made.power_kw[0], BASELINE[0])
    assert made.power_kw[1:, :6] == pytest.approx(500.0)
    assert np.array_equal(made.power_kw[1:, 6:], BASELINE[1:, 6:])


def test_the_last_good_plan_is_moved_by_its_mean_power() -> None:
    half = timedelta(minutes=30)
    finer = IntervalGrid.regular(GOOD.grid.start, half, 2 * T)
    values = np.random.default_rng(3).uniform(-5, 5, (R, 2 * T))
    made = fallback_plan(PROBLEM, plan(finer, IDS, values))
    assert made.power_kw == pytest.approx((values[:, 0::2] + values[:, 1::2]) / 2)
