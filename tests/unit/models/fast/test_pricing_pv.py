"""Photovoltaic plants: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check.oracles.plants import least_pv
from models.dispatch.fast.pricing.pv import cheapest_pv, pv_arrays, sweep_pv
from models.dispatch.problem import DispatchProblem
from models.resources import Pv
from tests.unit.models.fast.pricing_cases import (
    COMMON,
    Oracle,
    ask,
    many,
    problem_of,
    random_grid,
    random_prices,
    reference_cost,
    swept,
)

ORACLE = Oracle(pv_arrays, cheapest_pv, sweep_pv, least_pv)


def plant(dice: np.random.Generator, count: int = 12) -> DispatchProblem:
    row = Pv(
        **COMMON,
        available_profile="p",
        available_scale_kw=float(dice.choice([0.0, dice.uniform(1, 90)])),
        curtail_cost_per_kwh=float(dice.choice([0.0, 0.2, dice.uniform(0, 0.4)])),
    )
    grid = random_grid(dice, count)
    sun = np.clip(dice.uniform(-0.3, 1.0, count), 0, None)
    return problem_of(row, grid, random_prices(dice, count), profile=sun)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_plant_costs_what_the_checker_says_straying_included(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = plant(dice)
    stray = dice.choice([0.0, 0.1, 0.7], 12)
    answer = ask(ORACLE, problem, stray, dice.uniform(-80, 10, 12))
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_plant_costs_what_its_equations_say(seed: int) -> None:
    problem = plant(np.random.default_rng(seed))
    answer = ask(ORACLE, problem)
    assert answer.least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


def test_a_sweep_adds_up_what_its_plants_cost() -> None:
    dice = np.random.default_rng(1)
    first = plant(dice)
    rows = [next(iter(plant(dice).fleet.rows())) for _ in range(20)]
    sums, power = swept(ORACLE, many(rows, first))
    assert sums.power_kw == pytest.approx(power.sum(axis=0))
    single = [swept(ORACLE, many([row], first))[0].totals for row in rows]
    assert sums.totals == pytest.approx(np.sum(single, axis=0))
