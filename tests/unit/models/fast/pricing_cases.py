"""One device in one problem, asked in three ways: its fast oracle, the checker's oracle, and the reference solver.

``from tests.unit.models.fast.pricing_cases import ...``.  Grids of unequal intervals, prices negative, tied or zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.check.devices import Device, devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices as CheckerPrices
from models.dispatch.fast.pricing.common import NOTHING_NEAR, WORK_ROWS, Members, Near, Prices, empty_sums
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.events import Event
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import Pillar, ResourceBase

START = datetime(2025, 7, 15, 22, tzinfo=UTC)
COMMON: dict[str, Any] = {
    "resource_id": "x",
    "aggregator_id": "a",
    "zone_id": "Z",
    "meter_id": "m",
    "pillar": Pillar.LOAD,
    "tariff_id": "t",
    "reliability_fraction": 0.0,  # an event gives T0 here, and asks nothing
}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def random_grid(dice: np.random.Generator, count: int) -> IntervalGrid:
    """Hourly, quarter hours, or unequal intervals as in real time."""
    if dice.random() < 0.4:
        return IntervalGrid.regular(START, timedelta(minutes=int(dice.choice([15, 60]))), count)
    minutes = np.concatenate([[0], np.cumsum(dice.choice([5, 10, 15, 30, 60], count))])
    return IntervalGrid(tuple(START + timedelta(minutes=int(each)) for each in minutes))


def random_prices(dice: np.random.Generator, count: int, scale: float = 1.0) -> FloatArray:
    """Rough ones, tied ones, some zero or negative, some with high duals in a window."""
    style = dice.integers(0, 4)
    if style == 0:
        return scale * dice.uniform(-0.5, 2.0, count)
    if style == 1:
        return scale * dice.choice([-0.2, 0.0, 0.5, 1.0], count)
    if style == 2:
        return np.full(count, scale * float(dice.choice([0.0, 0.7, -0.3])))
    prices = scale * dice.uniform(0.3, 0.9, count)
    first = int(dice.integers(0, count))
    prices[first : first + int(dice.integers(1, 6))] += scale * dice.uniform(0.5, 6)
    return prices


def problem_of(
    row: ResourceBase,
    grid: IntervalGrid,
    prices: FloatArray,
    *,
    profile: FloatArray | None = None,
    state: ResourceState | None = None,
    issued_h: float | None = None,
    runs: Mapping[str, FloatArray] | None = None,
) -> DispatchProblem:
    """A city of one device whose tariff is the effective price."""
    count = len(grid)
    events: tuple[Event, ...] = ()
    if issued_h is not None:
        start, end = grid.edges[-2:]
        events = (Event(event_id="e", start=start, end=end, target_kw=0.0, issued_at=at(issued_h)),)
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows([row]),
        zones=("Z",),
        zone_load_kw=np.zeros((1, count)),
        zone_limit_kw=np.full((1, count), np.inf),
        tariffs={"t": prices},
        profiles={"p": np.ones(count) if profile is None else profile},
        run_profiles=runs or {},
        events=events,
        states={} if state is None else {row.resource_id: state},
    )


@dataclass(frozen=True)
class Oracle:
    """A kind's fast oracle, and the checker's."""

    arrays: Callable[..., Any]
    cheapest: Callable[..., tuple[float, float, float]]
    sweep: Callable[..., None]
    checker: Callable[..., Any]


@dataclass(frozen=True)
class Answer:
    """What a fast oracle says, and what the checker finds about it."""

    least: float
    own: float
    power_kw: FloatArray
    cost: float
    checker_least: float
    device: Device
    horizon: Horizon


def ask(
    oracle: Oracle, problem: DispatchProblem, stray: FloatArray | None = None, plan_kw: FloatArray | None = None
) -> Answer:
    """The cheapest schedule of the problem's only device at its tariff, feasible by the checker's own check."""
    (table,) = admit(problem)[0].fleet.tables.values()
    setting = Setting.of(problem)
    units = oracle.arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    count = len(problem.grid)
    price = problem.tariffs["t"]
    stray_used = np.zeros(count) if stray is None else stray
    plan = np.zeros(count) if plan_kw is None else plan_kw
    power = np.full(count, np.nan)
    work = np.full((WORK_ROWS, 4 * count + 64), np.nan)
    late = float(setting.tariff_mean[0])
    least, own, late_kwh = oracle.cheapest(units, 0, setting.hours, price, late, stray_used, plan, power, work)
    assert late_kwh == 0
    horizon = Horizon.of(problem)
    (device,) = devices_of(problem, horizon)
    check = device.check(power, horizon)
    assert check.findings == []
    # the checker recovers reductions from net power, and rounding grows through a large rebound
    assert own == pytest.approx(check.own_cost, rel=1e-7, abs=1e-6)
    cost = float(setting.hours @ (price * power + stray_used * np.abs(power - plan))) + own
    checker = oracle.checker(device.row, CheckerPrices(price, late, stray, plan_kw), horizon)
    return Answer(least, own, power, cost, checker.cost, device, horizon)


def reference_cost(problem: DispatchProblem) -> float:
    """The optimum of the device's own equations."""
    return float(ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7).objective_cny)


