"""The checker and the reference solver know nothing of each other, and must agree on every random fleet."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.problem import DispatchProblem, RealTimeTerms, ResourceState
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


def measured(row: Any, dice: np.random.Generator) -> ResourceState | None:
    """A state as telemetry may find it, often outside what was promised."""
    calls: dict[str, Any] = {
        "calls_used": int(dice.integers(0, 3)),
        "on": bool(dice.random() < 0.5),
        "hours_in_state_h": dice.uniform(0, 3),
        "curtailed_history": ((dice.uniform(0, 1), dice.uniform(0, 2), dice.uniform(0, 20)),),
    }
    if row.kind is ResourceKind.STORAGE:
        return ResourceState(
            energy_kwh=dice.uniform(-0.05, 1.1) * row.energy_max_kwh, power_kw=dice.choice([0.0, -9.0, 9.0])
        )
    if row.kind is ResourceKind.EV_SESSION and row.is_v2g:
        return ResourceState(energy_kwh=dice.uniform(0, 1) * row.battery_capacity_kwh)
    if row.kind is ResourceKind.EV_SESSION:
        return ResourceState(delivered_kwh=dice.uniform(0, 1.2) * row.energy_needed_kwh)
    if row.kind is ResourceKind.CURTAILABLE_LOAD:
        used = {"energy_used_kwh": dice.uniform(0, 1.2) * row.energy_limit_kwh, "hours_used_h": dice.uniform(0, 4)}
        return ResourceState(**calls, **used)
    if row.kind is ResourceKind.INTERRUPTIBLE_LOAD:
        return ResourceState(**calls)
    if row.kind is ResourceKind.SHIFTABLE_LOAD and not row.run_profile:
        return ResourceState(delivered_kwh=dice.uniform(0, 1.2) * row.energy_kwh)
    if row.kind is ResourceKind.THERMAL_LOAD:
        return ResourceState(store_kwh=dice.uniform(-1.3 * row.store_low_kwh, 1.3 * row.store_high_kwh))
    if row.kind is ResourceKind.GENERATOR:
        power = -dice.uniform(0, 1.1) * row.power_max_kw
        return ResourceState(on=calls["on"], hours_in_state_h=calls["hours_in_state_h"], power_kw=power)
    return None


def replanned(seed: int) -> DispatchProblem:
    """A random fleet in the middle of its day: measured states, switching and straying priced."""
    dice = np.random.default_rng(seed)
    problem = random_problem(seed, events=2)
    found = {row.resource_id: measured(row, dice) for row in problem.fleet.rows()}
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    terms = RealTimeTerms(
        now_kw=np.where(dice.random(shape[0]) < 0.3, np.nan, dice.normal(0, 20, shape[0])),
        plan_kw=np.where(dice.random(shape) < 0.3, np.nan, dice.normal(0, 20, shape)),
        stray_applies=np.asarray(dice.random(shape[1]) < 0.7),
    )
    return replace(
        problem,
        states={name: state for name, state in found.items() if state is not None},
        real_time=terms,
        penalties=replace(problem.penalties, switch_cost_per_kw=0.05, stray_cost_per_kwh=0.02),
    )


@pytest.mark.parametrize("seed", range(2000, 2010))
def test_a_replan_from_measured_states_passes_with_the_same_admissions(seed: int, solver: ReferenceSolver) -> None:
    problem = replanned(seed)
    report = check_plan(problem, solver.solve(problem, deadline_s=60, gap=1e-6))
    assert [str(item) for item in report.violations] == []
