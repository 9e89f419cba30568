"""Rows, shards, handing out and warm starts of the fast path, on situations of every kind."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check import coupling as checked
from models.dispatch.check.roster import Roster
from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.allocation import Part, mixed, split, supports
from models.dispatch.fast.baseline import Baseline, baseline_of
from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.master import Pool
from models.dispatch.fast.mixing import changes, powers
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Near
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import STRATA, Block, Shard, blocks_of, cut, places_of, strata_of
from models.dispatch.fast.solve import FastSolver
from models.dispatch.fast.sweeps import Point, Sweeper
from models.dispatch.fast.warm import LastDuals, LastMix
from models.dispatch.problem import DispatchProblem
from models.fleet import Column
from models.intervals import IntervalGrid
from models.plan import schedule_hash
from models.resources import ResourceKind
from tests.fleets import random_problem, situation

SEEDS = st.integers(0, 100_000)
few = settings(max_examples=20, deadline=None)


@dataclass
class City:
    problem: DispatchProblem
    blocks: list[Block]
    sweeper: Sweeper
    baseline: Baseline
    rows: CouplingRows
    tables: Mapping[ResourceKind, Mapping[str, Column]]


def ready(problem: DispatchProblem, workers: ThreadPoolExecutor) -> City:
    tables, _ = admit_columns(problem)
    setting = Setting.of(problem)
    classes = Classes.of(problem, tables)
    blocks = blocks_of(problem, tables, classes, setting)
    sweeper = Sweeper(problem, setting, blocks, workers)
    baseline = baseline_of(problem, setting, blocks, sweeper, classes)
    rows = coupling_rows(problem, classes, baseline.zone_kw, baseline.class_kw)
    sweeper.couple(rows)
    return City(problem, blocks, sweeper, baseline, rows, tables)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


# ---- coupling rows


@few
@given(seed=SEEDS)
def test_rows_miss_what_the_checker_says_they_miss(workers: ThreadPoolExecutor, seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = situation(seed)
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    table, power = dice.uniform(-50, 100, shape), dice.uniform(-50, 100, shape)
    city = ready(replace(problem, baseline_kw=table), workers)
    zone_kw, class_kw = sums_of(city, power)
    said = {checked.row_key(row): row.amount for row in city.rows.amounts(city.rows.values(zone_kw, class_kw), 1e-9)}

    roster = Roster.of(problem)
    classes = checked.Classes.made(problem, roster)
    base, now = (checked.Sums.none(len(classes), shape[1]) for _ in range(2))
    base.add(classes.of, roster.reliability, table)
    now.add(classes.of, roster.reliability, power)
    wanted = {
        family.key(start): amount
        for family in checked.coupling_rows(classes, base)
        for start, amount in zip(problem.grid.starts, family.excess(now), strict=True)
        if amount > 1e-9
    }
    assert said.keys() == wanted.keys()
    assert said == pytest.approx(wanted, rel=1e-9, abs=1e-7)


def sums_of(city: City, power_kw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums per zone, and per class times reliability, resource by resource."""
    zone_kw, class_kw = np.zeros_like(city.baseline.zone_kw), np.zeros_like(city.baseline.class_kw)
    for row, name in enumerate(city.problem.fleet.resource_ids):
        what = city.problem.attributes[name]
        zone_kw[city.problem.zones.index(what.zone_id)] += power_kw[row]
        block = next(each for each in city.blocks if row in each.members.resource)
        place = int(np.flatnonzero(block.members.resource == row)[0])
        class_kw[block.members.price_class[place]] += what.reliability_fraction * power_kw[row]
    return zone_kw, class_kw


@few
@given(seed=SEEDS)
def test_prices_are_the_transpose_of_values(workers: ThreadPoolExecutor, seed: int) -> None:
    """Σ price · power = Σ λ · (value − constant), whatever λ and the sums are."""
    dice = np.random.default_rng(seed)
    city = ready(situation(seed), workers)
    zone_kw = dice.uniform(-100, 100, city.baseline.zone_kw.shape)
    class_kw = dice.uniform(-100, 100, city.baseline.class_kw.shape)
    duals = dice.uniform(0, 5, len(city.rows.t))
    by_zone, by_class = city.rows.prices(duals)
    paid = float((by_zone * zone_kw).sum() + (by_class * class_kw).sum())
    owed = float(duals @ (city.rows.values(zone_kw, class_kw) - city.rows.constant))
    assert paid == pytest.approx(owed, rel=1e-9, abs=1e-6)