def swept(oracle: Oracle, problem: DispatchProblem, near: Near = NOTHING_NEAR) -> tuple[Any, FloatArray]:
    """Sums and schedules of a sweep over every device of one kind at the tariff."""
    (table,) = admit(problem)[0].fleet.tables.values()
    setting = Setting.of(problem)
    units = oracle.arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    n, count = len(table), len(problem.grid)
    zeros = np.zeros(n, dtype=np.int64)
    tariff = np.array([setting.tariff_row[name] for name in table.columns["tariff_id"]])
    rho = table.columns["reliability_fraction"].astype(np.float64)
    members = Members(tariff, zeros, rho, np.arange(n), np.ones(n, dtype=np.bool_))
    late = setting.tariff_mean
    prices = Prices(
        hours=setting.hours,
        tariff=setting.tariffs,
        late=late,
        late_cost=late,
        zone=np.zeros(count),
        by_class=np.zeros((1, count)),
        stray=np.zeros(count),
        switch=0.0,
        noise=np.zeros((0, count)),
    )
    sums, power = empty_sums(count, 1), np.zeros((n, count))
    oracle.sweep(units, members, near, 0, n, prices, sums, power)
    return sums, power


def many(rows: list[ResourceBase], problem: DispatchProblem) -> DispatchProblem:
    """The same problem with other rows, renamed to be distinct."""
    renamed = [row.model_copy(update={"resource_id": f"x{k:03d}"}) for k, row in enumerate(rows)]
    return replace(problem, fleet=Fleet.from_rows(renamed))


def follow(
    oracle: Oracle, planned: Callable[..., float], problem: DispatchProblem, plan_kw: FloatArray
) -> FloatArray | None:
    """What the problem's only load does if it shall follow ``plan_kw``; None if it cannot.

    What it does is feasible by the checker's own check, and costs what it says.
    """
    (table,) = admit(problem)[0].fleet.tables.values()
    setting, count = Setting.of(problem), len(problem.grid)
    units = oracle.arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    power, work = np.full(count, np.nan), np.full((WORK_ROWS, 4 * count + 64), np.nan)
    own = planned(units, 0, setting.hours, problem.tariffs["t"], np.ones(count), plan_kw, power, work)
    if own < 0:
        return None
    horizon = Horizon.of(problem)
    (device,) = devices_of(problem, horizon)
    check = device.check(power, horizon)
    assert check.findings == []
    assert own == pytest.approx(check.own_cost, rel=1e-7, abs=1e-6)
    return power


def energies(show: Callable[..., None], units: Any, power_kw: FloatArray) -> FloatArray:
    """What a kind's energy column shows for all its rows under power (n, T)."""
    every, found = np.arange(len(power_kw)), np.full(power_kw.shape, np.nan)
    show(units, every, every, power_kw, found)
    return found
