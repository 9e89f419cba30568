"""Pumped hydro: the least cost is the checker's and the reference's; the schedule keeps every limit and costs it."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.dispatch.admissions import admit
from models.dispatch.check.devices import devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.stores import least_storage
from models.dispatch.fast.pricing.hydro import cheapest_hydro, hydro_arrays, sweep_hydro
from models.dispatch.fast.pricing.storage import energy_storage
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.schedule import energy_kwh
from models.dispatch.reference.structure import entries_of
from models.intervals import FloatArray
from models.resources import Storage
from tests.unit.models.fast.pricing_cases import (
    COMMON,
    START,
    Oracle,
    ask,
    energies,
    many,
    problem_of,
    random_grid,
    random_prices,
    reference_cost,
    swept,
)

HYDRO = Oracle(hydro_arrays, cheapest_hydro, sweep_hydro, least_storage)


def unit(dice: np.random.Generator, **more: Any) -> Storage:
    """A unit with minima, or a mode cost, or both; a reservoir of half an hour to ten hours."""
    power = dice.uniform(20, 200)
    energy = power * float(dice.choice([0.5, dice.uniform(1, 4), 10.0]))
    low = energy * float(dice.choice([0.0, 0.1]))
    start = low + (energy - low) * 0.999 * float(dice.choice([0.0, 1.0, dice.uniform(0, 1)]))
    share, back = float(dice.choice([0.0, 0.4, 1.0])), float(dice.choice([0.0, 0.3, 1.0]))
    cost = 0.0 if share + back > 0 and dice.random() < 0.3 else float(dice.uniform(0.5, 5))
    given: dict[str, Any] = {
        "charge_limit_kw": power,
        "discharge_limit_kw": power * 0.9,
        "energy_min_kwh": low,
        "energy_max_kwh": energy,
        "energy_start_kwh": start,
        "energy_end_min_kwh": energy * float(dice.choice([0.0, 1.0, dice.uniform(0, 1)])),
        "charge_efficiency": float(dice.uniform(0.8, 1.0)),
        "discharge_efficiency": float(dice.uniform(0.8, 1.0)),
        "wear_cost_per_kwh": float(dice.choice([0.0, 0.03])),
        "charge_min_kw": share * power,
        "discharge_min_kw": back * power * 0.9,
        "mode_change_cost": cost,
    }
    return Storage(**COMMON, **{**given, **more})


def case(seed: int, count: int) -> DispatchProblem:
    dice = np.random.default_rng(seed)
    row = unit(dice)
    grid, prices = random_grid(dice, count), random_prices(dice, count)
    power = float(dice.choice([0.0, row.charge_limit_kw, -row.discharge_limit_kw]))
    level = None if dice.random() < 0.5 else float(dice.uniform(0, 1.1)) * row.energy_max_kwh
    return problem_of(row, grid, prices, state=ResourceState(energy_kwh=level, power_kw=power))


def turned_over(problem: DispatchProblem) -> float:
    """What a day of the unit turns over, CNY."""
    (row,) = problem.fleet.rows()
    return max(1.0, float(problem.grid.hours @ np.abs(problem.tariffs["t"])) * row.charge_limit_kw)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000_000), count=st.integers(1, 40))
def test_a_hydro_units_least_cost_is_the_checkers_and_its_schedule_costs_it(seed: int, count: int) -> None:
    problem = case(seed, count)
    answer, scale = ask(HYDRO, problem), turned_over(problem)
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9 * scale)
    assert answer.cost == pytest.approx(answer.least, rel=1e-7, abs=1e-7 * scale)


def test_hydro_schedules_are_the_references_optimum() -> None:
    for seed in range(24):
        problem = case(seed, 14)
        best, slack = reference_cost(problem), 1e-6 * turned_over(problem)
        answer = ask(HYDRO, problem)
        assert answer.least <= best + slack
        assert answer.cost == pytest.approx(best, abs=slack)


def least_by_enumeration(problem: DispatchProblem, stray: FloatArray, plan_kw: FloatArray) -> float:
    """Every sequence of modes, its powers by a linear program: variables p and |p − plan|."""
    horizon = Horizon.of(problem)
    (device,) = devices_of(problem, horizon)
    row, hours, price = device.row, horizon.hours, problem.tariffs["t"]
    count = len(hours)
    before = problem.states["x"].power_kw or 0.0
    one, best = np.eye(count), np.inf
    bounds_of = {0: (0, 0), 1: (row.charge_min_kw, row.charge_limit_kw)}
    bounds_of[-1] = (-row.discharge_limit_kw, -row.discharge_min_kw)
    factor = {0: 0.0, 1: row.charge_efficiency, -1: 1 / row.discharge_efficiency}
    for modes in product([0, 1, -1], repeat=count):
        change = np.tril(np.tile(hours * [factor[m] for m in modes], (count, 1)))
        rows = np.vstack([change, -change, -change[-1:]])
        full = np.hstack([rows, 0 * rows])
        apart = np.vstack([np.hstack([one, -one]), np.hstack([-one, -one])])
        start = row.energy_start_kwh
        limits = np.concatenate(
            [
                np.full(count, row.energy_max_kwh - start),
                np.full(count, start - row.energy_min_kwh),
                [start - row.energy_end_min_kwh],
                plan_kw,
                -plan_kw,
            ]
        )
        wear = row.wear_cost_per_kwh * np.array(modes)
        cost = np.concatenate([hours * (price + wear), hours * stray])
        bounds = [bounds_of[m] for m in modes] + [(0, None)] * count
        found = linprog(cost, np.vstack([full, apart]), limits, bounds=bounds, method="highs")
        if found.status == 0:
            changes = np.count_nonzero(np.diff([int(np.sign(before)), *modes]))
            best = min(best, found.fun + changes * row.mode_change_cost)
    return best


@pytest.mark.parametrize("seed", range(10))
def test_in_real_time_a_hydro_unit_weighs_straying(seed: int) -> None:
    dice = np.random.default_rng(seed + 100)
    problem = case(seed, 4)
    (row,) = problem.fleet.rows()
    stray = dice.choice([0.0, 0.1, 3.0], 4)
    plan = dice.choice([0.0, 0.6 * row.charge_limit_kw, -0.7 * row.discharge_limit_kw], 4)
    answer = ask(HYDRO, problem, stray, plan)
    scale = turned_over(problem)
    assert answer.least == pytest.approx(answer.checker_least, rel=1e-9, abs=1e-9 * scale)
    best = least_by_enumeration(problem, stray, plan)
    assert answer.least <= best + 1e-7 * scale
    assert answer.cost == pytest.approx(best, rel=1e-6, abs=1e-6 * scale)


def test_a_pump_stands_still_rather_than_pay_for_two_changes_of_mode() -> None:
    dice = np.random.default_rng(0)
    fixed = {
        "charge_limit_kw": 100.0, "discharge_limit_kw": 100.0, "charge_min_kw": 50.0, "discharge_min_kw": 50.0,
        "energy_min_kwh": 0.0, "energy_max_kwh": 400.0, "energy_start_kwh": 100.0, "energy_end_min_kwh": 100.0,
        "charge_efficiency": 1.0, "discharge_efficiency": 1.0, "wear_cost_per_kwh": 0.0,
    }  # fmt: skip
    grid = random_grid(np.random.default_rng(1), 4)
    prices = np.array([0.2, 0.2, 1.0, 1.0])
    grid = type(grid).regular(START, grid.edges[1] - grid.edges[0], 4)
    earned = 2 * float(grid.hours[0]) * 100 * 0.8
    # Pumping begins, turns round and (at the horizon's end) need not stop: two changes.
    for cost, runs in ((0.49 * earned, True), (0.51 * earned, False)):
        answer = ask(HYDRO, problem_of(unit(dice, **fixed, mode_change_cost=cost), grid, prices))
        assert bool(answer.power_kw.any()) is runs
        assert answer.cost == pytest.approx(2 * cost - earned if runs else 0.0)


def test_a_pump_too_strong_for_its_reservoir_does_what_admissions_say_it_can() -> None:
    dice = np.random.default_rng(0)
    fixed = {
        "charge_limit_kw": 100.0, "charge_min_kw": 100.0, "energy_min_kwh": 0.0, "energy_max_kwh": 130.0,
        "energy_start_kwh": 0.0, "energy_end_min_kwh": 130.0, "charge_efficiency": 1.0,
    }  # fmt: skip
    grid = random_grid(np.random.default_rng(1), 1)
    grid = type(grid).regular(START, (grid.edges[1] - grid.edges[0]) * 4, 3)
    problem = problem_of(unit(dice, **fixed), grid, np.full(3, 0.5))
    _, admissions = admit(problem)
    assert [each.limit for each in admissions] == ["energy_end_min_kwh"]
    answer = ask(HYDRO, problem)
    assert float(grid.hours @ answer.power_kw) == pytest.approx(admissions[0].granted)


def test_a_sweep_over_hydro_adds_up_and_its_levels_are_the_references() -> None:
    dice = np.random.default_rng(7)
    grid = random_grid(dice, 12)
    problem = many([unit(dice) for _ in range(12)], problem_of(unit(dice), grid, random_prices(dice, 12)))
    sums, power = swept(HYDRO, problem)
    assert sums.power_kw == pytest.approx(power.sum(axis=0))
    again, twice = swept(HYDRO, problem)
    assert np.array_equal(power, twice)
    assert np.array_equal(sums.totals, again.totals)
    admitted = admit(problem)[0]
    (table,) = admitted.fleet.tables.values()
    setting = Setting.of(problem)
    units = hydro_arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    levels = energies(energy_storage, units, power)
    for k, entry in enumerate(entries_of(admitted)):
        assert levels[k] == pytest.approx(energy_kwh(entry, power[k], admitted), rel=1e-12, abs=1e-9)
    lone = [ask(HYDRO, replace(problem, fleet=many([row], problem).fleet)) for row in problem.fleet.rows()]
    assert sums.totals[0] == pytest.approx(sum(each.least for each in lone))
    assert sums.totals[1] == pytest.approx(sum(each.cost for each in lone))
