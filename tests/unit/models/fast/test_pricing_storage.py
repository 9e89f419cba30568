"""Batteries: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.pricing.storage import cheapest_storage, energy_storage, storage_arrays
from models.dispatch.problem import DispatchProblem, ResourceState
from models.resources import Storage
from tests.unit.models.fast.pricing_cases import energies
from tests.unit.models.fast.store_cases import (
    COMMON,
    Answer,
    a_grid,
    a_problem,
    ask,
    reference_cost,
    some_prices,
)

Near = tuple[np.ndarray, np.ndarray]


def a_battery(dice: np.random.Generator, count: int, low: float = -0.5, lossless: float = 0.3) -> DispatchProblem:
    size = float(dice.choice([1.0, 10.0, 5000.0]))
    floor, start, ceiling = np.sort(dice.uniform(0, 4 * size, 3))
    efficiency = (1.0, 1.0) if dice.random() < lossless else tuple(dice.uniform(0.7, 1, 2))
    unit = Storage(
        **COMMON,
        charge_limit_kw=float(dice.choice([0.0, size, dice.uniform(0, size)], p=[0.1, 0.6, 0.3])),
        discharge_limit_kw=float(dice.choice([0.0, size, dice.uniform(0, size)], p=[0.1, 0.6, 0.3])),
        energy_min_kwh=floor,
        energy_max_kwh=ceiling,
        energy_start_kwh=float(dice.choice([floor, start, ceiling])),
        energy_end_min_kwh=float(dice.choice([0.0, start, ceiling])),
        charge_efficiency=efficiency[0],
        discharge_efficiency=efficiency[1],
        wear_cost_per_kwh=float(dice.choice([0.0, 0.05, dice.uniform(0, 0.5)])),
    )
    measured = ResourceState(energy_kwh=float(dice.uniform(0, 5 * size))) if dice.random() < 0.5 else None
    return a_problem(unit, a_grid(dice, count), some_prices(dice, count, low), measured)


def near_of(dice: np.random.Generator, problem: DispatchProblem) -> Near:
    unit = next(iter(problem.fleet.rows()))
    count = len(problem.grid)
    widest = max(unit.charge_limit_kw, unit.discharge_limit_kw, 1.0)
    return dice.choice([0.0, 0.05, 0.6], count), widest * dice.choice([-1.5, -0.4, 0.0, 0.3, 0.8, 1.2], count)


def asked(problem: DispatchProblem, near: Near | None = None) -> Answer:
    return ask(storage_arrays, cheapest_storage, problem, near)


def nothing_or(dice: np.random.Generator, problem: DispatchProblem) -> Near | None:
    return near_of(dice, problem) if dice.random() < 0.5 else None


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 2, 7, 24, 96]))
def test_a_battery_costs_what_the_checker_says(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_battery(dice, count)
    answer = asked(problem, nothing_or(dice, problem))
    assert answer.least == pytest.approx(answer.checker, rel=1e-9, abs=1e-9)
    if answer.exact:
        assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([2, 7, 24]))
def test_far_below_zero_the_least_cost_is_a_bound_and_the_schedule_still_feasible(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_battery(dice, count, low=-6.0, lossless=0.0)
    answer = asked(problem, nothing_or(dice, problem))
    assert answer.least == pytest.approx(answer.checker, rel=1e-9, abs=1e-9)
    assert answer.cost >= answer.least - 1e-9 * max(1.0, abs(answer.least))


@pytest.mark.parametrize("seed", range(6))
def test_a_battery_costs_what_its_equations_say(seed: int) -> None:
    problem = a_battery(np.random.default_rng(seed), 12, low=0.0)
    answer = asked(problem)
    assert answer.exact
    assert answer.least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_battery_that_stays_near_its_plan_costs_what_its_equations_say(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_battery(dice, 8, low=0.0)
    # straying makes a price of less than 0.07 negative, and a battery paid to waste is another matter
    problem = replace(problem, tariffs={"t": np.maximum(problem.tariffs["t"], 0.08)})
    near = (np.full(8, 0.07), near_of(dice, problem)[1])
    answer = asked(problem, near)
    assert answer.exact
    assert answer.least == pytest.approx(reference_cost(problem, near), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_battery_paid_to_waste_lies_between_the_bound_and_its_schedule(seed: int) -> None:
    problem = a_battery(np.random.default_rng(seed), 8, low=-4.0, lossless=0.0)
    answer, best = asked(problem), reference_cost(problem)
    slack = 1e-6 * max(1.0, abs(best))
    assert answer.least - slack <= best <= answer.cost + slack


def test_levels_are_those_that_the_checker_finds() -> None:
    answer = asked(a_battery(np.random.default_rng(5), 24))
    assert energies(energy_storage, answer.units, answer.power_kw[None])[0] == pytest.approx(answer.energy_kwh)