@few
@given(seed=SEEDS)
def test_netting_the_ends_of_a_band_leaves_every_price(workers: ThreadPoolExecutor, seed: int) -> None:
    city = ready(situation(seed), workers)
    duals = np.random.default_rng(seed).uniform(0, 5, len(city.rows.t))
    netted = city.rows.netted(duals)
    assert (netted >= 0).all()
    assert (netted <= duals).all()
    for before, after in zip(city.rows.prices(duals), city.rows.prices(netted), strict=True):
        assert after == pytest.approx(before, abs=1e-9)


# ---- shards


@few
@given(seed=SEEDS, pieces=st.integers(1, 9))
def test_pieces_hold_every_row_once_in_one_cell(workers: ThreadPoolExecutor, seed: int, pieces: int) -> None:
    blocks = ready(situation(seed), workers).blocks
    made = cut(blocks, pieces)
    assert_every_row_once(made, blocks)
    for b, block in enumerate(blocks):
        for first, last in block.cells:
            sizes = [len(shard) for shard in made if shard.block == b and first <= shard.first < last]
            assert sum(sizes) == last - first
            assert len(sizes) == min(pieces, last - first)
            assert max(sizes) - min(sizes) <= 1


def assert_every_row_once(shards: Sequence[Shard], blocks: Sequence[Block]) -> None:
    """Shards are not empty, hold every row of all blocks once, and lie inside one zone that they name."""
    rows = sorted((shard.block, row) for shard in shards for row in range(shard.first, shard.last))
    assert rows == [(b, row) for b, block in enumerate(blocks) for row in range(len(block))]
    for shard in shards:
        assert len(shard) > 0
        assert set(blocks[shard.block].zone[shard.first : shard.last].tolist()) == {shard.zone}
        assert shard.weight == 1.0


@few
@given(seed=SEEDS)
def test_strata_hold_every_row_once_in_one_cell_zone_by_zone(workers: ThreadPoolExecutor, seed: int) -> None:
    blocks = ready(situation(seed), workers).blocks
    strata = strata_of(blocks)
    assert_every_row_once(strata, blocks)
    assert (np.diff([shard.zone for shard in strata]) >= 0).all()
    for block in blocks:
        starts = {first for first, _ in block.strata}
        assert {first for first, _ in block.cells} <= starts
        assert [last for _, last in block.strata] == [*(first for first, _ in block.strata[1:]), len(block)]


@few
@given(seed=SEEDS, resources=st.integers(1, 400))
def test_strata_are_of_like_size(workers: ThreadPoolExecutor, seed: int, resources: int) -> None:
    """Within a cell the largest of a stratum is no larger than the smallest of the one before."""
    city = ready(random_problem(seed, resources=resources, intervals=8), workers)
    zone_kw, several = np.zeros(len(city.problem.zones)), 0
    sizes = [sizes_kw(city, block) for block in city.blocks]
    for block, size_kw in zip(city.blocks, sizes, strict=True):
        assert (size_kw > 0).all()
        np.add.at(zone_kw, block.zone, size_kw)
    for block, size_kw in zip(city.blocks, sizes, strict=True):
        for low, high in block.cells:
            inside = [size_kw[first:last] for first, last in block.strata if low <= first < high]
            for larger, smaller in itertools.pairwise(inside):
                assert larger.min() >= smaller.max()
            share = size_kw[low:high].sum() / zone_kw[block.zone[low]]
            assert len(inside) <= max(1, round(STRATA * share))
            several += len(inside) > 1
    assert several or resources < 100


def sizes_kw(city: City, block: Block) -> np.ndarray:
    """About how much power each row of a block moves, (n,) kW; one row for each resource."""
    table = city.tables[block.pricer.kind]
    of = dict(zip(table["resource_id"].tolist(), block.pricer.size_kw(table).tolist(), strict=True))
    return np.array([of[city.problem.fleet.resource_ids[row]] for row in block.members.resource])


def test_the_order_inside_a_stratum_is_no_order_of_size(workers: ThreadPoolExecutor) -> None:
    """Else the first rows of it would be no fair sample."""
    city = ready(random_problem(1, resources=2_000, intervals=4, zones=1), workers)
    larger_first = []
    for block in city.blocks:
        size_kw = sizes_kw(city, block)
        for first, last in block.strata:
            half = (last - first) // 2
            if half >= 4:
                larger_first.append(size_kw[first : first + half].mean() > size_kw[last - half : last].mean())
    assert len(larger_first) > 20
    assert 0.25 < np.mean(larger_first) < 0.75


