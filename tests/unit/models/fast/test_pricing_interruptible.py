"""Interruptible loads: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check.oracles.loads import least_interruptible
from models.dispatch.fast.pricing.interruptible import (
    base_interruptible,
    cheapest_interruptible,
    interruptible_arrays,
    planned_interruptible,
    sweep_interruptible,
)
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.intervals import IntervalGrid
from models.resources import InterruptibleLoad
from tests.unit.models.fast.pricing_cases import (
    COMMON,
    START,
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

ORACLE = Oracle(interruptible_arrays, cheapest_interruptible, sweep_interruptible, least_interruptible)


def load(dice: np.random.Generator, count: int = 14) -> DispatchProblem:
    scale = dice.uniform(20, 150)
    share = float(dice.choice([0.0, 0.5, dice.uniform(0.1, 1.5)]))
    shortest = float(dice.choice([0.0, 0.25, 1.0, 1.7]))
    row = InterruptibleLoad(
        **COMMON,
        rebound_share=share,
        rebound_hours_h=float(dice.choice([0.4, 1.0, 2.5])) if share else 0.0,
        baseline_profile="p",
        baseline_scale_kw=scale,
        block_kw=scale * float(dice.choice([0.2, 0.8, 2.0])),
        cost_per_kwh=dice.uniform(0.1, 1.5),
        shortest_h=shortest,
        longest_h=max(0.1, shortest + float(dice.choice([0.0, 0.5, 2.0]))),
        calls_per_day=int(dice.choice([0, 1, 2, 3, 20])),
        rest_h=float(dice.choice([0.0, 0.5, 2.0])),
        notice_h=float(dice.choice([0.0, 0.7])),
    )
    on = dice.random() < 0.4
    state = None
    if dice.random() < 0.6:
        state = ResourceState(
            on=on,
            hours_in_state_h=float(dice.choice([0.25, 1.0, dice.uniform(0, 3)])),
            calls_used=int(dice.integers(0, 3)),
            curtailed_history=((0.0, 0.5, 12.0), (0.75, 0.25, 8.0)) if dice.random() < 0.7 else (),
        )
    issued = float(dice.choice([-2.0, 0.5])) if dice.random() < 0.4 else None
    grid = random_grid(dice, count)
    profile = dice.uniform(0.2, 1.2, count)
    return problem_of(row, grid, random_prices(dice, count, 1.5), profile=profile, state=state, issued_h=issued)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_load_costs_what_the_checker_says_and_its_schedule_costs_that(seed: int) -> None:
    answer = ask(ORACLE, load(np.random.default_rng(seed)))
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_a_load_costs_what_its_equations_say(seed: int) -> None:
    problem = load(np.random.default_rng(seed), 10)
    assert ask(ORACLE, problem).least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("calls", [30, 60, 100])
def test_more_calls_than_there_is_room_for_are_bounded_and_a_few_are_not_made(calls: int) -> None:
    count = 140
    dice = np.random.default_rng(5)
    prices = np.where(np.arange(count) % 2, 3.0, 0.1) + dice.uniform(0, 0.1, count)
    problem = load(dice, count)
    row = next(iter(problem.fleet.rows()))
    update = {
        "calls_per_day": calls, "shortest_h": 0.0, "longest_h": 1.0, "rest_h": 0.0, "notice_h": 0.0,
        "cost_per_kwh": 1.0, "rebound_share": 0.0,
    }  # fmt: skip
    grid = IntervalGrid.regular(START, timedelta(minutes=15), count)
    made = problem_of(row.model_copy(update=update), grid, prices)
    answer = ask(ORACLE, made)
    if calls == 60:
        assert answer.least < answer.checker_least < answer.cost
    else:
        assert answer.least == pytest.approx(answer.checker_least)
        assert answer.cost == pytest.approx(answer.least)


def test_a_sweep_adds_up_what_its_loads_cost_and_repeats_itself() -> None:
    dice = np.random.default_rng(1)
    first = load(dice)
    rows = [next(iter(load(dice).fleet.rows())) for _ in range(20)]
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
    units = interruptible_arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    power = np.empty(len(problem.grid))
    base_interruptible(units, 0, power)
    assert power == pytest.approx(problem.profiles["p"] * table.columns["baseline_scale_kw"][0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_load_that_follows_its_own_schedule_repeats_it(seed: int) -> None:
    problem = load(np.random.default_rng(seed))
    schedule = ask(ORACLE, problem).power_kw
    assert follow(ORACLE, planned_interruptible, problem, schedule) == pytest.approx(schedule, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_load_that_follows_the_plan_of_another_keeps_its_own_limits_or_does_not_follow(seed: int) -> None:
    problem, other = load(np.random.default_rng(seed)), load(np.random.default_rng(seed + 1))
    if len(other.grid) == len(problem.grid):
        follow(ORACLE, planned_interruptible, problem, ask(ORACLE, other).power_kw)
    dice = np.random.default_rng(seed)
    follow(
        ORACLE,
        planned_interruptible,
        problem,
        ask(ORACLE, problem).power_kw * dice.uniform(0.5, 1.1, len(problem.grid)),
    )


def test_a_load_without_a_plan_follows_none() -> None:
    problem = load(np.random.default_rng(1))
    (table,) = problem.fleet.tables.values()
    setting, count = Setting.of(problem), len(problem.grid)
    units = ORACLE.arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    power, work = np.empty(count), np.empty((24, 4 * count + 64))
    known = np.ones(count)
    known[3] = 0.0
    assert planned_interruptible(units, 0, setting.hours, np.ones(count), known, np.ones(count), power, work) < 0
