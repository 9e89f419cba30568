"""The compiled oracles against the oracles of one device: the same least cost and the same word on exactness."""

from functools import cache

import numpy as np
import pytest

from models.dispatch.check.batches import Block
from models.dispatch.check.devices import Device
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.least import least_costs, least_costs_one_by_one
from models.dispatch.check.oracles.many import MANY
from models.dispatch.check.oracles.prices import PriceTable
from models.dispatch.check.roster import Roster
from models.dispatch.check.screens.common import IndexArray
from models.dispatch.problem import DispatchProblem
from models.resources import ResourceKind
from tests.fleets import random_problem
from tests.unit.models.test_check_against_reference import replanned
from tests.unit.models.test_check_screens import uneven

SEEDS = range(4000, 4008)


@cache
def block_of(seed: int) -> Block:
    """Fresh fleets, re-planned ones with states, several stays, unequal intervals."""
    problem: DispatchProblem = random_problem(seed, resources=48, events=2, sessions_per_charger=1 + 2 * (seed % 2))
    if seed % 4 == 1:
        problem = replanned(seed)
    if seed % 4 == 3:
        problem = uneven(problem)
    return Block.of(Roster.of(problem), Horizon.of(problem), 0, len(problem.fleet.resource_ids))


def prices(dice: np.random.Generator, count: int, horizon: Horizon, *, strays: bool) -> PriceTable:
    """Prices with spikes, ties, and often below zero; a day plan that may lie anywhere."""
    shape = (count, len(horizon.hours))
    per_kwh = np.round(dice.normal(0.5, 0.8, shape), int(dice.integers(1, 4)))
    per_kwh += np.where(dice.random(shape) < 0.1, dice.uniform(-5, 5, shape), 0.0)
    late = dice.normal(0.6, 0.3, count)
    if not strays:
        return PriceTable(per_kwh, late)
    stray = np.where(dice.random(shape) < 0.5, dice.uniform(0, 0.4, shape), 0.0)
    return PriceTable(per_kwh, late, stray, dice.normal(0, 40, shape))


@pytest.mark.parametrize("kind", ResourceKind)
@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_oracles_answer_as_those_of_one_device(seed: int, kind: ResourceKind) -> None:
    block = block_of(seed)
    group = next(group for group in block.groups if group.kind is kind)
    dice = np.random.default_rng(seed)
    devices = block.devices(kind, group.places)

    def of_rows(rows: IndexArray) -> list[Device]:
        return block.devices(kind, group.places[rows])

    for k in range(3):
        table = prices(dice, len(group.places), block.horizon, strays=k == 2 and kind is not ResourceKind.EV_SESSION)
        cost, exact = least_costs(kind, group.batch, table, of_rows, many=True)
        wanted, wanted_exact = least_costs_one_by_one(devices, table, block.horizon)
        assert cost == pytest.approx(wanted, rel=1e-9, abs=1e-8)
        assert exact.tolist() == wanted_exact.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_cars_that_stray_cost_the_same_compiled(seed: int) -> None:
    block = block_of(seed)
    group = next(group for group in block.groups if group.kind is ResourceKind.EV_SESSION)
    table = prices(np.random.default_rng(seed), len(group.places), block.horizon, strays=True)
    cost, exact = MANY[group.kind](group.batch, table)
    wanted, wanted_exact = least_costs_one_by_one(block.devices(group.kind, group.places), table, block.horizon)
    assert cost == pytest.approx(wanted, rel=1e-9, abs=1e-8)
    assert exact.tolist() == wanted_exact.tolist()


def test_the_many_are_not_all_exact_nor_all_relaxed() -> None:
    """Else the comparison of exactness above would say nothing."""
    dice = np.random.default_rng(1)
    said: dict[ResourceKind, set[bool]] = {}
    for seed in SEEDS:
        block = block_of(seed)
        for group in block.groups:
            for strays in (False, True):
                table = prices(dice, len(group.places), block.horizon, strays=strays)
                said.setdefault(group.kind, set()).update(MANY[group.kind](group.batch, table)[1].tolist())
    both = {kind for kind, words in said.items() if words == {True, False}}
    assert both >= {
        ResourceKind.STORAGE,
        ResourceKind.EV_SESSION,
        ResourceKind.CURTAILABLE_LOAD,
        ResourceKind.GENERATOR,
    }
