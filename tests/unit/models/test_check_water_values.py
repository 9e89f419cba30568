"""The checker's bound for pumped hydro at water values: the solver's own figure, and valid whatever a plan claims."""

from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.check import check_plan
from models.dispatch.check.devices import devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.stores import least_storage
from models.dispatch.check.oracles.water import CELLS, MOST_PER_KWH, least_by_cells
from models.dispatch.fast import water as fast
from models.dispatch.fast.pricing.hydro import hydro_arrays
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, RealTimeTerms, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.fleet import Fleet
from models.intervals import FloatArray
from models.plan import DispatchPlan
from tests.unit.models.fast.pricing_cases import problem_of, random_grid, random_prices
from tests.unit.models.fast.test_pricing_hydro import case, unit


def terms(dice: np.random.Generator, problem: DispatchProblem) -> tuple[FloatArray, FloatArray]:
    """Cost of straying (half of the time none at all), and the plan, here and there out of reach."""
    (row,) = problem.fleet.rows()
    count = len(problem.grid)
    stray = dice.choice([0.0, 0.1, 3.0], count) * float(dice.choice([0.0, 1.0]))
    return stray, dice.choice([0.0, 0.6 * row.charge_limit_kw, -0.7 * row.discharge_limit_kw, 1e4], count)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("cells", [1, 37, fast.CELLS])
def test_the_checker_and_the_solver_find_the_same_bound(seed: int, cells: int) -> None:
    dice = np.random.default_rng(seed)
    problem = case(seed, int(dice.integers(1, 24)))
    stray, plan_kw = terms(dice, problem)
    (table,) = admit(problem)[0].fleet.tables.values()
    setting, horizon, price = Setting.of(problem), Horizon.of(problem), problem.tariffs["t"]
    states = setting.state_of(table.columns["resource_id"])
    reservoir = fast.reservoir_of(hydro_arrays(table.columns, setting, states), 0)
    (device,) = devices_of(problem, horizon)
    best = fast.water_values(reservoir, setting.hours, price, stray, plan_kw)
    turned_over = float(setting.hours @ np.abs(price)) * reservoir.charge_kw[1]
    for water in (best, -best, dice.normal(0, 1, len(price))):
        ours = least_by_cells(device.row, Prices(price, 0.0, stray, plan_kw), horizon, water, cells)
        theirs = fast.least_by_cells(reservoir, setting.hours, price, stray, plan_kw, water, cells)
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9 * max(1.0, turned_over))


def test_the_checker_and_the_solver_cut_reservoirs_alike() -> None:
    assert (fast.CELLS, fast.MOST_PER_KWH) == (CELLS, MOST_PER_KWH)


def hydro_city(seed: int, count: int = 12) -> DispatchProblem:
    """Three units in different states; one is left without water values by the tests."""
    dice = np.random.default_rng(seed)
    rows = [unit(dice).model_copy(update={"resource_id": name}) for name in ("a", "b", "c")]
    problem = problem_of(rows[0], random_grid(dice, count), random_prices(dice, count))
    states = {
        row.resource_id: ResourceState(
            energy_kwh=float(dice.uniform(0, 1.1)) * row.energy_max_kwh,
            power_kw=float(dice.choice([0.0, row.charge_limit_kw, -row.discharge_limit_kw])),
        )
        for row in rows
    }
    return replace(problem, fleet=Fleet.from_rows(rows), states=states)


def bound(problem: DispatchProblem, plan: DispatchPlan, water: dict[str, FloatArray]) -> float:
    report = check_plan(problem, replace(plan, water_values=water))
    assert [violation.limit for violation in report.violations if "bound" in violation.limit] == []
    assert report.lower_bound_cny is not None
    assert report.lower_bound_cny <= report.objective_cny + 1e-6 * max(1.0, abs(report.objective_cny))
    return report.lower_bound_cny


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_is_bounded_better_with_water_values_and_validly_with_wrong_ones(seed: int) -> None:
    problem, dice = hydro_city(seed), np.random.default_rng(seed)
    if seed % 2:  # a re-plan
        shape = (3, len(problem.grid))
        given = RealTimeTerms(dice.normal(0, 50, 3), dice.normal(0, 50, shape), np.ones(shape[1]))
        problem = replace(problem, real_time=given, baseline_kw=np.zeros(shape))
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
    count = len(problem.grid)
    without = bound(problem, plan, {})
    for wrong in (np.zeros(count), dice.normal(0, 5, count), np.full(count, 1e300), np.full(count, -MOST_PER_KWH)):
        assert bound(problem, plan, {"a": wrong, "b": -wrong}) >= without
    assert bound(problem, plan, {"a": np.full(count, np.nan)}) == without


def test_what_modes_cost_is_bounded_by_the_relaxed_least_and_more_with_water_values() -> None:
    better = []
    for seed in range(8):
        problem = hydro_city(seed)
        plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
        horizon, price = Horizon.of(problem), problem.tariffs["t"]
        setting = Setting.of(problem)
        (table,) = admit(problem)[0].fleet.tables.values()
        units = hydro_arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
        zeros = np.zeros(len(price))
        water = {
            str(name): fast.water_values(fast.reservoir_of(units, k), setting.hours, price, zeros, zeros)
            for k, name in enumerate(table.columns["resource_id"])
        }
        prices = Prices(price, 0.0)
        expected = sum(
            max(
                least_storage(device.row, prices, horizon).cost,
                least_by_cells(device.row, prices, horizon, water[device.resource_id]),
            )
            for device in devices_of(problem, horizon)
        )
        without, found = bound(problem, plan, {}), bound(problem, plan, water)
        assert found == pytest.approx(expected)
        better.append((plan.objective_cny - without, plan.objective_cny - found))
    left_without, left = np.array(better).sum(axis=0)
    assert left <= 0.2 * left_without
