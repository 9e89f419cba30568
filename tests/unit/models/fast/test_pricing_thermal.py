"""Thermal loads: the fast oracle against the checker's oracle, the checker's limits and the reference solver."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.dispatch.check.devices import Device
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.stores import Least
from models.dispatch.check.thermal import store_factors, store_start_kwh
from models.dispatch.fast.pricing.thermal import (
    base_thermal,
    cheapest_thermal,
    energy_thermal,
    own_cost_thermal,
    thermal_arrays,
)
from models.dispatch.problem import DispatchProblem, ResourceState
from models.fleet import Fleet
from models.resources import ThermalLoad
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


def a_load(dice: np.random.Generator, count: int, decays: tuple[float, ...] = (0.0, 0.05, 0.6)) -> DispatchProblem:
    size = float(dice.choice([1.0, 40.0, 3000.0]))
    low, high = dice.uniform(0, 2 * size, 2)
    load = ThermalLoad(
        **COMMON,
        baseline_profile="p",
        baseline_scale_kw=size,
        increase_limit_kw=float(dice.choice([0.0, dice.uniform(0, size)], p=[0.1, 0.9])),
        decrease_limit_kw=float(dice.choice([0.0, dice.uniform(0, size)], p=[0.1, 0.9])),
        store_low_kwh=low,
        store_high_kwh=high,
        store_end_min_kwh=float(dice.choice([-low, 0.0, dice.uniform(-low, high), high])),
        decay_per_hour=float(dice.choice(decays)),
        discomfort_cost_per_kwh=float(dice.choice([0.0, dice.uniform(0, 0.5)])),
    )
    measured = ResourceState(store_kwh=float(dice.uniform(-3 * size, 3 * size))) if dice.random() < 0.5 else None
    profile = np.clip(dice.uniform(-0.2, 1.0, count), 0, None)
    return a_problem(load, a_grid(dice, count), some_prices(dice, count), measured, profile)


def near_of(dice: np.random.Generator, problem: DispatchProblem) -> Near:
    count, size = len(problem.grid), next(iter(problem.fleet.rows())).baseline_scale_kw
    return dice.choice([0.0, 0.05, 0.6], count), size * dice.uniform(-0.2, 2.0, count)


def asked(problem: DispatchProblem, near: Near | None = None) -> Answer:
    return ask(thermal_arrays, cheapest_thermal, problem, near)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 3, 12, 96]))
def test_a_thermal_load_costs_what_the_checker_says(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    # an end level that is only just reachable, from days before, is a problem without a well-defined answer
    problem = a_load(dice, count, decays=(0.0, 0.05, 0.6) if count < 96 else (0.0, 0.02, 0.1))
    answer = asked(problem, near_of(dice, problem) if dice.random() < 0.5 else None)
    assert answer.exact
    assert answer.least == pytest.approx(answer.checker, rel=1e-9, abs=1e-8)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-8)


def least_of_linear_program(device: Device, prices: Prices, horizon: Horizon) -> Least:
    """T1 to T7 as one linear program."""
    load, hours, count = device.row, horizon.hours, len(horizon.hours)
    kept, gain = store_factors(load, horizon)
    base = horizon.profiles["p"] * load.baseline_scale_kw
    cost = [hours * prices.per_kwh, hours * (load.discomfort_cost_per_kwh - prices.per_kwh), np.zeros(count)]
    store = np.diag(kept[1:], -1) - np.eye(count)
    start = np.zeros(count)
    start[0] = -kept[0] * store_start_kwh(load, horizon)
    bounds = [(0, load.increase_limit_kw)] * count + [(0, min(load.decrease_limit_kw, each)) for each in base]
    bounds += [(-load.store_low_kwh, load.store_high_kwh)] * count
    equations = np.hstack([np.diag(gain), -np.diag(gain), store])
    found = linprog(np.concatenate(cost), A_eq=equations, b_eq=start, bounds=bounds)
    assert found.status == 0
    return Least(float(found.fun + (hours * prices.per_kwh) @ base))


@pytest.mark.parametrize("seed", range(30))
def test_a_store_that_forgets_within_minutes_is_priced_as_exactly(seed: int) -> None:
    # its value function spans hundreds of orders of magnitude, which neither side may lose itself in
    load = a_load(np.random.default_rng(seed), 96, decays=(10.0, 100.0, 2000.0))
    row = next(iter(load.fleet.rows()))
    problem = replace(load, fleet=Fleet.from_rows([row.model_copy(update={"store_end_min_kwh": -row.store_low_kwh})]))
    answer = ask(thermal_arrays, cheapest_thermal, problem, least_of=least_of_linear_program)
    assert answer.cost == pytest.approx(answer.least, rel=1e-9, abs=1e-8)
    assert answer.least == pytest.approx(answer.checker, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_a_thermal_load_costs_what_its_equations_say(seed: int) -> None:
    problem = a_load(np.random.default_rng(seed), 12)
    assert asked(problem).least == pytest.approx(reference_cost(problem), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_thermal_load_near_its_plan_costs_what_its_equations_say(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = a_load(dice, 8)
    near = (np.full(8, 0.07), near_of(dice, problem)[1])
    assert asked(problem, near).least == pytest.approx(reference_cost(problem, near), rel=1e-6, abs=1e-6)


def test_what_the_arrays_say_of_a_schedule_is_what_the_checker_says() -> None:
    for seed in range(10):
        problem = a_load(np.random.default_rng(seed), 24)
        answer = asked(problem)
        hours, price = problem.grid.hours, problem.tariffs["t"]
        assert energies(energy_thermal, answer.units, answer.power_kw[None])[0] == pytest.approx(
            answer.energy_kwh, abs=1e-9
        )
        own = answer.cost - float(hours * price @ answer.power_kw)
        assert own_cost_thermal(answer.units, hours, answer.power_kw[None])[0] == pytest.approx(own, abs=1e-6)


def test_undisturbed_it_draws_profile_times_scale() -> None:
    problem = a_load(np.random.default_rng(3), 6)
    power = np.empty(6)
    base_thermal(asked(problem).units, 0, power)
    assert power == pytest.approx(problem.profiles["p"] * next(iter(problem.fleet.rows())).baseline_scale_kw)
