"""Generators: the oracle against the checker's, against Pyomo and HiGHS, and its schedules against the device check."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.dispatch.check.devices import devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.plants import least_generator
from models.dispatch.check.oracles.prices import Prices as CheckerPrices
from models.dispatch.fast.pricing.commitment import GeneratorArrays
from models.dispatch.fast.pricing.common import NOTHING_NEAR, WORK_ROWS, Members, Prices, empty_sums
from models.dispatch.fast.pricing.generation import (
    cheapest_generator,
    generator_arrays,
    sweep_generator,
)
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import Generator, Pillar, ResourceKind
from tests.fleets import START

FREE_RAMP = 1e4


def machine(dice: np.random.Generator, index: int) -> Generator:
    """Any generator: with or without a minimum, slow or quick, dear or cheap to start, short or long times."""
    power = float(dice.choice([100.0, dice.uniform(50, 250)]))
    return Generator(
        resource_id=f"g{index:03d}",
        aggregator_id="industry",
        zone_id="z",
        meter_id=f"m{index}",
        pillar=Pillar.SOURCE,
        tariff_id="t",
        power_min_kw=power * float(dice.choice([0.0, 0.3, 0.5, dice.uniform(0, 1), 1.0])),
        power_max_kw=power,
        cost_per_kwh=float(dice.choice([0.5, dice.uniform(0.3, 1.2)])),
        start_cost=power * float(dice.choice([0.0, 0.1, dice.uniform(0, 0.5)])),
        no_load_cost_per_h=power * float(dice.choice([0.0, dice.uniform(0, 0.1)])),
        ramp_kw_per_h=power * float(dice.choice([0.0, 0.25, dice.uniform(0.1, 2.0), FREE_RAMP])),
        minimum_up_h=float(dice.choice([0.0, 1.0, 2.0, dice.uniform(0, 5)])),
        minimum_down_h=float(dice.choice([0.0, 1.0, 2.0, dice.uniform(0, 5)])),
    )


def some_state(dice: np.random.Generator, unit: Generator) -> ResourceState:
    on = (None, True, True, False)[int(dice.integers(4))]
    been_h = None if dice.random() < 0.3 else float(dice.choice([0.0, 0.5, dice.uniform(0, 4)]))
    output = None if dice.random() < 0.2 else -unit.power_max_kw * float(dice.choice([1.1, dice.uniform(0, 1)]))
    return ResourceState(on=on, hours_in_state_h=been_h, power_kw=output)


def some_grid(dice: np.random.Generator, count: int) -> IntervalGrid:
    if dice.random() < 0.4:
        return IntervalGrid.regular(START, timedelta(minutes=15), count)
    steps = dice.choice([5, 10, 15, 30, 60], count)
    return IntervalGrid(tuple(START + timedelta(minutes=int(m)) for m in np.concatenate([[0], np.cumsum(steps)])))


def some_prices(dice: np.random.Generator, count: int) -> FloatArray:
    """Tied, plain, negative and wild prices, with peaks that are worth a run."""
    kind = int(dice.integers(4))
    if kind == 0:
        return dice.choice([0.0, 0.5, 0.8], count)
    wave = 0.7 + 0.6 * np.sin(np.linspace(0, dice.uniform(3, 12), count) + dice.uniform(0, 6))
    return np.asarray(wave + dice.normal(0, [0.02, 0.02, 0.3, 2.0][kind], count))


def problem_of(dice: np.random.Generator, count: int, machines: int) -> DispatchProblem:
    grid = some_grid(dice, count)
    units = [machine(dice, k) for k in range(machines)]
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows(units),
        zones=("z",),
        zone_load_kw=np.zeros((1, count)),
        zone_limit_kw=np.full((1, count), np.inf),
        tariffs={"t": some_prices(dice, count)},
        profiles={},
        states={unit.resource_id: some_state(dice, unit) for unit in units if dice.random() < 0.7},
    )


def arrays_of(problem: DispatchProblem) -> GeneratorArrays:
    setting, columns = Setting.of(problem), problem.fleet.tables[ResourceKind.GENERATOR].columns
    return generator_arrays(columns, setting, setting.state_of(columns["resource_id"]))


def ask(
    units: GeneratorArrays, i: int, hours: FloatArray, price: FloatArray, stray: FloatArray, plan: FloatArray
) -> tuple[float, float, float, FloatArray]:
    power, work = np.full(len(hours), np.nan), np.full((WORK_ROWS, 4 * len(hours) + 64), np.nan)
    least, own, late = cheapest_generator(units, i, hours, price, 0.0, stray, plan, power, work)
    return least, own, late, power


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000_000), count=st.integers(1, 40))
def test_a_generators_least_cost_is_the_checkers_and_its_schedule_costs_that(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    problem = problem_of(dice, count, 8)
    horizon, units = Horizon.of(problem), arrays_of(problem)
    hours, price, nothing = problem.grid.hours, problem.tariffs["t"], np.zeros(count)
    for i, device in enumerate(devices_of(problem, horizon)):
        least, own, late, power = ask(units, i, hours, price, nothing, nothing)
        expected = least_generator(device.row, CheckerPrices(price, 0.0), horizon)
        scale = max(1.0, float(hours @ np.abs(price)) * device.row.power_max_kw)
        assert expected.exact
        assert least == pytest.approx(expected.cost, rel=1e-9, abs=1e-11 * scale)
        check = device.check(power, horizon)
        assert not check.findings
        assert own == pytest.approx(check.own_cost, rel=1e-9, abs=1e-9)
        assert float((hours * price) @ power) + own == pytest.approx(least, rel=1e-9, abs=1e-11 * scale)
        assert late == 0.0


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_a_generators_least_cost_is_the_optimum_of_its_equations(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = problem_of(dice, 16, 1)
    hours, price, nothing = problem.grid.hours, problem.tariffs["t"], np.zeros(16)
    least, _, _, _ = ask(arrays_of(problem), 0, hours, price, nothing, nothing)
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-9)
    assert least == pytest.approx(plan.objective_cny, rel=1e-6, abs=1e-5)


def keeps_its_times(unit: Generator, on: tuple[bool, ...], was_on: bool, been_h: float, edges_h: FloatArray) -> bool:
    since, state = -been_h, was_on
    for t, here in enumerate(on):
        if here != state:
            if edges_h[t] - since < (unit.minimum_up_h if state else unit.minimum_down_h) - 1e-9:
                return False
            since, state = float(edges_h[t]), here
    return True


def least_by_enumeration(problem: DispatchProblem, price: FloatArray, stray: FloatArray, plan_kw: FloatArray) -> float:
    """Every commitment that keeps its times, its outputs by a linear program: variables g and |g + plan|."""
    (unit,) = problem.fleet.rows()
    units, hours = arrays_of(problem), problem.grid.hours
    count, was_on, was_kw = len(hours), bool(units.was_on[0]), float(units.was_kw[0])
    cost = np.concatenate([hours * (unit.cost_per_kwh - price), hours * stray])
    one, step = np.eye(count), unit.ramp_kw_per_h * hours
    change = np.eye(count) - np.eye(count, k=-1)
    rows = np.vstack([np.hstack([one, -one]), np.hstack([-one, -one])])
    ramps = np.vstack([np.hstack([change, 0 * one]), np.hstack([-change, 0 * one])])
    best = np.inf
    for on in product([False, True], repeat=count):
        if not keeps_its_times(unit, on, was_on, float(units.been_h[0]), problem.grid.offsets_h):
            continue
        here, before = np.array(on), np.array([was_on, *on[:-1]])
        jump = np.maximum(unit.power_min_kw, step)
        first = np.where(np.arange(count) == 0, was_kw, 0.0)
        up = np.where(before, step, jump) + first
        down = np.where(here, step, jump) - first
        bounds = [(unit.power_min_kw * n, unit.power_max_kw * n) for n in on] + [(0, None)] * count
        limits = np.concatenate([-plan_kw, plan_kw, up, down])
        found = linprog(cost, np.vstack([rows, ramps]), limits, bounds=bounds, method="highs")
        if found.status == 0:
            starts = np.count_nonzero(here & ~before)
            best = min(best, found.fun + starts * unit.start_cost + unit.no_load_cost_per_h * float(hours @ here))
    return best


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_in_real_time_a_generator_weighs_straying_and_leaves_it_out_of_the_bound(seed: int) -> None:
    dice = np.random.default_rng(seed)
    count = int(dice.integers(1, 7))
    problem = problem_of(dice, count, 1)
    hours, price, nothing = problem.grid.hours, problem.tariffs["t"], np.zeros(count)
    units = arrays_of(problem)
    top = float(units.power_max_kw[0])
    plan_kw = -top * dice.choice([0.0, 0.4, 0.8, -0.1, dice.uniform(0, 1)], count)
    stray = dice.choice([0.0, 0.05, 0.3, 2.0], count)
    alone, _, _, _ = ask(units, 0, hours, price, nothing, nothing)
    least, own, _, power = ask(units, 0, hours, price, stray, plan_kw)
    assert least == alone
    horizon = Horizon.of(problem)
    check = devices_of(problem, horizon)[0].check(power, horizon)
    assert not check.findings
    assert own == pytest.approx(check.own_cost, rel=1e-9, abs=1e-9)
    cost = float(hours @ (price * power + stray * np.abs(power - plan_kw))) + own
    assert cost == pytest.approx(least_by_enumeration(problem, price, stray, plan_kw), rel=1e-7, abs=1e-7 * top)


def test_a_peak_is_met_by_a_ramp_that_begins_before_it() -> None:
    dice = np.random.default_rng(0)
    unit = machine(dice, 0).model_copy(
        update={
            "power_min_kw": 20.0,
            "power_max_kw": 100.0,
            "cost_per_kwh": 0.5,
            "start_cost": 5.0,
            "no_load_cost_per_h": 0.0,
            "ramp_kw_per_h": 40.0,
            "minimum_up_h": 1.0,
            "minimum_down_h": 1.0,
        }
    )
    problem = replace(problem_of(dice, 8, 1), fleet=Fleet.from_rows([unit]), states={})
    problem = replace(problem, grid=IntervalGrid.regular(START, timedelta(hours=1), 8))
    price = np.array([0.1, 0.45, 0.45, 2.0, 0.45, 0.45, 0.1, 0.1])
    _, _, _, power = ask(arrays_of(problem), 0, problem.grid.hours, price, np.zeros(8), np.zeros(8))
    # No more than it must beside the peak: two ramps up to it from the minimum, two down to where it may stop.
    assert power.tolist() == [0.0, -20.0, -60.0, -100.0, -60.0, -20.0, 0.0, 0.0]


def test_a_sweep_adds_up_what_every_generator_answers() -> None:
    dice = np.random.default_rng(3)
    problem = problem_of(dice, 24, 30)
    units, hours, n = arrays_of(problem), problem.grid.hours, 30
    members = Members(
        np.zeros(n, dtype=np.int64),
        dice.integers(0, 2, n),
        dice.uniform(0.7, 1, n),
        np.arange(n, dtype=np.int64),
        np.ones(n, dtype=np.bool_),
    )
    duals = dice.uniform(0, 0.3, (2, 24))
    tariff, zone = problem.tariffs["t"], dice.uniform(0, 0.1, 24)
    prices = Prices(hours, tariff[None, :], np.zeros(1), np.zeros(1), zone, duals, np.zeros(24), 0.0, np.empty((0, 24)))
    near = NOTHING_NEAR
    whole, out = empty_sums(24, 2), np.zeros((n, 24))
    sweep_generator(units, members, near, 0, n, prices, whole, out)
    again, parts = np.zeros((n, 24)), [empty_sums(24, 2) for _ in range(3)]
    for part, (first, last) in zip(parts, pairwise([0, 7, 20, n]), strict=True):
        sweep_generator(units, members, near, first, last, prices, part, again[first:last])
    assert np.array_equal(out, again)
    least = cost = 0.0
    for i in range(n):
        price = tariff + zone + members.reliability[i] * duals[members.price_class[i]]
        lowest, own, _, power = ask(units, i, hours, price, np.zeros(24), np.zeros(24))
        assert np.array_equal(power, out[i])
        least += lowest
        cost += own + float((hours * tariff) @ power)
    for sums in (whole, *parts):
        assert sums.power_kw.shape == (24,)
    assert whole.totals[:2] == pytest.approx([least, cost], rel=1e-9)
    assert np.sum([part.totals[:2] for part in parts], axis=0) == pytest.approx(whole.totals[:2], rel=1e-9)
    assert whole.power_kw == pytest.approx(out.sum(axis=0), rel=1e-9, abs=1e-9)


def test_missing_states_mean_off_for_long() -> None:
    problem = replace(problem_of(np.random.default_rng(8), 4, 3), states={})
    units = arrays_of(problem)
    assert not units.was_on.any()
    assert np.isinf(units.been_h).all()
    assert (units.was_kw == 0).all()
