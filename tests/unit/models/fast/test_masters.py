"""The two answers of the master, from the middle and from a corner, on columns of real small problems."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.fast.city import City, city_of
from models.dispatch.fast.generation import Fixed, Generator, rows_cost
from models.dispatch.fast.master import Master, Mix
from models.dispatch.fast.shards import strata_of
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.resources import ResourceKind
from tests.fleets import ALL_KINDS, random_problem, situation

PROBLEMS: dict[str, Callable[[], DispatchProblem]] = {
    "a city": lambda: random_problem(5, resources=80, intervals=24, events=2, commitments=True),
    "one zone": lambda: random_problem(6, resources=40, intervals=16, zones=1),
    "no event": lambda: random_problem(7, resources=60, intervals=24, events=0),
    "negative prices": lambda: random_problem(8, resources=60, intervals=24, negative_prices=True),
    "one device": lambda: random_problem(9, resources=1, intervals=8),
    **{f"situation {seed}": partial(situation, seed) for seed in range(4)},
}
every_problem = pytest.mark.parametrize("name", PROBLEMS)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@dataclass
class Case:
    """A city, its columns, and the duals they were found around."""

    city: City
    generator: Generator
    center: FloatArray

    def master(self, fixed: Fixed | None = None) -> Master:
        """A fresh master over the columns there are."""
        zone = np.array([group.zone for group in self.generator.groups], dtype=np.int64)
        fixed = self.generator.fixed if fixed is None else fixed
        return Master(self.city.rows, zone, self.generator.pool, fixed.values, fixed.cost_cny)

    def central(self, master: Master, tolerance_cny: float) -> Mix:
        """A central mix with every row that matters in the program."""
        while True:
            before = int(master.active.sum())
            mix = master.central(self.city.rows.penalty, self.center, tolerance_cny=tolerance_cny)
            if int(master.active.sum()) == before:
                return mix


def case_of(problem: DispatchProblem, workers: ThreadPoolExecutor) -> Case:
    """A problem with the columns of steered sweeps."""
    city = city_of(problem, workers)
    generator = Generator(city.rows, strata_of(city.blocks), city.sweeper, scale_of=city.scale, noise=2e-5)
    center = generator.steer(time.monotonic() + 60)
    return Case(city, generator, center)


def assert_is_a_mix(mix: Mix, case: Case, fixed: Fixed) -> None:
    """θ of every group adds up to 1; values and cost are what the columns say; λ stays in its bounds."""
    city, pool, groups = case.city, case.generator.pool, len(case.generator.groups)
    assert (mix.theta >= 0).all()
    assert np.bincount(pool.group, weights=mix.theta, minlength=groups) == pytest.approx(1, abs=1e-12)
    zone_kw = np.zeros((city.rows.zones, city.rows.intervals))
    for k, theta in enumerate(mix.theta):
        zone_kw[case.generator.groups[pool.group[k]].zone] += theta * pool.power_kw[k]
    values = city.rows.constant + fixed.values
    for n, (zone, t) in enumerate(zip(city.rows.zone.tolist(), city.rows.t.tolist(), strict=True)):
        if zone >= 0:
            values[n] += zone_kw[zone, t]
        elif zone == -1:
            values[n] += zone_kw[:, t].sum()
    values[city.rows.zone == -2] += mix.theta @ pool.classed_kw
    assert mix.values == pytest.approx(values, rel=1e-9, abs=1e-6)
    cost = float(pool.cost_cny @ mix.theta) + rows_cost(city.rows, values) + fixed.cost_cny
    assert mix.cost_cny == pytest.approx(cost, rel=1e-9, abs=1e-6)
    assert (mix.duals >= 0).all()
    assert (mix.duals <= city.rows.penalty).all()


def vertex(master: Master) -> Mix:
    found = master.corner()
    assert found is not None
    return found


@every_problem
def test_both_find_the_same_optimum(workers: ThreadPoolExecutor, name: str) -> None:
    case = case_of(PROBLEMS[name](), workers)
    corner = vertex(case.master())
    scale_cny = case.city.scale(corner.cost_cny)
    central = case.central(case.master(), 1e-6 * scale_cny)
    for mix in (central, corner):
        assert_is_a_mix(mix, case, case.generator.fixed)
    assert central.cost_cny == pytest.approx(corner.cost_cny, abs=1e-5 * scale_cny)
    assert central.model_cny == pytest.approx(corner.cost_cny, abs=1e-5 * scale_cny)


@every_problem
def test_a_corner_has_few_columns_in_use(workers: ThreadPoolExecutor, name: str) -> None:
    """A basis: no more than groups and rows that are exactly met."""
    case = case_of(PROBLEMS[name](), workers)
    master = case.master()
    corner = vertex(master)
    met = np.abs(corner.values) <= 1e-6 * max(1.0, master.unit_kw)
    assert (corner.theta > 1e-7).sum() <= len(case.generator.groups) + (met & master.active).sum()


@every_problem
def test_what_is_fixed_counts_in_both(workers: ThreadPoolExecutor, name: str) -> None:
    case = case_of(PROBLEMS[name](), workers)
    dice = np.random.default_rng(1)
    fixed = Fixed(dice.normal(0, 10, len(case.city.rows.t)), 123.0)
    corner = vertex(case.master(fixed))
    scale_cny = case.city.scale(corner.cost_cny)
    central = case.central(case.master(fixed), 1e-6 * scale_cny)
    for mix in (central, corner):
        assert_is_a_mix(mix, case, fixed)
    assert central.cost_cny == pytest.approx(corner.cost_cny, abs=1e-5 * scale_cny)


@every_problem
def test_duals_of_a_strong_pull_stay_at_the_centre_and_those_of_none_are_worth_the_most(
    workers: ThreadPoolExecutor, name: str
) -> None:
    case = case_of(PROBLEMS[name](), workers)
    rows, size_kw = case.city.rows, np.maximum(1.0, case.generator.size_kw())
    price = rows.penalty
    scale_cny = case.city.scale(vertex(case.master()).cost_cny)
    worth = []
    for give in (1e-6, 1.0, 1e6):
        master = case.master()
        master.active[:] = True
        mix = master.central(
            price, case.center, tolerance_cny=1e-7 * scale_cny, center=case.center, give_kw=give * size_kw
        )
        worth.append(mix.model_cny)
    assert worth == pytest.approx(sorted(worth, reverse=True), abs=1e-5 * scale_cny)
    assert mix.duals == pytest.approx(case.center, abs=1e-3)


# ---- the whole way


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("resources", [1, 30])
def test_a_fleet_of_one_kind_is_planned_by_columns(
    workers: ThreadPoolExecutor, kind: ResourceKind, resources: int
) -> None:
    """Some kinds leave nobody who could make good the rest; some nobody who has to be first."""
    problem = random_problem(3, kinds=(kind,), resources=resources, intervals=16)
    plan = FastSolver(workers, small=0).solve(problem, deadline_s=60)
    assert check_plan(problem, plan).violations == ()
    assert plan.lower_bound_cny <= plan.objective_cny
