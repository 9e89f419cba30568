"""Water values: the bound by cells never passes the true least cost, and comes close where the oracle's cannot."""

from typing import NamedTuple

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.check.devices import devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.stores import least_storage
from models.dispatch.fast.pricing.hydro import hydro_arrays
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.water import MOST_PER_KWH, Reservoir, least_by_cells, reservoir_of, water_values
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from tests.unit.models.fast.pricing_cases import reference_cost
from tests.unit.models.fast.test_pricing_hydro import case, least_by_enumeration


class Asked(NamedTuple):
    """One unit at prices, its water values, and the oracle's relaxed least cost."""

    unit: Reservoir
    hours: FloatArray
    price: FloatArray
    stray: FloatArray
    plan_kw: FloatArray
    water: FloatArray
    relaxed: float

    def bound(self, cells: int, water: FloatArray | None = None) -> float:
        values = self.water if water is None else water
        return least_by_cells(self.unit, self.hours, self.price, self.stray, self.plan_kw, values, cells)


def asked(problem: DispatchProblem, stray: FloatArray | None = None, plan_kw: FloatArray | None = None) -> Asked:
    (table,) = admit(problem)[0].fleet.tables.values()
    setting = Setting.of(problem)
    units = hydro_arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    price = problem.tariffs["t"]
    stray = np.zeros(len(price)) if stray is None else stray
    plan_kw = np.zeros(len(price)) if plan_kw is None else plan_kw
    unit, horizon = reservoir_of(units, 0), Horizon.of(problem)
    (device,) = devices_of(problem, horizon)
    relaxed = least_storage(device.row, Prices(price, 0.0, stray, plan_kw), horizon).cost
    water = water_values(unit, setting.hours, price, stray, plan_kw)
    return Asked(unit, setting.hours, price, stray, plan_kw, water, relaxed)


def with_straying(seed: int) -> tuple[DispatchProblem, FloatArray, FloatArray]:
    dice = np.random.default_rng(seed + 100)
    problem = case(seed, 4)
    (row,) = problem.fleet.rows()
    stray = dice.choice([0.0, 0.1, 3.0], 4)
    return problem, stray, dice.choice([0.0, 0.6 * row.charge_limit_kw, -0.7 * row.discharge_limit_kw, 1e4], 4)


def scale(one: Asked) -> float:
    """What a day of the unit turns over, CNY."""
    return max(1.0, float(one.hours @ np.abs(one.price)) * one.unit.charge_kw[1])


def test_the_bound_never_passes_the_true_least_cost_and_closes_most_of_what_the_relaxed_one_leaves() -> None:
    left, open_before = [], []
    for seed in range(20):
        problem = case(seed, 12)
        one, best = asked(problem), reference_cost(problem)
        bound = one.bound(2000)
        assert bound <= best + 1e-6 * scale(one)
        left.append((best - max(bound, one.relaxed)) / scale(one))
        open_before.append((best - one.relaxed) / scale(one))
    assert np.mean(left) <= 0.1 * np.mean(open_before)
    assert max(left) <= 5e-3


@pytest.mark.parametrize("seed", range(8))
def test_with_straying_too(seed: int) -> None:
    problem, stray, plan_kw = with_straying(seed)
    one = asked(problem, stray, plan_kw)
    best = least_by_enumeration(problem, stray, plan_kw)
    slack = 1e-6 * max(scale(one), abs(best))
    for cells in (1, 7, 300, 3000):
        assert one.bound(cells) <= best + slack
    assert one.bound(3000) >= best - 1e-2 * max(scale(one), abs(best))


@pytest.mark.parametrize("seed", range(10))
def test_any_water_values_give_a_bound(seed: int) -> None:
    problem, dice = case(seed, 10), np.random.default_rng(seed)
    one, best = asked(problem), reference_cost(problem)
    for water in (np.zeros(10), -one.water, dice.normal(0, 3, 10), np.full(10, MOST_PER_KWH)):
        for cells in (1, 40, 1000):
            assert one.bound(cells, water) <= best + 1e-6 * scale(one)