def test_whatever_the_cut_the_sums_are_the_same(workers: ThreadPoolExecutor) -> None:
    city = ready(random_problem(3, resources=60, intervals=12), workers)
    prices = city.sweeper.prices(city.sweeper.untouched())
    for b, block in enumerate(city.blocks):
        first, last = block.cells[0]
        whole = city.sweeper.sums_near(Shard(b, first, last, int(block.zone[first])), prices, NOTHING_NEAR)
        parts = [
            city.sweeper.sums_near(Shard(b, row, row + 1, int(block.zone[row])), prices, NOTHING_NEAR)
            for row in range(first, last)
        ]
        assert sum(part.power_kw for part in parts) == pytest.approx(whole.power_kw, rel=1e-9, abs=1e-9)
        assert sum(part.totals for part in parts) == pytest.approx(whole.totals, rel=1e-9, abs=1e-9)


# ---- handing out


@few
@given(seed=SEEDS)
def test_a_group_that_cannot_mix_is_cut_in_the_proportions_of_the_mix(seed: int) -> None:
    """Every row once; over many groups, single rows too, a column of theirs is taken as often as the mix asks for."""
    dice = np.random.default_rng(seed)
    sizes, first = dice.choice([1, 2, 7, 50], 40), 0
    group = np.repeat(np.arange(len(sizes)), 2)
    theta = np.empty(len(group))
    theta[0::2] = dice.uniform(0.5, 1.0, len(sizes))
    theta[1::2] = 1 - theta[0::2]
    points = [Point(np.full(1, float(k)), np.zeros((1, 1))) for k in range(len(group))]
    none = np.zeros((len(group), 1))
    pool = Pool(group, none, none, np.zeros(len(group)), points)
    carry, taken = 0.0, 0
    for g, columns in enumerate(supports(pool, theta, len(sizes))):
        assert columns.tolist() == [2 * g, 2 * g + 1]
        shard = Shard(3, first, first + int(sizes[g]), 0)
        parts, carry = split(shard, columns, pool, theta, carry)
        assert [row for part in parts for row in range(part.first, part.last)] == list(range(shard.first, shard.last))
        for part in parts:
            assert part.block == 3
            assert part.weights == (1.0,)
            assert part.points[0] in [points[k] for k in columns]
            taken += (part.last - part.first) * (part.points[0] is points[columns[0]])
        asked = float(theta[0::2][: g + 1] @ sizes[: g + 1])
        assert abs(taken - asked) <= 0.5 + 1e-9
        first = shard.last


def test_a_group_that_mixes_takes_the_columns_in_use_with_weights_that_add_up() -> None:
    points = [Point(np.full(1, float(k)), np.zeros((1, 1))) for k in range(4)]
    none = np.zeros((4, 1))
    pool = Pool(np.array([0, 1, 0, 0]), none, none, np.zeros(4), points)
    theta = np.array([0.25, 1.0, 0.0, 0.75])
    first, second = supports(pool, theta, 2)
    assert mixed(Shard(2, 10, 20, 0), first, pool, theta) == Part(2, 10, 20, (0.75, 0.25), (points[3], points[0]))
    assert mixed(Shard(2, 20, 21, 0), second, pool, theta) == Part(2, 20, 21, (1.0,), (points[1],))


@few
@given(seed=SEEDS)
def test_what_is_handed_out_adds_up_and_costs_what_it_says(workers: ThreadPoolExecutor, seed: int) -> None:
    city = ready(situation(seed), workers)
    dice = np.random.default_rng(seed)
    points = [city.sweeper.points(dice.uniform(0, 1, len(city.rows.t)))[0] for _ in range(2)]
    handout = Handout(city.problem, city.blocks, city.sweeper)
    for b, block in enumerate(city.blocks):
        alone = block.pricer.mixing.value == "not"
        weights, used = ((1.0,), points[:1]) if alone else ((0.3, 0.7), points)
        handout.add([Part(b, low, high, weights, tuple(used)) for low, high in block.cells])
    handout.finish()
    zone_kw, class_kw = sums_of(city, handout.power_kw)
    assert handout.zone_kw == pytest.approx(zone_kw, rel=1e-9, abs=1e-7)
    assert handout.class_kw == pytest.approx(class_kw, rel=1e-9, abs=1e-7)
    assert np.isfinite(handout.cost_cny)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small", [0, 10**9])
