"""One store in one problem, priced in three ways: its fast oracle, the checker's oracle, and the reference solver."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.check.devices import Device, devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.stores import Least, least_stay, least_storage, least_thermal
from models.dispatch.fast.pricing.common import WORK_ROWS
from models.dispatch.fast.setting import Setting
from models.dispatch.problem import DispatchProblem, RealTimeTerms, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import Pillar, ResourceBase, ResourceKind

START = datetime(2025, 7, 15, 22, tzinfo=UTC)
COMMON: dict[str, Any] = {
    "resource_id": "x",
    "aggregator_id": "a",
    "zone_id": "Z",
    "meter_id": "m",
    "pillar": Pillar.LOAD,
    "tariff_id": "t",
}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def a_grid(dice: np.random.Generator, count: int) -> IntervalGrid:
    """Equal or unequal intervals."""
    minutes = dice.choice([5, 15, 30, 60], count) if dice.random() < 0.5 else np.full(count, dice.choice([15, 60]))
    edges = np.concatenate([[0], np.cumsum(minutes)])
    return IntervalGrid(tuple(START + timedelta(minutes=int(edge)) for edge in edges))


def some_prices(dice: np.random.Generator, count: int, low: float = -0.5) -> FloatArray:
    """Rough, tied, all equal, or with a dear window."""
    style = dice.integers(0, 4)
    if style == 0:
        return dice.uniform(low, 2.0, count)
    if style == 1:
        return dice.choice([low, 0.0, 0.5, 1.0], count)
    if style == 2:
        return np.full(count, float(dice.choice([0.0, 0.7, low])))
    prices = dice.uniform(0.3, 0.9, count)
    first = int(dice.integers(0, count))
    prices[first : first + int(dice.integers(1, 6))] += dice.uniform(0.5, 6)
    return prices


def a_problem(
    row: ResourceBase,
    grid: IntervalGrid,
    prices: FloatArray,
    state: ResourceState | None = None,
    profile: FloatArray | None = None,
) -> DispatchProblem:
    """A city of one device whose tariff is the effective price."""
    count = len(grid)
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows([row]),
        zones=("Z",),
        zone_load_kw=np.zeros((1, count)),
        zone_limit_kw=np.full((1, count), np.inf),
        tariffs={"t": prices},
        profiles={"p": np.ones(count) if profile is None else profile},
        states={} if state is None else {row.resource_id: state},
    )


@dataclass(frozen=True)
class Answer:
    """What a fast oracle says of the problem's only device, and what it ought to say.

    ``cost``: of its schedule, recomputed from power and the checker's own cost.  ``least``: its claim.
    """

    units: Any
    least: float
    cost: float
    checker: float
    exact: bool
    power_kw: FloatArray
    energy_kwh: FloatArray


def checker_least(device: Device, prices: Prices, horizon: Horizon) -> Least:
    """By the checker's oracle of the device's kind."""
    if device.kind is ResourceKind.EV_SESSION:
        parts = [least_stay(stay, prices, horizon) for stay in device.stays]
        return Least(sum(part.cost for part in parts), all(part.exact for part in parts))
    if device.kind is ResourceKind.THERMAL_LOAD:
        return least_thermal(device.row, prices, horizon)
    return least_storage(device.row, prices, horizon)


def ask(
    arrays: Callable[..., Any],
    cheapest: Callable[..., tuple[float, float, float]],
    problem: DispatchProblem,
    near: tuple[FloatArray, FloatArray] | None = None,
    *,
    least_of: Callable[[Device, Prices, Horizon], Least] = checker_least,
) -> Answer:
    """The cheapest schedule at the tariff, which the checker must find feasible; ``near``: stray cost and plan (T,)."""
    (table,) = admit(problem)[0].fleet.tables.values()
    setting = Setting.of(problem)
    units = arrays(table.columns, setting, setting.state_of(table.columns["resource_id"]))
    count, price, late = len(problem.grid), problem.tariffs["t"], float(setting.tariff_mean[0])
    stray, plan = (np.zeros(count), np.zeros(count)) if near is None else near
    power, work = np.full(count, np.nan), np.full((WORK_ROWS, 4 * count + 64), np.nan)
    least, own, late_kwh = cheapest(units, 0, setting.hours, price, late, stray, plan, power, work)
    horizon = Horizon.of(problem)
    (device,) = devices_of(problem, horizon)
    check = device.check(power, horizon)
    assert check.findings == []
    assert own == pytest.approx(check.own_cost, rel=1e-5, abs=1e-5)
    assert late_kwh == pytest.approx(check.late_kwh, rel=1e-5, abs=1e-4)
    cost = float(setting.hours @ (price * power + stray * np.abs(power - plan))) + own + late * late_kwh
    outside, constant = np.zeros(count, dtype=np.bool_), 0.0
    if device.stays:
        outside = device.stays[0].share == 0
        constant = float((setting.hours * stray * np.abs(plan))[outside].sum())
    checker = least_of(device, Prices(price, late, np.where(outside, 0.0, stray), plan), horizon)
    assert check.energy_kwh is not None
    return Answer(units, least, cost, checker.cost + constant, checker.exact, power, check.energy_kwh)


def reference_cost(problem: DispatchProblem, near: tuple[FloatArray, FloatArray] | None = None) -> float:
    """The optimum of the device's own equations; with ``near``, one cost of straying throughout."""
    if near is not None:
        stray, plan = near
        assert np.ptp(stray) == 0
        terms = RealTimeTerms(np.array([np.nan]), plan[None], np.ones(len(plan)))
        penalties = replace(problem.penalties, stray_cost_per_kwh=float(stray[0]))
        problem = replace(problem, real_time=terms, penalties=penalties)
    return float(ReferenceSolver().solve(problem, deadline_s=60, gap=1e-8).objective_cny)
