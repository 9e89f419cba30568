"""Contiguous runs: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check.oracles.plants import least_shiftable
from models.dispatch.fast.pricing.runs import cheapest_run, run_arrays, sweep_runs
from models.dispatch.problem import DispatchProblem, ResourceState
from models.intervals import IntervalGrid
from models.resources import ShiftableLoad
from tests.unit.models.fast.pricing_cases import (
    COMMON,
    START,
    Oracle,
    ask,
    at,
    many,
    problem_of,
    random_grid,
    random_prices,
    reference_cost,
    swept,
)

ORACLE = Oracle(run_arrays, cheapest_run, sweep_runs, least_shiftable)
RUNS = {"short": np.array([1.0, 0.5]), "long": np.array([0.6, 1.0, 0.0, 0.4, 0.2]), "flat": np.ones(1)}


def load(dice: np.random.Generator, count: int = 14) -> DispatchProblem:
    grid = random_grid(dice, count)
    end = float(grid.offsets_h[-1])
    run = str(dice.choice(list(RUNS)))
    shape = RUNS[run]
    power = dice.uniform(1, 80)
    step = float(dice.choice([0.25, 0.1, 0.7, dice.uniform(0.02, 0.2) * end]))
    length = step * len(shape)
    opens = float(dice.choice([-1.0, 0.0, 0.4 * end, 0.95 * end, end + 0.5]))
    closes = opens + length * float(dice.choice([1.0, 1.5, 3.0])) + float(dice.choice([0.0, 0.5 * end]))
    if dice.random() < 0.05:
        opens, closes = -3.0 - length, -1.0
    energy = power * step * float(shape.sum())
    preferred = at(opens + dice.uniform(0, 0.9) * (closes - opens)) if dice.random() < 0.7 else None
    row = ShiftableLoad(
        **COMMON,
        window_start=at(opens),
        window_end=at(closes + 1e-6),
        energy_kwh=energy,
        power_min_kw=0.0,
        power_max_kw=power,
        preferred_start=preferred,
        run_profile=run,
        cost_per_kwh=float(dice.choice([0.0, 0.1, dice.uniform(0, 1)])),
    )
    state = None
    if dice.random() < 0.4:
        on = bool(dice.random() < 0.5)
        done = 0.0 if on or dice.random() < 0.5 else energy
        state = ResourceState(on=on, hours_in_state_h=float(dice.uniform(0, 1.2 * length)), delivered_kwh=done)
    return problem_of(row, grid, random_prices(dice, count), state=state, runs=RUNS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), strays=st.booleans())
def test_a_run_costs_what_the_checker_says_straying_included(seed: int, strays: bool) -> None:
    dice = np.random.default_rng(seed)
    problem = load(dice)
    stray = dice.choice([0.0, 0.1, 0.7], 14) if strays else None
    answer = ask(ORACLE, problem, stray, dice.uniform(-5, 80, 14) if strays else None)
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-8)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_a_run_costs_what_its_equations_say(seed: int) -> None:
    problem = load(np.random.default_rng(seed))
    assert ask(ORACLE, problem).least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


def test_of_equal_starts_the_first_is_taken() -> None:
    problem = load(np.random.default_rng(3))
    row = next(iter(problem.fleet.rows())).model_copy(
        update={"window_start": at(0), "window_end": at(6), "preferred_start": None, "run_profile": "flat"}
    )
    row = row.model_copy(update={"energy_kwh": row.power_max_kw})
    hourly = IntervalGrid.regular(START, timedelta(hours=1), 6)
    answer = ask(ORACLE, problem_of(row, hourly, np.full(6, 0.5), runs=RUNS))
    assert answer.power_kw[0] > 0
    assert answer.least == pytest.approx(0.5 * row.power_max_kw)


def test_a_sweep_adds_up_what_its_loads_cost() -> None:
    dice = np.random.default_rng(1)
    first = load(dice)
    rows = [next(iter(load(dice).fleet.rows())) for _ in range(20)]
    sums, power = swept(ORACLE, many(rows, first))
    assert sums.power_kw == pytest.approx(power.sum(axis=0))
    single = [swept(ORACLE, many([row], first))[0].totals for row in rows]
    assert sums.totals == pytest.approx(np.sum(single, axis=0))
