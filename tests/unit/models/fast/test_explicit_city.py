"""The whole city in plain arrays against the reference: rows, prices, optimum, deadline, and what the checker says."""

import time
from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.check import check_plan
from models.dispatch.fast.explicit.city import explicit_city
from models.dispatch.fast.explicit.model import explicit_model, tariff_prices
from models.dispatch.fast.explicit.program import UnitProgram
from models.dispatch.fast.explicit.real_time import with_real_time
from models.dispatch.fast.explicit.solve import ExplicitResult, solve_explicit
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.schedule import energy_kwh
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.reference.structure import entries_of
from models.errors import DeadlineError, InputError
from models.plan import DispatchPlan, PlanSource, Requirement
from models.resources import ResourceKind
from tests.equations.test_random_fleets import battered
from tests.fleets import random_problem
from tests.unit.models.fast.explicit_cases import ReferenceArrays, cheapest, uneven
from tests.unit.models.test_check_against_reference import replanned

RELATIVE = 1e-6


@pytest.fixture(scope="module")
def solver() -> ReferenceSolver:
    return ReferenceSolver()


def city_of(seed: int) -> DispatchProblem:
    """All kinds; commitments, several events, negative prices, unequal intervals, states, real time take turns."""
    if seed % 4 == 3:
        return replanned(seed)
    problem = random_problem(
        seed,
        resources=12,
        intervals=18,
        events=1 + seed % 3,
        commitments=seed % 2 == 0,
        sessions_per_charger=1 + seed % 3,
        negative_prices=seed % 3 == 0,
    )
    # An aggregator without resources has nothing to commit.
    present = {what.aggregator_id for what in problem.attributes.values()}
    accepted = tuple(row for row in problem.commitments if row.aggregator_id in present)
    problem = replace(problem, commitments=accepted)
    problem = uneven(problem) if seed % 4 == 1 else problem
    return battered(problem, seed) if seed % 4 == 2 else problem


def as_plan(found: ExplicitResult) -> DispatchPlan:
    """The result as a plan, energies recomputed from power."""
    problem = found.problem
    entries = entries_of(problem)
    return DispatchPlan(
        grid=problem.grid,
        resource_ids=problem.fleet.resource_ids,
        power_kw=found.power_kw,
        energy_kwh=np.array([energy_kwh(entry, found.power_kw[i], problem) for i, entry in enumerate(entries)]),
        baseline_kw=found.baseline_kw,
        baseline_energy_kwh=np.array(
            [energy_kwh(entry, found.baseline_kw[i], problem) for i, entry in enumerate(entries)]
        ),
        status=found.status,
        source=PlanSource.REFERENCE,
        objective_cny=found.objective_cny,
        baseline_cost_cny=found.baseline_cost_cny,
        lower_bound_cny=found.bound_cny,
        iterations=1,
        wall_s=found.build_s + found.solve_s,
        penalties=problem.penalties.as_dict(),
        unmet=found.unmet,
        prices=found.price_rows,
        admissions=found.admissions,
    )


@pytest.mark.parametrize("seed", [*range(8), 144, 150])
def test_the_relaxation_is_the_reference_s(seed: int) -> None:
    problem = city_of(seed)
    baseline = solve_explicit(problem, deadline_s=60, relaxed=True).baseline_kw
    wanted = ReferenceArrays(problem, baseline).least_cost(whole=False, awake=False)
    found = solve_explicit(replace(problem, baseline_kw=baseline), deadline_s=60, relaxed=True)
    assert found.bound_cny == pytest.approx(wanted, rel=RELATIVE)
    assert found.objective_cny == pytest.approx(wanted, rel=RELATIVE)
    assert (found.prices >= 0).all()
    assert (found.prices <= found.city.rows.penalty).all()


@pytest.mark.parametrize("seed", range(20, 28))
def test_the_whole_optimum_is_the_reference_s(seed: int, solver: ReferenceSolver) -> None:
    problem = city_of(seed)
    wanted = solver.solve(problem, deadline_s=60, gap=1e-8)
    found = solve_explicit(problem, deadline_s=60, gap=1e-8)
    slack = RELATIVE * max(1.0, abs(wanted.objective_cny))
    assert found.status == "optimal"
    assert found.objective_cny <= wanted.objective_cny + slack
    assert found.objective_cny >= wanted.lower_bound_cny - slack
    if wanted.status == "optimal":
        assert found.objective_cny == pytest.approx(wanted.objective_cny, rel=RELATIVE)
    assert found.bound_cny == pytest.approx(found.objective_cny, rel=1e-5)
    assert found.baseline_kw == pytest.approx(wanted.baseline_kw, abs=1e-5)


@pytest.mark.parametrize("seed", [31, 34, 35, 39])
def test_branch_and_bound_without_a_guess_ends_at_the_same_optimum(seed: int) -> None:
    problem = city_of(seed)
    guessed = solve_explicit(problem, deadline_s=60, gap=1e-8)
    plain = solve_explicit(problem, deadline_s=60, gap=1e-8, guess=False)
    assert plain.objective_cny == pytest.approx(guessed.objective_cny, rel=RELATIVE)


@pytest.mark.parametrize("seed", range(40, 48))
def test_the_checker_finds_nothing_in_its_schedules(seed: int) -> None:
    problem = city_of(seed)
    report = check_plan(problem, as_plan(solve_explicit(problem, deadline_s=60, gap=1e-6)))
    assert [str(item) for item in report.violations] == []