@pytest.mark.parametrize("seed", range(10))
def test_halving_the_cells_never_loosens_the_bound_and_it_converges(seed: int) -> None:
    one = asked(case(seed, 20))
    bounds = np.array([one.bound(cells) for cells in (2**k for k in range(14))])
    assert (np.diff(bounds) >= -1e-6 * scale(one)).all()
    assert bounds[-1] - bounds[-2] <= 1e-3 * scale(one)


def by_definition(one: Asked, cells: int) -> float:
    """The same bound, cell by cell and mode by mode, every cost at every corner of its window."""
    unit, count = one.unit, len(one.hours)
    width = (unit.ceiling - unit.floor) / cells
    edges = unit.floor + width * np.arange(cells + 1)
    after = np.append(one.water[1:], 0.0)
    ranges = (
        (0.0, 0.0, 1.0),
        (*unit.charge_kw, unit.stored),
        (-unit.discharge_kw[1], -unit.discharge_kw[0], unit.taken),
    )

    def step(t: int, mode: int, least: float, most: float) -> float:
        low_kw, high_kw, factor = ranges[mode]
        per_kw = one.hours[t] * factor
        low, high = max(low_kw, least / per_kw), min(high_kw, most / per_kw)
        if low > high + 1e-6 * width / per_kw:
            return np.inf
        powers = [low, high, *([one.plan_kw[t]] if low < one.plan_kw[t] < high else [])]
        return min(
            one.hours[t] * (one.price[t] * p + unit.wear * abs(p) + one.stray[t] * abs(p - one.plan_kw[t]))
            - one.water[t] * per_kw * p
            for p in powers
        )

    cost: FloatArray | None = None
    for t in range(count):
        new = np.full((3, cells), np.inf)
        for mode in range(3):
            for j in range(cells):
                low = max(edges[j], unit.end_min) if t == count - 1 else edges[j]
                if low > edges[j + 1] + 1e-6 * width:
                    continue
                level = min((one.water[t] - after[t]) * e for e in (low, edges[j + 1]))
                if cost is None:
                    way = step(t, mode, edges[j] - unit.start, edges[j + 1] - unit.start)
                    new[mode, j] = way + level + unit.change_cost * (mode != unit.before)
                    continue
                for i in [j] if mode == 0 else range(cells):
                    reached = min(cost[mode, i], cost[:, i].min() + unit.change_cost)
                    new[mode, j] = min(
                        new[mode, j], reached + level + step(t, mode, (j - i - 1) * width, (j - i + 1) * width)
                    )
        cost = new
    assert cost is not None
    return float(cost.min() - one.water[0] * unit.start)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cells", [1, 5, 16])
def test_the_bound_is_what_its_definition_says(seed: int, cells: int) -> None:
    problem, stray, plan_kw = with_straying(seed)
    one = asked(problem, stray, plan_kw)
    one = one._replace(water=one.water + np.random.default_rng(seed).normal(0, 0.5, 4))
    assert one.bound(cells) == pytest.approx(by_definition(one, cells), rel=1e-9, abs=1e-9 * scale(one))


def test_a_pumps_round_trip_that_a_change_of_mode_makes_dear_is_no_longer_free() -> None:
    hours, zeros = np.ones(4), np.zeros(4)
    price = np.array([0.2, 0.2, 1.0, 1.0])
    unit = Reservoir((50.0, 100.0), (50.0, 100.0), 1.0, 1.0, 0.0, 0.0, 100.0, 0.0, 400.0, 100.0, 0)
    for change, best in ((0.0, -160.0), (70.0, -20.0), (90.0, 0.0)):
        one = unit._replace(change_cost=change)
        water = water_values(one, hours, price, zeros, zeros)
        found = least_by_cells(one, hours, price, zeros, zeros, water)
        assert best - 0.2 <= found <= best + 1e-9