def test_a_plan_in_blocks_is_the_plan_and_has_its_fingerprint(
    workers: ThreadPoolExecutor, seed: int, small: int
) -> None:
    problem = situation(seed, most_resources=12, most_intervals=12)
    stream = FastSolver(workers, small=small).solve_stream(problem, deadline_s=60)
    whole = stream.plan()
    pieces = list(stream.blocks(3))
    assert tuple(name for piece in pieces for name in piece.resource_ids) == problem.fleet.resource_ids
    assert list(problem.fleet.resource_ids) == sorted(problem.fleet.resource_ids, key=str.encode)
    power = np.concatenate([piece.power_kw for piece in pieces])
    baseline = np.concatenate([piece.baseline_kw for piece in pieces])
    assert schedule_hash(problem.grid, problem.fleet.resource_ids, power) == whole.plan_hash
    assert schedule_hash(problem.grid, problem.fleet.resource_ids, baseline) == whole.baseline_hash
    again = FastSolver(workers, small=small).solve(problem, deadline_s=60)
    assert again.plan_hash == whole.plan_hash
    assert again.baseline_hash == whole.baseline_hash


# ---- mixing


@few
@given(seed=SEEDS, share=st.floats(0, 1))
def test_mixing_by_level_stays_inside_every_limit_and_draws_no_more(
    workers: ThreadPoolExecutor, seed: int, share: float
) -> None:
    kinds = (ResourceKind.STORAGE, ResourceKind.EV_SESSION)
    problem = random_problem(seed, kinds=kinds, resources=12, intervals=16, hydro_share=0.0, negative_prices=True)
    city = ready(problem, workers)
    dice = np.random.default_rng(seed)
    zone = np.zeros(16)
    for b, block in enumerate(city.blocks):
        if block.pricer.name not in ("storage", "vehicle_to_grid"):
            continue
        units, made = block.units, []
        for _ in range(2):
            point = replace(city.sweeper.untouched(), zone=zone + dice.uniform(-0.5, 0.5, 16))
            power = np.empty((len(block), 16))
            for low, high in block.cells:
                near: Near = NOTHING_NEAR
                shard = Shard(b, low, high, int(block.zone[low]))
                city.sweeper.sums_near(shard, city.sweeper.prices(point), near, power[low:high])
            made.append(power)
        both = share * made[0] + (1 - share) * made[1]
        change = share * changes(units, made[0]) + (1 - share) * changes(units, made[1])
        mixed = powers(units, change)
        levels = [units.start[:, None] + np.cumsum(changes(units, each) * units.hours, axis=1) for each in made]
        level = units.start[:, None] + np.cumsum(changes(units, mixed) * units.hours, axis=1)
        assert level == pytest.approx(share * levels[0] + (1 - share) * levels[1], rel=1e-9, abs=1e-7)
        assert (mixed <= both + 1e-9).all()
        assert (mixed <= units.charge_kw[:, None] * (1 + 1e-9) + 1e-9).all()
        assert (mixed >= -units.discharge_kw[:, None] * (1 + 1e-9) - 1e-9).all()
        slack = 1e-6 * np.maximum(1.0, units.ceiling)[:, None]
        if block.pricer.name == "storage":
            assert (level >= units.floor[:, None] - slack).all()
            assert (level <= units.ceiling[:, None] + slack).all()
            assert (level[:, -1] >= units.end_min - slack[:, 0]).all()


# ---- warm starts


def moved_to(problem: DispatchProblem, grid: IntervalGrid) -> DispatchProblem:
    """The same day on another grid; commitments left out."""
    return replace(
        problem,
        grid=grid,
        zone_load_kw=grid.mean_from(problem.grid, problem.zone_load_kw),
        zone_limit_kw=grid.mean_from(problem.grid, problem.zone_limit_kw),
        tariffs={name: grid.mean_from(problem.grid, values) for name, values in problem.tariffs.items()},
        profiles={name: grid.mean_from(problem.grid, values) for name, values in problem.profiles.items()},
        commitments=(),
    )