@pytest.mark.parametrize("seed", [2, 7])
def test_prices_are_what_one_more_kilowatt_costs(seed: int) -> None:
    kinds = [ResourceKind.THERMAL_LOAD, ResourceKind.PV, ResourceKind.CURTAILABLE_LOAD]
    problem = random_problem(seed, kinds=kinds, resources=12, intervals=12)
    (event,) = problem.events
    found = solve_explicit(problem, deadline_s=60, relaxed=True)
    rows = found.city.rows
    # The event's target is the right side of (M2), and 1.1 times it that of (M3).
    sign = {Requirement.EVENT_TARGET: 1.0, Requirement.EVENT_CAP: -1.1}
    factor = np.array([sign.get(family.requirement, 0.0) for family in rows.families])[rows.family]
    per_kw = float((found.prices * rows.hours * factor).sum())
    assert per_kw > 0
    assert found.unmet == ()
    more = replace(
        problem,
        baseline_kw=found.baseline_kw,
        events=(event.model_copy(update={"target_kw": event.target_kw + 1e-3}),),
    )
    extra = solve_explicit(more, deadline_s=60, relaxed=True)
    assert extra.bound_cny - found.bound_cny == pytest.approx(per_kw * 1e-3, rel=1e-4)


def test_at_its_prices_the_relaxed_fleet_costs_what_the_city_costs() -> None:
    """Strong duality through ``effective_prices``: what the master of the column generation relies on."""
    problem = random_problem(9, resources=16, intervals=12, events=2)
    found = solve_explicit(problem, deadline_s=60, relaxed=True)
    city = found.city
    alone = cheapest(city.model, city.effective_prices(found.prices), whole=False)
    lagrangian = alone + float((found.prices * city.rows.hours) @ city.rows.constant)
    assert lagrangian == pytest.approx(found.bound_cny, rel=1e-7)


def test_switching_and_straying_are_a_resource_s_own_cost() -> None:
    problem, _ = admit(replanned(2003))
    assert problem.real_time is not None
    terms, penalties = problem.real_time, problem.penalties
    for i, name in enumerate(problem.fleet.resource_ids):
        plain = explicit_model(problem, [name])
        model = with_real_time(problem, plain)
        prices = tariff_prices(problem, model)
        found = UnitProgram(model).cheapest(prices, until=time.monotonic() + 60)
        away = np.abs(found.power_kw[0] - terms.plan_kw[i]) * terms.stray_applies * problem.grid.hours
        moved = np.nan_to_num(abs(found.power_kw[0, 0] - terms.now_kw[i]))
        cost = penalties.switch_cost_per_kw * moved + penalties.stray_cost_per_kwh * np.nansum(away)
        without = float(plain.cost @ found.x[: len(plain.cost)])
        assert found.own_cost_cny == pytest.approx(without + cost, abs=1e-6)
        assert cheapest(plain, prices, whole=True) <= found.cost_cny + 1e-6


def test_a_fleet_that_pays_to_burn_energy_still_does_only_one_thing_at_a_time() -> None:
    kinds = [ResourceKind.STORAGE, ResourceKind.EV_SESSION]
    problem = random_problem(7, kinds=kinds, resources=6, intervals=10, hydro_share=0.0, events=1)
    deep = replace(problem, tariffs={name: np.full(10, -2.0) for name in problem.tariffs})
    loose = solve_explicit(deep, deadline_s=60, relaxed=True)
    found = solve_explicit(deep, deadline_s=60, gap=1e-8)
    assert loose.bound_cny < found.objective_cny - 1.0
    assert check_plan(deep, as_plan(found), bound=False).violations == ()
    wanted = ReferenceArrays(deep, found.baseline_kw).least_cost(whole=True, awake=True)
    assert found.objective_cny == pytest.approx(wanted, rel=RELATIVE)


def test_a_deadline_that_is_over_is_said() -> None:
    with pytest.raises(DeadlineError):
        solve_explicit(random_problem(1, resources=12), deadline_s=1e-9)


def test_an_incumbent_comes_back_when_the_deadline_strikes() -> None:
    """A gap that cannot be reached in the time: whatever is found keeps to all limits, and says how far it may be."""
    kinds = [ResourceKind.GENERATOR, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.STORAGE]
    problem = random_problem(2, kinds=kinds, resources=45, intervals=40, hydro_share=1.0, events=3)
    table = np.zeros((45, 40))
    for i, entry in enumerate(entries_of(problem)):
        if entry.kind is ResourceKind.INTERRUPTIBLE_LOAD:
            table[i] = problem.profiles[entry.row.baseline_profile] * entry.row.baseline_scale_kw
    given = replace(problem, baseline_kw=table)
    found = solve_explicit(given, deadline_s=5, gap=0.0)
    assert found.status == "feasible"
    assert 0 < found.gap < np.inf
    violations = check_plan(given, as_plan(found), bound=False, baseline=False).violations
    assert [str(item) for item in violations] == []


def test_a_city_needs_its_whole_fleet() -> None:
    problem, _ = admit(random_problem(1, resources=6, intervals=6))
    some = explicit_model(problem, problem.fleet.resource_ids[:2])
    with pytest.raises(InputError):
        explicit_city(problem, some, np.zeros((6, 6)))
