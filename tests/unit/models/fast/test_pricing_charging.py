"""Stays of cars: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.pricing.charging import charging_arrays, cheapest_charging, energy_charging
from models.dispatch.problem import DispatchProblem, ResourceState
from models.resources import EvSession
from tests.unit.models.fast.pricing_cases import energies
from tests.unit.models.fast.store_cases import (
    COMMON,
    Answer,
    a_grid,
    a_problem,
    ask,
    at,
    reference_cost,
    some_prices,
)

Near = tuple[np.ndarray, np.ndarray]


def a_stay(
    dice: np.random.Generator, count: int, *, both_ways: bool, low: float = -0.5, lossless: float = 0.3
) -> DispatchProblem:
    """A car that came before, comes within or after the horizon, and leaves within or after it."""
    grid = a_grid(dice, count)
    span = grid.offsets_h[-1]
    arrival = float(dice.choice([-2.0, 0.0, dice.uniform(-1, span), dice.choice(grid.offsets_h), span + 1]))
    hours = float(dice.choice([0.2, dice.uniform(0.1, span + 2), span]))
    hours = max(hours, 0.1 - arrival)
    limit, size = float(dice.choice([7.0, 11.0, 120.0])), float(dice.uniform(5, 90))
    started = float(dice.uniform(0, 1)) * size
    efficiency = (1.0, 1.0) if dice.random() < lossless else tuple(dice.uniform(0.7, 1, 2))
    more: dict[str, Any] = {}
    if both_ways:
        more = {
            "discharge_limit_kw": float(dice.choice([limit, 0.5 * limit])),
            "discharge_efficiency": efficiency[1],
            "battery_capacity_kwh": size,
            "battery_start_kwh": started,
            "wear_cost_per_kwh": float(dice.choice([0.0, dice.uniform(0, 0.3)])),
        }
    row = EvSession(
        **COMMON,
        session_id="s",
        arrival=at(arrival),
        departure=at(arrival + hours),
        energy_needed_kwh=float(dice.choice([0.0, dice.uniform(0, 0.9), 0.9])) * (size - started),
        charge_limit_kw=limit,
        charge_efficiency=efficiency[0],
        **more,
    )
    state = None
    if dice.random() < 0.5:
        level = float(dice.uniform(0, 1.1 * size))
        state = ResourceState(energy_kwh=level, delivered_kwh=float(dice.uniform(0, 0.5 * size)))
    return a_problem(row, grid, some_prices(dice, count, low), state)


def near_of(dice: np.random.Generator, problem: DispatchProblem) -> Near:
    count = len(problem.grid)
    return dice.choice([0.0, 0.05, 0.6], count), dice.choice([-9.0, -3.0, 0.0, 2.0, 6.0, 15.0], count)


def asked(problem: DispatchProblem, near: Near | None = None) -> Answer:
    return ask(charging_arrays, cheapest_charging, problem, near)


def nothing_or(dice: np.random.Generator, problem: DispatchProblem) -> Near | None:
    return near_of(dice, problem) if dice.random() < 0.5 else None


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 3, 12, 96]), both_ways=st.booleans())
def test_a_stay_costs_what_the_checker_says(seed: int, count: int, both_ways: bool) -> None:
    dice = np.random.default_rng(seed)
    problem = a_stay(dice, count, both_ways=both_ways)
    answer = asked(problem, nothing_or(dice, problem))
    assert answer.least == pytest.approx(answer.checker, rel=1e-9, abs=1e-9)
    assert answer.exact or both_ways
    if answer.exact:
        assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([3, 12, 24]))
def test_far_below_zero_the_least_cost_is_a_bound_and_the_schedule_still_feasible(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_stay(dice, count, both_ways=True, low=-6.0, lossless=0.0)
    answer = asked(problem, nothing_or(dice, problem))
    assert answer.least == pytest.approx(answer.checker, rel=1e-9, abs=1e-9)
    assert answer.cost >= answer.least - 1e-9 * max(1.0, abs(answer.least))


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_stay_costs_what_its_equations_say(seed: int, both_ways: bool) -> None:
    problem = a_stay(np.random.default_rng(seed), 10, both_ways=both_ways, low=0.0)
    answer = asked(problem)
    assert answer.exact
    assert answer.least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_stay_that_keeps_near_its_plan_costs_what_its_equations_say(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_stay(dice, 8, both_ways=seed % 2 == 0, low=0.0)
    # straying makes a price of less than 0.07 negative, and a battery paid to waste is another matter
    problem = replace(problem, tariffs={"t": np.maximum(problem.tariffs["t"], 0.08)})
    near = (np.full(8, 0.07), near_of(dice, problem)[1])
    answer = asked(problem, near)
    assert answer.exact
    assert answer.least == pytest.approx(reference_cost(problem, near), rel=1e-6, abs=1e-6)


def test_a_car_that_has_left_does_nothing() -> None:
    dice = np.random.default_rng(2)
    row = next(iter(a_stay(dice, 4, both_ways=True).fleet.rows()))
    gone = row.model_copy(update={"arrival": at(-5), "departure": at(0)})
    problem = a_problem(gone, a_grid(dice, 4), np.array([-1.0, 1.0, 0.5, 2.0]), ResourceState(energy_kwh=3.0))
    answer = asked(problem, near_of(dice, problem))
    assert answer.least == answer.checker == 0.0
    assert not answer.power_kw.any()


@pytest.mark.parametrize("both_ways", [False, True])
def test_energies_are_those_that_the_checker_finds_and_nothing_where_no_car_is_plugged_in(both_ways: bool) -> None:
    for seed in range(10):
        answer = asked(a_stay(np.random.default_rng(seed), 24, both_ways=both_ways))
        shown = energies(energy_charging, answer.units, answer.power_kw[None])[0]
        assert shown == pytest.approx(answer.energy_kwh, nan_ok=True)
