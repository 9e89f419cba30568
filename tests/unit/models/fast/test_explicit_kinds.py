"""Every kind in plain arrays against its Pyomo block: the same optimum, relaxed and whole, at any prices."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.fast.explicit.draft import Draft
from models.dispatch.fast.explicit.model import explicit_model, tariff_prices
from models.dispatch.fast.explicit.program import UnitProgram
from models.dispatch.fast.explicit.units import Units
from models.dispatch.problem import DispatchProblem
from models.errors import InputError
from models.intervals import FloatArray
from models.resources import ResourceKind
from tests.equations.test_random_fleets import battered
from tests.fleets import random_problem
from tests.unit.models.fast.explicit_cases import ReferenceArrays, cheapest, uneven

RELATIVE = 1e-6


def fleet_of(kind: ResourceKind, seed: int) -> DispatchProblem:
    """Five of one kind; unequal intervals, states in the middle of something, and late notices take turns."""
    problem = random_problem(
        seed, kinds=[kind], resources=5, intervals=18, sessions_per_charger=1 + seed % 3, hydro_share=0.5
    )
    problem = uneven(problem) if seed % 2 else problem
    problem = battered(problem, seed) if seed % 3 else problem
    return admit(problem)[0]


def rough_prices(problem: DispatchProblem, seed: int) -> FloatArray:
    """Prices far from any tariff, a third of them negative, some tied."""
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    dice = np.random.default_rng(seed)
    return np.where(dice.random(shape) < 0.2, 0.4, dice.normal(0.6, 1.2, shape))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", list(ResourceKind))
def test_a_kind_costs_what_its_block_says_relaxed_and_whole_at_any_prices(kind: ResourceKind, seed: int) -> None:
    problem = fleet_of(kind, seed)
    prices = rough_prices(problem, seed)
    reference = ReferenceArrays(problem)
    reference.alone_at(prices)
    for awake in (False, True):
        model = explicit_model(problem, never_both=problem.fleet.resource_ids if awake else ())
        for whole in (False, True):
            wanted = reference.least_cost(whole=whole, awake=awake)
            found = cheapest(model, prices, whole=whole)
            assert found == pytest.approx(wanted, rel=RELATIVE, abs=1e-6), (awake, whole)


def test_a_part_of_a_fleet_is_the_sum_of_its_resources() -> None:
    problem, _ = admit(battered(uneven(random_problem(5, resources=16, intervals=12, sessions_per_charger=2)), 5))
    names = problem.fleet.resource_ids[3:12]
    prices = rough_prices(problem, 5)[3:12]
    together = cheapest(explicit_model(problem, names), prices, whole=False)
    alone = [cheapest(explicit_model(problem, [name]), prices[i : i + 1], whole=False) for i, name in enumerate(names)]
    assert together == pytest.approx(sum(alone), rel=1e-9)


def test_a_unit_cut_out_of_the_fleet_is_the_unit_by_itself() -> None:
    problem, _ = admit(random_problem(8, resources=16, intervals=12, sessions_per_charger=2))
    model, prices = explicit_model(problem), rough_prices(problem, 8)
    units, (cost, _) = Units(model), model.cost_at(prices)
    for i, name in enumerate(problem.fleet.resource_ids):
        choice = units.cheapest(i, cost, until=time.monotonic() + 60, within=0.0)
        by_itself = explicit_model(problem, [name])
        assert len(choice.columns) == len(by_itself.cost)
        constant = by_itself.cost_at(prices[i : i + 1])[1]
        wanted = cheapest(by_itself, prices[i : i + 1], whole=True)
        assert float(cost[choice.columns] @ choice.x) + constant == pytest.approx(wanted, rel=1e-6, abs=1e-5)


def test_a_unit_is_asked_again_and_again_at_new_prices_without_a_new_program() -> None:
    kinds = [ResourceKind.GENERATOR, ResourceKind.STORAGE]
    problem, _ = admit(random_problem(3, kinds=kinds, resources=4, intervals=16, hydro_share=1.0))
    model = explicit_model(problem)
    program = UnitProgram(model)
    for seed in range(4):
        prices = rough_prices(problem, seed)
        found = program.cheapest(prices, until=time.monotonic() + 60)
        assert found.cost_cny == pytest.approx(cheapest(model, prices, whole=True), rel=1e-6, abs=1e-5)
        paid = float((found.power_kw * prices * problem.grid.hours).sum()) + found.own_cost_cny
        assert found.cost_cny == pytest.approx(paid, rel=1e-9, abs=1e-9)
        assert found.bound_cny <= found.cost_cny + 1e-6
        assert np.abs(found.x - np.round(found.x))[model.is_integer].max() < 1e-6


def test_power_and_cost_are_linear_in_the_columns() -> None:
    problem, _ = admit(random_problem(4, resources=16, intervals=10))
    model, prices = explicit_model(problem), rough_prices(problem, 4)
    x = np.random.default_rng(4).uniform(0, 3, len(model.cost))
    cost, constant = model.cost_at(prices)
    paid = float((model.power_kw(x) * prices * problem.grid.hours).sum())
    assert float(cost @ x) + constant == pytest.approx(float(model.cost @ x) + paid)
    assert tariff_prices(problem, model).shape == model.net_constant.shape


def test_rows_and_columns_belong_to_one_resource_each() -> None:
    problem, _ = admit(random_problem(2, resources=16, intervals=10, sessions_per_charger=3))
    model = explicit_model(problem, never_both=problem.fleet.resource_ids)
    matrix = model.matrix.tocoo()
    owner = model.owner[matrix.col]
    lowest = np.full(len(model.row_low), len(model.resource_ids))
    highest = np.full(len(model.row_low), -1)
    np.minimum.at(lowest, matrix.row, owner)
    np.maximum.at(highest, matrix.row, owner)
    assert (lowest[highest >= 0] == highest[highest >= 0]).all()
    net = model.net.tocoo()
    assert (net.row // len(problem.grid) == model.owner[net.col]).all()


def test_a_resource_that_is_not_there_is_refused_by_name() -> None:
    problem = random_problem(1, resources=4, intervals=6)
    with pytest.raises(InputError) as caught:
        explicit_model(problem, ["r0001", "nobody"])
    assert "nobody" in str(caught.value)


def test_ten_thousand_devices_are_written_without_a_loop_over_devices_and_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Arrays are asked for as often for 640 devices as for 64: the number of calls does not grow with the fleet."""
    calls: list[int] = []
    put: Callable[..., None] = Draft.put

    def counted(draft: Draft, *arguments: object) -> None:
        calls.append(1)
        put(draft, *arguments)

    monkeypatch.setattr(Draft, "put", counted)
    counts = []
    for resources in (64, 640):
        calls.clear()
        explicit_model(random_problem(6, resources=resources, intervals=12))
        counts.append(len(calls))
    assert counts[1] <= 1.2 * counts[0]
