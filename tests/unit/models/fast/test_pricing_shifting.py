"""Shiftable loads without a shape: the fast oracle against the checker's, the checker's limits and the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check.oracles.plants import least_shiftable
from models.dispatch.fast.pricing.shifting import cheapest_shifting, shifting_arrays, sweep_shifting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.resources import ShiftableLoad
from tests.unit.models.fast.pricing_cases import (
    COMMON,
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

ORACLE = Oracle(shifting_arrays, cheapest_shifting, sweep_shifting, least_shiftable)


def load(dice: np.random.Generator, count: int = 14) -> DispatchProblem:
    grid = random_grid(dice, count)
    end = float(grid.offsets_h[-1])
    opens = float(dice.choice([-1.0, 0.0, 0.4 * end, 0.95 * end]))
    closes = float(dice.choice([0.7 * end, end, 1.3 * end]))
    if closes <= opens:
        closes = opens + 1.0
    if dice.random() < 0.05:
        opens, closes = -3.0, -1.0
    power = dice.uniform(1, 80)
    low = float(dice.choice([0.0, 0.1, 0.4])) * power
    energy = dice.uniform(low, power) * (closes - opens)
    preferred = at(opens + dice.uniform(0, 0.9) * (closes - opens)) if dice.random() < 0.7 else None
    row = ShiftableLoad(
        **COMMON,
        window_start=at(opens),
        window_end=at(closes),
        energy_kwh=energy,
        power_min_kw=low,
        power_max_kw=power,
        preferred_start=preferred,
        cost_per_kwh=float(dice.choice([0.0, 0.1, dice.uniform(0, 1)])),
    )
    state = ResourceState(delivered_kwh=float(dice.uniform(0, 1.2) * energy)) if dice.random() < 0.4 else None
    return problem_of(row, grid, random_prices(dice, count), state=state)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), strays=st.booleans())
def test_a_spread_load_costs_what_the_checker_says_straying_included(seed: int, strays: bool) -> None:
    dice = np.random.default_rng(seed)
    problem = load(dice)
    stray = dice.choice([0.0, 0.1, 0.7], 14) if strays else None
    answer = ask(ORACLE, problem, stray, dice.uniform(-5, 80, 14) if strays else None)
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_spread_load_costs_what_its_equations_say(seed: int) -> None:
    problem = load(np.random.default_rng(seed))
    assert ask(ORACLE, problem).least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


def test_a_sweep_adds_up_what_its_loads_cost() -> None:
    dice = np.random.default_rng(1)
    first = load(dice)
    rows = [next(iter(load(dice).fleet.rows())) for _ in range(20)]
    sums, power = swept(ORACLE, many(rows, first))
    assert sums.power_kw == pytest.approx(power.sum(axis=0))
    single = [swept(ORACLE, many([row], first))[0].totals for row in rows]
    assert sums.totals == pytest.approx(np.sum(single, axis=0))
