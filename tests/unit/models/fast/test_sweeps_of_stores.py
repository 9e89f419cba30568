"""Sweeps over many stores: what they add up is what their schedules and the oracles say, row by row."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.fast.pricing.charging import charging_arrays, sweep_charging
from models.dispatch.fast.pricing.common import Members, Near, Prices, empty_sums
from models.dispatch.fast.pricing.storage import storage_arrays, sweep_storage
from models.dispatch.fast.pricing.thermal import sweep_thermal, thermal_arrays
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem
from models.fleet import Fleet
from tests.unit.models.fast.store_cases import a_problem
from tests.unit.models.fast.test_pricing_charging import a_stay
from tests.unit.models.fast.test_pricing_storage import a_battery
from tests.unit.models.fast.test_pricing_thermal import a_load

COUNT, ROWS = 12, 40
CASES: dict[str, tuple[Callable[[np.random.Generator], DispatchProblem], Any, Any]] = {
    "storage": (lambda dice: a_battery(dice, COUNT), storage_arrays, sweep_storage),
    "one way": (lambda dice: a_stay(dice, COUNT, both_ways=False), charging_arrays, sweep_charging),
    "both ways": (lambda dice: a_stay(dice, COUNT, both_ways=True), charging_arrays, sweep_charging),
    "thermal": (lambda dice: a_load(dice, COUNT), thermal_arrays, sweep_thermal),
}


def fleet_of(name: str) -> tuple[Any, Any, Members, Near, Prices]:
    dice = np.random.default_rng(7)
    made, arrays, sweep = CASES[name]
    rows = [next(iter(made(dice).fleet.rows())) for _ in range(ROWS)]
    rows = [row.model_copy(update={"resource_id": f"x{k:02d}"}) for k, row in enumerate(rows)]
    problem = a_problem(rows[0], made(dice).grid, dice.uniform(0.2, 1.0, COUNT), profile=dice.uniform(0.1, 1.0, COUNT))
    admitted, _ = admit(replace(problem, fleet=Fleet.from_rows(rows)))
    setting, columns = Setting.of(admitted), admitted.fleet.tables[rows[0].kind].columns
    units = arrays(columns, setting, setting.state_of(columns["resource_id"]))
    members = Members(
        tariff=np.zeros(ROWS, dtype=np.int64),
        price_class=dice.integers(0, 2, ROWS),
        reliability=dice.uniform(0.5, 1, ROWS),
        resource=np.arange(ROWS),
        alone=dice.random(ROWS) < 0.8,
    )
    near = Near(np.arange(ROWS), dice.uniform(-2, 5, ROWS), dice.uniform(-2, 5, (ROWS, COUNT)), np.empty((0, 0)))
    prices = Prices(
        hours=setting.hours,
        tariff=setting.tariffs,
        late=setting.tariff_mean,
        late_cost=setting.tariff_mean,
        zone=dice.uniform(0, 0.5, COUNT),
        by_class=dice.uniform(0, 0.5, (2, COUNT)),
        stray=dice.choice([0.0, 0.03], COUNT),
        switch=0.01,
        noise=np.empty((0, COUNT)),
    )
    return units, sweep, members, near, prices


@pytest.mark.parametrize("name", list(CASES))
def test_a_sweep_in_parts_adds_up_to_the_whole_and_repeats_itself_to_the_bit(name: str) -> None:
    units, sweep, members, near, prices = fleet_of(name)
    whole, power = empty_sums(COUNT, 2), np.full((ROWS, COUNT), np.nan)
    sweep(units, members, near, 0, ROWS, prices, whole, power)
    assert whole.power_kw == pytest.approx(power.sum(axis=0), abs=1e-9)
    for k in range(2):
        mine = members.price_class == k
        assert whole.class_kw[k] == pytest.approx(members.reliability[mine] @ power[mine], abs=1e-9)
    parts, again = empty_sums(COUNT, 2), np.full((ROWS, COUNT), np.nan)
    for first, last in ((0, 13), (13, ROWS)):
        sweep(units, members, near, first, last, prices, parts, again[first:last])
    assert (again == power).all()
    assert parts.totals == pytest.approx(whole.totals)


@pytest.mark.parametrize("name", list(CASES))
def test_the_least_cost_is_that_of_the_schedules_at_the_effective_prices(name: str) -> None:
    units, sweep, members, near, prices = fleet_of(name)
    sums, power = empty_sums(COUNT, 2), np.empty((ROWS, COUNT))
    sweep(units, members, near, 0, ROWS, prices, sums, power)
    duals = prices.zone + members.reliability[:, None] * prices.by_class[members.price_class]
    there = float(np.einsum("t,nt,nt->", prices.hours, duals, power))
    # where switching and straying both act, in the first interval, the smaller is left out of the least cost
    alone = members.alone
    both = prices.hours[0] * prices.stray[0] * np.abs(power[alone, 0] - near.plan_kw[alone, 0]).sum()
    switched = prices.switch * np.abs(power[alone, 0] - near.now_kw[alone]).sum()
    left_out = both if prices.switch / prices.hours[0] > prices.stray[0] else switched if prices.stray[0] > 0 else 0.0
    assert sums.totals[0] == pytest.approx(sums.totals[1] + there - left_out, rel=1e-9)
