"""A large fleet behind a sample: every row in one portion, the sample corrected, the plan as good as without."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check import check_plan
from models.dispatch.fast import search
from models.dispatch.fast.allocation import mixed, split, supports
from models.dispatch.fast.city import City, city_of
from models.dispatch.fast.generation import Fixed, Generator
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.sampling import Sampled
from models.dispatch.fast.shards import Shard, _depth, strata_of
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import RealTimeTerms
from models.resources import ResourceKind
from tests.fleets import ALL_KINDS, random_problem

few = settings(max_examples=20, deadline=None)
SEEDS = st.integers(0, 100_000)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def generator_of(city: City, groups: list[Shard]) -> Generator:
    return Generator(city.rows, groups, city.sweeper, scale_of=city.scale, noise=0.0)


def sampled_of(city: City, most: int) -> Sampled:
    return Sampled(strata_of(city.blocks), most, lambda groups: generator_of(city, list(groups)))


def rows_in(shards: list[Shard]) -> set[tuple[int, int]]:
    return {(shard.block, row) for shard in shards for row in range(shard.first, shard.last)}


def some_duals(city: City, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 0.5, len(city.rows.t)) * (city.rows.penalty > 0)


@few
@given(seed=SEEDS, resources=st.integers(1, 300), most=st.integers(1, 12))
def test_every_row_is_in_one_portion_and_the_sample_stands_for_those_left(
    workers: ThreadPoolExecutor, seed: int, resources: int, most: int
) -> None:
    city = city_of(random_problem(seed, resources=resources, intervals=6), workers)
    fleet = sampled_of(city, most)
    fleet.look(np.zeros(len(city.rows.t)))
    rows: set[tuple[int, int]] = rows_in(strata_of(city.blocks))
    seen: set[tuple[int, int]] = set()
    nothing = Fixed(np.zeros(len(city.rows.t)), 0.0)
    while not fleet.whole:
        left = sum(len(group) for group in fleet.all)
        assert rows_in(fleet.all) == rows - seen
        assert sum(group.weight * len(group) for group in fleet.sample.groups) == pytest.approx(left)
        handed = rows_in(fleet.last)
        assert not handed & seen
        seen |= handed
        fleet.without_last(nothing)
    assert seen | rows_in(fleet.all) == rows
    assert not seen & rows_in(fleet.all)
    assert all(group.weight == pytest.approx(1.0) for group in fleet.sample.groups)
    assert all(len(group) <= most for group in fleet.sample.groups)


@few
@given(seed=SEEDS, most=st.integers(1, 4))
def test_where_all_were_asked_the_sample_says_what_all_say(workers: ThreadPoolExecutor, seed: int, most: int) -> None:
    """Values and cost, at the λ of the look; and so it is after a kind and a portion have left."""
    city = city_of(random_problem(seed, resources=150, intervals=8), workers)
    duals = some_duals(city, seed)
    fleet = sampled_of(city, most)
    whole = generator_of(city, strata_of(city.blocks))
    answers = whole.at(duals)
    found = fleet.look(duals)
    assert found.least_cny.sum() == pytest.approx(answers.least_cny.sum(), rel=1e-9)
    own = fleet.sample.at(duals)
    assert fleet.sample.values(own) == pytest.approx(whole.values(answers), rel=1e-9, abs=1e-6)
    assert fleet.sample.lower(own, duals) == pytest.approx(whole.lower(answers, duals), rel=1e-9, abs=1e-6)
    leaving = np.array([group.block == 0 for group in fleet.sample.groups])
    for leave in (lambda given: fleet.without(leaving, given), fleet.without_last):
        if fleet.whole:
            break
        before = rows_in(fleet.all)
        leave(Fixed(np.zeros(len(city.rows.t)), 0.0))
        assert rows_in(fleet.all) < before
        rest = generator_of(city, fleet.all)
        expected = rest.effect(rest.at(duals)) + city.rows.constant
        assert fleet.sample.values(fleet.sample.at(duals)) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_bound_still_asks_those_who_have_left(workers: ThreadPoolExecutor) -> None:
    city = city_of(random_problem(3, resources=200, intervals=8), workers)
    duals = some_duals(city, 3)
    fleet = sampled_of(city, 2)
    least = fleet.look(duals).least_cny.sum()
    fleet.without(np.array([group.block == 1 for group in fleet.sample.groups]), Fixed(np.zeros(len(city.rows.t)), 0.0))
    assert fleet.look(duals).least_cny.sum() == pytest.approx(least, rel=1e-12)


def test_a_glance_is_nearer_to_the_truth_than_the_sample_alone(workers: ThreadPoolExecutor) -> None:
    city = city_of(random_problem(4, resources=3_000, intervals=6, zones=1), workers)
    duals = some_duals(city, 4)
    whole = generator_of(city, strata_of(city.blocks))
    truth = whole.values(whole.at(duals))
    fleet = sampled_of(city, 4)
    alone = fleet.sample.values(fleet.sample.at(duals))
    fleet.glance(duals)
    assert np.abs(fleet.sample.values(fleet.sample.at(duals)) - truth).mean() < 0.6 * np.abs(alone - truth).mean()


def test_few_large_rows_among_many_small_ones_have_a_stratum_to_themselves() -> None:
    """A sample of both together would be worthless: one row of 600 kW would stand for ten of them, or none."""
    size_kw = np.sort(np.concatenate([np.linspace(200, 600, 50), np.linspace(2, 6, 5_000)]))[::-1]
    stratum = (4 * _depth(size_kw)).astype(int)
    assert set(stratum[:50]) & set(stratum[50:]) == set()
    even = _depth(np.linspace(6, 4, 1_000))
    assert (np.diff(even) > 0).all()
    assert even[0] == 0
    assert even[-1] < 1


def test_sizes_of_nothing_are_all_alike() -> None:
    assert _depth(np.zeros(5)) == pytest.approx(0.5 * np.arange(5) / 5)
    assert np.isfinite(_depth(np.array([3.0, 0.0, 0.0]))).all()
    assert (_depth(np.array([3.0, 0.0, 0.0])) < 1).all()


@pytest.mark.parametrize(
    ("kinds", "resources"),
    [(ALL_KINDS, 1_000), ((ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.GENERATOR), 2_500)],
    ids=["all kinds", "all switch"],
)
def test_a_plan_by_portions_is_whole_and_honest(
    kinds: tuple[ResourceKind, ...], resources: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row has its schedule, once; the checker recomputes bound and cost; all switch, or all kinds at once."""
    problem = random_problem(11, kinds=kinds, resources=resources, intervals=12, zones=2, events=1)
    by_itself = FastSolver().solve(problem, deadline_s=60, gap=1e-3)
    monkeypatch.setattr(search, "SAMPLE_ROWS", resources // 5)
    solver = FastSolver()
    solution = solver.solve_stream(problem, deadline_s=60, gap=1e-3)
    assert solution.facts["sample_rows"] < solution.facts["rows"] / 2
    plan = solution.plan()
    report = check_plan(problem, plan)
    assert report.ok, report.violations[:3]
    assert plan.lower_bound_cny <= by_itself.objective_cny
    scale = max(abs(plan.objective_cny - plan.baseline_cost_cny), 1e-3 * abs(plan.baseline_cost_cny))
    assert (plan.objective_cny - by_itself.objective_cny) / scale < 2e-2
    again = solver.solve_stream(problem, deadline_s=60, gap=1e-3)
    assert check_plan(problem, again.plan()).ok
    # where all switch, 500 rows of large units are rounded with nobody to make it good: how good it is, is chance
    assert again.lower_bound_cny <= by_itself.objective_cny


def test_a_thinned_mix_has_few_columns_and_costs_no_more_or_is_the_mix_itself_without_time(
    workers: ThreadPoolExecutor,
) -> None:
    city = city_of(random_problem(5, resources=80, intervals=24, events=2), workers)
    generator = generator_of(city, strata_of(city.blocks))
    center = generator.steer(time.monotonic() + 60)
    mix = generator.blend(center, until=time.monotonic() + 60, rounds=3, enough_cny=1.0)
    late = generator.thinned(mix, until=time.monotonic() - 1)
    assert late is mix
    assert len(late.theta) == len(generator.pool)
    thin = generator.thinned(mix, until=time.monotonic() + 60)
    assert thin.cost_cny <= mix.cost_cny + 1e-6 * abs(mix.cost_cny)
    assert len(thin.theta) == len(generator.pool)
    assert (thin.theta > 1e-9).sum() < (mix.theta > 1e-9).sum()


def test_a_first_centre_cut_short_is_made_good_by_the_bound_at_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(12, resources=1_000, intervals=12, zones=2, events=1)
    monkeypatch.setattr(search, "SAMPLE_ROWS", 200)
    monkeypatch.setattr(search, "SAMPLED", search.Moment(0.0, 0.0))
    told: list[str] = []
    solution = FastSolver(tell=told.append).solve_stream(problem, deadline_s=60, gap=1e-4)
    bounds = [float(line.split()[1]) for line in told if line.startswith("bound")]
    assert len(bounds) >= 2
    assert bounds[-1] > bounds[0]
    assert solution.lower_bound_cny == pytest.approx(bounds[-1], rel=1e-8)
    assert check_plan(problem, solution.plan()).ok


def test_a_short_deadline_leaves_more_of_it_for_handing_out(workers: ThreadPoolExecutor) -> None:
    city = city_of(random_problem(1, resources=3, intervals=4), workers)

    def part(deadline_s: float) -> float:
        made = search.Search(city, search.Limits(0.0, deadline_s, 1e-3), lambda _: None, lambda _: None)
        return made._by(search.Moment(0.4, 0.2)) / deadline_s

    by = {deadline: part(deadline) for deadline in (1.0, 10.0, 60.0, 1e6)}
    assert by[1.0] == pytest.approx(0.2)
    assert by[10.0] == pytest.approx(0.2)
    assert 0.2 < by[60.0] < by[1e6] <= 0.4
    assert search.Limits(5.0, 10.0, 1e-3).by(0.5) == pytest.approx(10.0)


def test_units_that_follow_their_mix_are_nearer_to_it_than_any_column(workers: ThreadPoolExecutor) -> None:
    """What a few pumps and generators are off their mix, the others of their zone must make good."""
    off_kwh = {"follow": 0.0, "one column": 0.0}
    for seed in range(8):
        problem = random_problem(
            seed, kinds=(ResourceKind.STORAGE, ResourceKind.GENERATOR), resources=30, intervals=24, zones=1, events=2
        )
        city = city_of(problem, workers)
        generator = generator_of(city, strata_of(city.blocks))
        center, _ = generator.approach(
            generator.steer(time.monotonic() + 60), until=time.monotonic() + 60, rounds=10, enough=1e-5
        )
        mix = generator.blend(center, until=time.monotonic() + 60, rounds=3, enough_cny=1e-3)
        columns = supports(generator.pool, mix.theta, len(generator.groups))
        units = [g for g, group in enumerate(generator.groups) if city.blocks[group.block].pricer.follows]
        theta = np.where(np.isin(generator.pool.group, units), mix.theta, 0.0)
        wanted_kw = theta @ generator.pool.power_kw
        follow, one = (Handout(problem, city.blocks, city.sweeper) for _ in range(2))
        parts = [mixed(generator.groups[g], columns[g], generator.pool, mix.theta) for g in units]
        follow.follow(parts, city.sweeper.points(mix.duals), search.FOLLOW_PER_KWH)
        carry = 0.0
        for g in units:
            split_parts, carry = split(generator.groups[g], columns[g], generator.pool, mix.theta, carry)
            one.add(split_parts)
        off_kwh["follow"] += np.abs(follow.zone_kw[0] - wanted_kw) @ problem.grid.hours
        off_kwh["one column"] += np.abs(one.zone_kw[0] - wanted_kw) @ problem.grid.hours
        assert follow.zone_kw.sum(axis=0) == pytest.approx(follow.power_kw.sum(axis=0))
    assert off_kwh["follow"] < 0.7 * off_kwh["one column"]


def test_following_a_plan_gives_the_plan_where_a_device_can_do_it(workers: ThreadPoolExecutor) -> None:
    """A re-plan's first columns: what was planned, at any prices, so that they keep the rows that the plan kept."""
    problem = random_problem(5, resources=60, intervals=16, kinds=(ResourceKind.THERMAL_LOAD, ResourceKind.EV_SESSION))
    plan = FastSolver(small=0).solve(problem, deadline_s=30, gap=1e-2)
    again = replace(
        problem,
        baseline_kw=plan.baseline_kw,
        real_time=RealTimeTerms(plan.power_kw[:, 0].copy(), plan.power_kw, np.zeros(len(problem.grid))),
    )
    city = city_of(again, workers)
    generator = generator_of(city, strata_of(city.blocks))
    generator.follow(some_duals(city, 1))
    zone_kw = np.zeros((len(problem.zones), len(problem.grid)))
    np.add.at(zone_kw, [group.zone for group in generator.groups], generator.pool.power_kw)
    assert zone_kw.sum(axis=0) == pytest.approx(plan.power_kw.sum(axis=0), abs=1e-4)


@pytest.fixture(scope="module")
def next_cycle(workers: ThreadPoolExecutor) -> City:
    """A city that has a plan, at the same time of the day, where straying and switching cost nothing."""
    problem = random_problem(6, resources=400, intervals=12, zones=2, events=2, kinds=ALL_KINDS)
    plan = FastSolver(small=0).solve(problem, deadline_s=30, gap=1e-2)
    now_kw = np.full(len(plan.power_kw), np.nan)
    terms = RealTimeTerms(now_kw, plan.power_kw, np.zeros(len(problem.grid)))
    return city_of(replace(problem, baseline_kw=plan.baseline_kw, real_time=terms), workers)


def test_a_sample_that_follows_its_plan_is_right_about_everybody(next_cycle: City) -> None:
    """Its rows are a few of four hundred, and yet no row of the city is off: the plan of all is known."""
    duals = some_duals(next_cycle, 1)
    everybody = generator_of(next_cycle, strata_of(next_cycle.blocks))
    everybody.follow(duals)
    truth = everybody.values(everybody.pool.columns)
    fleet = sampled_of(next_cycle, 2)
    assert not fleet.whole
    fleet.sample.follow(duals)
    uncorrected = fleet.sample.values(fleet.sample.pool.columns)
    fleet.recollect(0.0)
    corrected = fleet.sample.values(fleet.sample.pool.columns)
    assert np.abs(corrected - truth).max() < 1e-3 + 0.02 * np.abs(uncorrected - truth).max()
    given = Fixed(np.zeros_like(truth), 0.0)
    fleet.without(np.array([group.block == 0 for group in fleet.sample.groups]), given)
    rest = generator_of(next_cycle, [group for group in strata_of(next_cycle.blocks) if group.block != 0])
    rest.follow(duals)
    assert fleet.sample.values(fleet.sample.pool.columns) == pytest.approx(rest.values(rest.pool.columns), abs=1e-3)


def test_who_stays_steady_moves_less_and_is_not_paid_for_it_in_the_end(next_cycle: City) -> None:
    """Asked for ten fen more a kWh: fewer kWh off the plan; the search counts them, the schedules' cost does not."""
    sweeper, groups = next_cycle.sweeper, strata_of(next_cycle.blocks)
    duals = some_duals(next_cycle, 2)
    off_kwh = {}
    for steady in (0.0, 0.1):
        points = sweeper.points(duals, steady=steady)
        counted = sweeper.sweep(groups, [points[group.zone] for group in groups]).cost_cny.sum()
        paid = off_kwh[steady] = 0.0
        for group in groups:
            block, power_kw = next_cycle.blocks[group.block], np.empty((len(group), next_cycle.rows.intervals))
            prices = sweeper.prices(points[group.zone], real=True)
            paid += float(sweeper.sums(group, prices, power_kw).totals[1])
            alone = block.members.alone[group.first : group.last]
            plan_kw = block.near.plan_kw[block.near.row[group.first : group.last]]
            off_kwh[steady] += float((np.abs(power_kw - plan_kw)[alone] @ next_cycle.setting.hours).sum())
        assert counted == pytest.approx(paid + steady * off_kwh[steady], rel=1e-9)
    assert off_kwh[0.1] < 0.9 * off_kwh[0.0]


def test_a_mix_of_its_heaviest_columns_keeps_the_rows_or_is_the_mix_itself(workers: ThreadPoolExecutor) -> None:
    city = city_of(random_problem(5, resources=80, intervals=24, events=2), workers)
    generator = generator_of(city, strata_of(city.blocks))
    center = generator.steer(time.monotonic() + 30)
    generator.approach(center, until=time.monotonic() + 30, rounds=6, enough=1e-3)
    mix = generator.blend(center, until=time.monotonic() + 30, rounds=3, enough_cny=1e-2)
    before = len(generator.pool)
    found = generator.heaviest(mix, 3, 1e-3)
    assert len(found.theta) == len(generator.pool)
    most = np.bincount(generator.pool.group).max()
    assert (found is mix and len(generator.pool) == before) or most <= 3
    slack = city.rows.penalty * city.rows.hours
    assert slack @ np.maximum(found.values, 0.0) <= slack @ np.maximum(mix.values, 0.0) + 2e-3
