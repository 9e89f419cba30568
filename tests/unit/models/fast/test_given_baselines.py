"""The sums of a market day's baseline table: every resource once, in any cut, whoever adds them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.city import city_of
from models.dispatch.fast.given import Owners, table_sums
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.resources import ResourceKind
from tests.fleets import random_problem, situation

few = settings(max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def drawn_owners(dice: np.random.Generator, resources: int) -> Owners:
    return Owners(
        zone=dice.integers(-1, 3, resources),
        price_class=dice.integers(0, 4, resources),
        tariff=dice.integers(0, 2, resources),
        reliability=dice.uniform(0, 1, resources),
    )


def summed(values: FloatArray, group: np.ndarray, count: int) -> FloatArray:
    return np.array([values[group == k].sum(axis=0) for k in range(count)])


@few
@given(seed=st.integers(0, 100_000), resources=st.integers(0, 60), intervals=st.integers(1, 9), rows=st.integers(1, 70))
def test_the_sums_are_those_of_numpy_in_pieces_of_any_size(
    workers: ThreadPoolExecutor, seed: int, resources: int, intervals: int, rows: int
) -> None:
    dice = np.random.default_rng(seed)
    table, owners = dice.uniform(-50, 100, (resources, intervals)), drawn_owners(dice, resources)
    sums = table_sums(table, owners, (3, 4, 2), workers.map, rows)
    owned = owners.zone >= 0  # nobody's row counts nowhere
    weighted = table * owners.reliability[:, None]
    assert sums.zone_kw == pytest.approx(summed(table[owned], owners.zone[owned], 3), abs=1e-9)
    assert sums.class_kw == pytest.approx(summed(weighted[owned], owners.price_class[owned], 4), abs=1e-9)
    assert sums.tariff_kw == pytest.approx(summed(table[owned], owners.tariff[owned], 2), abs=1e-9)


def test_the_sums_are_the_same_bits_whoever_adds_them(workers: ThreadPoolExecutor) -> None:
    dice = np.random.default_rng(1)
    table, owners = dice.uniform(-50, 100, (5_000, 7)), drawn_owners(dice, 5_000)
    alone = table_sums(table, owners, (3, 4, 2), map, 100)
    for _ in range(5):
        together = table_sums(table, owners, (3, 4, 2), workers.map, 100)
        for name, values in vars(alone).items():
            assert (getattr(together, name) == values).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_table_is_read_in_either_order_and_need_not_be_writeable(order: Literal["C", "F"]) -> None:
    table = np.ones((4, 3), order=order)
    table.flags.writeable = False
    owners = drawn_owners(np.random.default_rng(2), 4)._replace(zone=np.zeros(4, dtype=np.int64))
    assert table_sums(table, owners, (1, 4, 2), map).zone_kw == pytest.approx(np.full((1, 3), 4.0))


def with_table(problem: DispatchProblem, seed: int) -> DispatchProblem:
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    return replace(problem, baseline_kw=np.random.default_rng(seed).uniform(-50, 100, shape))


@few
@given(seed=st.integers(0, 100_000))
def test_a_given_baseline_is_summed_over_resources_not_rows(workers: ThreadPoolExecutor, seed: int) -> None:
    problem = with_table(situation(seed), seed)
    assert problem.baseline_kw is not None
    baseline = city_of(problem, workers).baseline
    what = [problem.attributes[name] for name in problem.fleet.resource_ids]
    zone_kw = np.zeros((len(problem.zones), len(problem.grid)))
    for row, each in enumerate(what):
        zone_kw[problem.zones.index(each.zone_id)] += problem.baseline_kw[row]
    reliable = np.array([each.reliability_fraction for each in what]) @ problem.baseline_kw
    assert baseline.zone_kw == pytest.approx(zone_kw, rel=1e-9, abs=1e-7)
    assert baseline.class_kw.sum(axis=0) == pytest.approx(reliable, rel=1e-9, abs=1e-7)


def test_a_charger_with_several_stays_counts_once(workers: ThreadPoolExecutor) -> None:
    """Its table's power costs the tariff once too: the cost grows by the tariff times what the table grows."""
    kinds = (ResourceKind.EV_SESSION,)
    problem = with_table(random_problem(0, kinds=kinds, resources=12, intervals=8, sessions_per_charger=3), 0)
    table = problem.fleet.tables[ResourceKind.EV_SESSION]
    names = table.columns["resource_id"].tolist()
    charger = next(name for name in names if names.count(name) > 1)
    row = problem.fleet.resource_ids.index(charger)
    assert problem.baseline_kw is not None
    more = problem.baseline_kw.copy()
    more[row] += 10.0
    before, after = (city_of(each, workers).baseline for each in (problem, replace(problem, baseline_kw=more)))
    assert (after.zone_kw - before.zone_kw).sum(axis=0) == pytest.approx(np.full(8, 10.0))
    tariff = problem.tariffs[problem.attributes[charger].tariff_id]
    assert after.cost_cny - before.cost_cny == pytest.approx(float(10.0 * tariff @ problem.grid.hours))
