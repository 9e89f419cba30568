"""Curtailable loads: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.dispatch.check.oracles.loads import least_curtailable
from models.dispatch.check.oracles.loads import two_limits as checker_two_limits
from models.dispatch.fast.pricing.curtailable import (
    base_curtailable,
    cheapest_curtailable,
    curtailable_arrays,
    planned_curtailable,
    sweep_curtailable,
)
from models.dispatch.fast.pricing.ranking import take_cheapest
from models.dispatch.fast.pricing.two_limits import two_limits
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.resources import CurtailableLoad
from tests.unit.models.fast.pricing_cases import (
    COMMON,
    Oracle,
    ask,
    follow,
    many,
    problem_of,
    random_grid,
    random_prices,
    reference_cost,
    swept,
)

ORACLE = Oracle(curtailable_arrays, cheapest_curtailable, sweep_curtailable, least_curtailable)


def rebound_of(dice: np.random.Generator) -> dict[str, Any]:
    share = float(dice.choice([0.0, 0.5, dice.uniform(0.1, 1.5)]))
    return {"rebound_share": share, "rebound_hours_h": float(dice.choice([0.4, 1.0, 2.5])) if share else 0.0}


def past_of(dice: np.random.Generator, *, on: bool) -> ResourceState | None:
    if not on and dice.random() < 0.5:
        return None
    return ResourceState(
        on=on,
        hours_in_state_h=float(dice.uniform(0, 3)),
        calls_used=int(dice.integers(0, 2)),
        hours_used_h=float(dice.uniform(0, 1)),
        energy_used_kwh=float(dice.uniform(0, 20)),
        curtailed_history=((0.0, 0.5, 12.0), (0.75, 0.25, 8.0)) if dice.random() < 0.7 else (),
    )


def load(dice: np.random.Generator, *, whole: bool = False, count: int = 14) -> DispatchProblem:
    scale = dice.uniform(20, 150)
    more: dict[str, Any] = {}
    if whole:
        more = {"calls_per_day": int(dice.integers(0, 4)), "rest_h": float(dice.choice([0.0, 0.5, 2.0]))}
        if dice.random() < 0.2:
            more = {"rest_h": 1.0}
    row = CurtailableLoad(
        **COMMON,
        **rebound_of(dice),
        **more,
        baseline_profile="p",
        baseline_scale_kw=scale,
        curtail_share=float(dice.choice([0.2, 1.0, dice.uniform(0.05, 0.6)])),
        cost_per_kwh=dice.uniform(0.1, 1.5),
        energy_limit_kwh=float(dice.choice([0.0, 1e4, scale * dice.uniform(0.05, 1.5)], p=[0.05, 0.25, 0.7])),
        hours_limit_h=float(dice.choice([24.0, dice.uniform(0.2, 4)])),
        notice_h=float(dice.choice([0.0, 0.7])),
    )
    profile = dice.uniform(0.2, 1.2, count)
    if dice.random() < 0.3:
        profile[dice.integers(0, count, 3)] = 0.0
    state = past_of(dice, on=bool(whole and dice.random() < 0.3))
    issued = float(dice.choice([-2.0, 0.5])) if dice.random() < 0.4 else None
    grid = random_grid(dice, count)
    return problem_of(row, grid, random_prices(dice, count, 1.5), profile=profile, state=state, issued_h=issued)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_load_costs_what_the_checker_says_and_its_schedule_costs_that(seed: int) -> None:
    answer = ask(ORACLE, load(np.random.default_rng(seed)))
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_a_load_costs_what_its_equations_say(seed: int) -> None:
    problem = load(np.random.default_rng(seed))
    assert ask(ORACLE, problem).least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_calls_are_relaxed_in_the_bound_and_kept_in_the_schedule(seed: int) -> None:
    answer = ask(ORACLE, load(np.random.default_rng(seed), whole=True))
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9)
    assert answer.cost >= answer.least - 1e-7


def test_whole_calls_are_nearly_as_good_as_the_best() -> None:
    lost, scope = [], []
    for seed in range(12):
        problem = load(np.random.default_rng(seed), whole=True)
        answer = ask(ORACLE, problem)
        best = reference_cost(problem)
        row = next(iter(problem.fleet.rows()))
        undisturbed = cost_undisturbed(problem, row)
        assert answer.least - 1e-6 * abs(best) - 1e-6 <= best <= answer.cost + 1e-6 * abs(best) + 1e-6
        lost.append(answer.cost - best)
        scope.append(undisturbed - best)
    # 12 loads: what the chosen calls miss, of what the best calls save
    assert sum(scope) > 0
    assert sum(lost) <= 0.03 * sum(scope)


def cost_undisturbed(problem: DispatchProblem, row: CurtailableLoad) -> float:
    idle = row.model_copy(update={"energy_limit_kwh": 0.0})
    return ask(ORACLE, many([idle], problem)).least


@settings(max_examples=60, deadline=None)
@given(
    cost=st.lists(st.integers(-9, -1), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
    most_kwh=st.floats(0, 30),
    most_h=st.floats(0, 6),
)
def test_two_limits_are_met_at_the_duals_value(cost: list[int], seed: int, most_kwh: float, most_h: float) -> None:
    dice = np.random.default_rng(seed)
    value, n = np.array(cost, dtype=float), len(cost)
    energy, hours = dice.choice([1.0, 2.0, dice.uniform(0.1, 9)], n), dice.choice([0.25, 1.0], n)
    rows = np.zeros((5, n + 1))
    found, mu, nu = two_limits(value, energy, hours, n, most_kwh, most_h, *rows)
    taken = rows[0, :n]
    assert ((taken >= 0) & (taken <= 1)).all()
    assert energy @ taken <= most_kwh * (1 + 1e-11) + 1e-12
    assert hours @ taken <= most_h * (1 + 1e-11) + 1e-12
    assert (value * energy) @ taken == pytest.approx(found, rel=1e-10, abs=1e-10)
    assert found == pytest.approx(checker_two_limits(value * energy, energy, hours, most_kwh, most_h), rel=1e-9)
    assert min(mu, nu) >= 0


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.integers(-3, 3), max_size=40), seed=st.integers(0, 1000), share=st.floats(0, 1.2))
def test_a_selection_takes_what_sorting_would(keys: list[int], seed: int, share: float) -> None:
    n = len(keys)
    key, size = np.array(keys, dtype=float), np.random.default_rng(seed).uniform(0.1, 2, n)
    amount = share * size.sum()
    order = np.arange(n, dtype=float)
    full, rest = take_cheapest(key, size, order, n, amount)
    taken = np.zeros(n)
    taken[order[:full].astype(int)] = size[order[:full].astype(int)]
    if full < n:
        taken[int(order[full])] = rest
    sorted_order = np.argsort(key, kind="stable")
    wanted = np.zeros(n)
    left = amount
    for j in sorted_order:
        wanted[j] = min(left, size[j])
        left -= wanted[j]
    assert taken == pytest.approx(wanted, abs=1e-12)


def test_a_sweep_adds_up_what_its_loads_cost_and_repeats_itself() -> None:
    dice = np.random.default_rng(1)
    first = load(dice)
    rows = [next(iter(load(dice, whole=k % 3 == 0).fleet.rows())) for k in range(20)]
    sums, power = swept(ORACLE, many(rows, first))
    assert sums.power_kw == pytest.approx(power.sum(axis=0))
    single = [swept(ORACLE, many([row], first))[0].totals for row in rows]
    assert sums.totals == pytest.approx(np.sum(single, axis=0))
    again, same = swept(ORACLE, many(rows, first))
    assert (same == power).all()
    assert (again.totals == sums.totals).all()


def test_the_baseline_is_the_profile_without_what_returns_of_the_past() -> None:
    problem = load(np.random.default_rng(4))
    (table,) = problem.fleet.tables.values()
    setting = Setting.of(problem)
    units = curtailable_arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    power = np.empty(len(problem.grid))
    base_curtailable(units, 0, power)
    assert power == pytest.approx(problem.profiles["p"] * table.columns["baseline_scale_kw"][0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
@example(seed=124)  # a call that ends where there is nothing to give up: its rest begins there
@example(seed=1130)  # the same of a call that was on before
def test_a_load_that_follows_its_own_schedule_repeats_it(seed: int) -> None:
    problem = load(np.random.default_rng(seed), whole=seed % 2 == 0)
    schedule = ask(ORACLE, problem).power_kw
    assert follow(ORACLE, planned_curtailable, problem, schedule) == pytest.approx(schedule, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_load_that_follows_the_plan_of_another_keeps_its_own_limits_or_does_not_follow(seed: int) -> None:
    problem, other = (
        load(np.random.default_rng(seed), whole=seed % 2 == 0),
        load(np.random.default_rng(seed + 1), whole=seed % 2 == 0),
    )
    if len(other.grid) == len(problem.grid):
        follow(ORACLE, planned_curtailable, problem, ask(ORACLE, other).power_kw)
    dice = np.random.default_rng(seed)
    follow(
        ORACLE, planned_curtailable, problem, ask(ORACLE, problem).power_kw * dice.uniform(0.5, 1.1, len(problem.grid))
    )


def test_a_load_without_a_plan_follows_none() -> None:
    problem = load(np.random.default_rng(1))
    (table,) = problem.fleet.tables.values()
    setting, count = Setting.of(problem), len(problem.grid)
    units = ORACLE.arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    power, work = np.empty(count), np.empty((24, 4 * count + 64))
    known = np.ones(count)
    known[3] = 0.0
    assert planned_curtailable(units, 0, setting.hours, np.ones(count), known, np.ones(count), power, work) < 0