def test_the_last_duals_are_found_again_on_a_finer_grid_by_name_and_time(workers: ThreadPoolExecutor) -> None:
    problem = random_problem(4, resources=16, intervals=24, events=2)
    first = ready(problem, workers)
    last = LastDuals()
    assert last.find(first.rows) is None
    duals = np.random.default_rng(0).uniform(0, 1, len(first.rows.t)) * np.minimum(first.rows.penalty, 4.0)
    last.remember(first.rows, duals)
    assert last.find(first.rows) == pytest.approx(duals)

    start = problem.grid.start + timedelta(hours=2)
    fine = moved_to(problem, IntervalGrid.regular(start, timedelta(minutes=20), 60))
    later = ready(fine, workers)
    found = last.find(later.rows)
    assert found is not None
    known = {
        (first.rows.families[f].requirement, first.rows.families[f].event_id, first.rows.families[f].scope_id, t): value
        for f, t, value in zip(first.rows.family.tolist(), first.rows.t.tolist(), duals.tolist(), strict=True)
    }
    for f, t, value in zip(later.rows.family.tolist(), later.rows.t.tolist(), found.tolist(), strict=True):
        what = later.rows.families[f]
        hour = problem.grid.index_at(fine.grid.starts[t])
        assert value == pytest.approx(known[what.requirement, what.event_id, what.scope_id, hour])


def test_a_requirement_that_is_new_begins_at_no_price(workers: ThreadPoolExecutor) -> None:
    problem = random_problem(4, resources=16, intervals=24, events=2)
    quiet = ready(replace(problem, events=problem.events[:1]), workers)
    last = LastDuals()
    last.remember(quiet.rows, np.ones(len(quiet.rows.t)))
    city = ready(problem, workers)
    found = last.find(city.rows)
    assert found is not None
    new = np.array([city.rows.families[f].event_id == "e1" for f in city.rows.family])
    assert new.any()
    assert (found[new] == 0).all()
    assert (found[~new] == 1).all()


def test_a_baseline_whose_warm_start_ends_in_nothing_is_solved_from_anew(workers: ThreadPoolExecutor) -> None:
    """HiGHS ends the held program of a charger of this city with the status Unknown when it starts warm."""
    city = ready(situation(69594), workers)
    assert np.isfinite(city.baseline.cost_cny)


def test_the_last_mix_is_found_again_stratum_by_stratum_where_a_zone_has_more_of_them_now(
    workers: ThreadPoolExecutor,
) -> None:
    city = ready(random_problem(4, resources=16, intervals=24, events=2), workers)
    dice = np.random.default_rng(0)
    one, two, three = (dice.uniform(0, 1, len(city.rows.t)) * np.minimum(city.rows.penalty, 4.0) for _ in range(3))
    last = LastMix()
    places = [("storage", 0, 0, 2), ("storage", 0, 1, 2), ("pv", 1, 0, 1)]
    assert last.find(city.rows, places)[0].shape == (0, len(city.rows.t))
    last.remember(city.rows, {places[0]: [one, two], places[1]: [two], places[2]: [three]})
    asked, groups = last.find(city.rows, [("storage", 0, k, 4) for k in range(4)] + [("pv", 0, 0, 1), places[2]])
    assert groups.tolist() == [0, 0, 1, 1, 2, 3, 5]
    for found, known in zip(asked, [one, two, one, two, two, two, three], strict=True):
        assert found == pytest.approx(known)


def test_the_prices_of_many_duals_at_once_are_those_of_each(workers: ThreadPoolExecutor) -> None:
    city = ready(random_problem(4, resources=40, intervals=24, zones=3, events=2), workers)
    dice = np.random.default_rng(1)
    asked, zone = dice.uniform(0, 1, (5, len(city.rows.t))), dice.integers(0, 3, 5)
    own, by_class = city.rows.prices_each(asked, zone)
    for k in range(5):
        alone, classed = city.rows.prices(asked[k])
        assert own[k] == pytest.approx(alone[zone[k]])
        assert by_class[k] == pytest.approx(classed)


def test_strata_of_one_zone_and_pricer_are_numbered_in_order(workers: ThreadPoolExecutor) -> None:
    city = ready(random_problem(4, resources=60, intervals=6, zones=2), workers)
    strata = strata_of(city.blocks)
    places = places_of(city.blocks, strata)
    assert len(set(places)) == len(strata)
    for stratum, (pricer, zone, rank, count) in zip(strata, places, strict=True):
        own = [each for each in strata if each.block == stratum.block and each.zone == stratum.zone]
        assert (city.blocks[stratum.block].pricer.name, stratum.zone) == (pricer, zone)
        assert (own.index(stratum), len(own)) == (rank, count)
