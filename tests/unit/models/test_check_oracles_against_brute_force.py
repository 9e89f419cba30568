"""The checker's oracles against enumeration of everything a tiny resource can do: no solver on either side."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.dispatch.check.devices import Device, devices_of
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.least import least_cost_of
from models.dispatch.check.oracles.loads import two_limits
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.problem import DispatchProblem
from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from tests.unit.models import planted

COUNT = 4


def one(row: Any) -> tuple[Device, Horizon]:
    problem = DispatchProblem(
        IntervalGrid.regular(planted.START, timedelta(hours=1), COUNT),
        Fleet.from_rows([row]),
        ("z",),
        np.zeros((1, COUNT)),
        np.full((1, COUNT), np.inf),
        {"t": np.zeros(COUNT)},
        {"p": np.array([1.0, 0.5, 1.0, 2.0])},
        run_profiles={"run": np.array([1.0, 0.5])},
    )
    horizon = Horizon.of(problem)
    return devices_of(problem, horizon)[0], horizon


def brute_force(device: Device, horizon: Horizon, prices: Prices, levels: list[np.ndarray]) -> float:
    """Least cost over every combination of the powers given for each interval that keeps all limits."""
    return cheapest(device, horizon, prices, levels)[0]


def cheapest(
    device: Device, horizon: Horizon, prices: Prices, levels: list[np.ndarray]
) -> tuple[float, np.ndarray | None]:
    """Least cost over every combination, and the powers that have it (None: no combination keeps all limits)."""
    best, best_power = np.inf, None
    for powers in product(*levels):
        power = np.array(powers)
        check = device.check(power, horizon)
        if not check.findings:
            cost = (
                float((horizon.hours * prices.per_kwh) @ power) + check.own_cost + prices.late_per_kwh * check.late_kwh
            )
            if cost < best:
                best, best_power = cost, power
    return best, best_power


def near_least(device: Device, horizon: Horizon, prices: Prices, levels: list[np.ndarray]) -> float:
    """Cost of a schedule that keeps all limits and is nearly the cheapest: every combination, then ever finer near it.

    Nearer to the least cost than a twice as fine grid, in a tenth of its combinations.
    """
    cost, power = cheapest(device, horizon, prices, levels)
    assert power is not None
    for step in (0.5, 0.5, 0.25, 0.25, 0.125, 0.0625):
        around = step * np.array([0.0, -1.0, 1.0])
        finer = [np.clip(at + around, given[0], given[-1]) for at, given in zip(power, levels, strict=True)]
        cost, power = cheapest(device, horizon, prices, finer)
        assert power is not None, "the last one is among them"
    return cost


def common(name: str = "r") -> dict[str, Any]:
    return {**planted._common(name)}


price_lists = st.lists(st.integers(-3, 12).map(lambda k: k / 10 + 0.013), min_size=COUNT, max_size=COUNT).map(np.array)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, start=st.integers(0, 4), end=st.integers(0, 4), wear=st.sampled_from([0.0, 0.05]))
def test_a_lossless_battery_costs_what_enumeration_finds(
    per_kwh: np.ndarray, start: int, end: int, wear: float
) -> None:
    unit = Storage(
        **common(),
        charge_limit_kw=2,
        discharge_limit_kw=2,
        energy_min_kwh=0,
        energy_max_kwh=4,
        energy_start_kwh=start,
        energy_end_min_kwh=end,
        charge_efficiency=1,
        discharge_efficiency=1,
        wear_cost_per_kwh=wear,
    )
    device, horizon = one(unit)
    prices = Prices(per_kwh, 0.0)
    least = least_cost_of(device, prices, horizon)
    # whole numbers in, so an optimum lies on whole numbers: the constraints are a network
    assert least.exact
    assert least.cost == pytest.approx(brute_force(device, horizon, prices, [np.arange(-2.0, 3.0)] * COUNT), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, charge=st.floats(0.5, 1), discharge=st.floats(0.5, 1))
def test_no_schedule_of_a_lossy_battery_is_cheaper_than_the_oracle_says(
    per_kwh: np.ndarray, charge: float, discharge: float
) -> None:
    unit = Storage(
        **common(),
        charge_limit_kw=2,
        discharge_limit_kw=3,
        energy_min_kwh=1,
        energy_max_kwh=5,
        energy_start_kwh=3,
        energy_end_min_kwh=2,
        charge_efficiency=charge,
        discharge_efficiency=discharge,
        wear_cost_per_kwh=0.02,
    )
    device, horizon = one(unit)
    prices = Prices(per_kwh, 0.0)
    found = near_least(device, horizon, prices, [np.linspace(-3, 2, 6)] * COUNT)
    assert least_cost_of(device, prices, horizon).cost <= found + 1e-9


@settings(max_examples=15, deadline=None)
@given(
    per_kwh=price_lists, needed=st.integers(0, 6), late=st.floats(-0.2, 1.2), departure=st.sampled_from([3.0, 4.0, 6.0])
)
def test_a_car_costs_what_enumeration_finds(per_kwh: np.ndarray, needed: int, late: float, departure: float) -> None:
    car = EvSession(
        **common(),
        session_id="s",
        arrival=planted.START,
        departure=planted.at(departure),
        energy_needed_kwh=needed,
        charge_limit_kw=2,
        charge_efficiency=1,
    )
    device, horizon = one(car)
    prices = Prices(per_kwh, late)
    found = brute_force(device, horizon, prices, [np.arange(0.0, 3.0)] * COUNT)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(found, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, needed=st.integers(0, 3))
def test_a_car_that_feeds_back_costs_what_enumeration_finds(per_kwh: np.ndarray, needed: int) -> None:
    car = EvSession(
        **common(),
        session_id="s",
        arrival=planted.START,
        departure=planted.at(4),
        energy_needed_kwh=needed,
        charge_limit_kw=2,
        charge_efficiency=1,
        discharge_limit_kw=1,
        discharge_efficiency=1,
        battery_capacity_kwh=4,
        battery_start_kwh=1,
        wear_cost_per_kwh=0.03,
    )
    device, horizon = one(car)
    prices = Prices(per_kwh, 0.0)
    found = brute_force(device, horizon, prices, [np.arange(-1.0, 3.0)] * COUNT)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(found, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, end=st.integers(-2, 2))
def test_a_tight_building_costs_what_enumeration_finds(per_kwh: np.ndarray, end: int) -> None:
    load = ThermalLoad(
        **common(),
        baseline_profile="p",
        baseline_scale_kw=4,
        increase_limit_kw=1,
        decrease_limit_kw=2,
        store_low_kwh=3,
        store_high_kwh=2,
        store_end_min_kwh=end,
        decay_per_hour=0,
        discomfort_cost_per_kwh=0.1,
    )
    device, horizon = one(load)
    prices = Prices(per_kwh, 0.0)
    base = 4 * np.array([1.0, 0.5, 1.0, 2.0])
    found = brute_force(device, horizon, prices, [base[t] + np.arange(-2.0, 2.0) for t in range(COUNT)])
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(found, abs=1e-9)


def test_a_leaky_building_is_never_cheaper_than_the_oracle_says_and_nearly_as_cheap() -> None:
    load = ThermalLoad(
        **common(),
        baseline_profile="p",
        baseline_scale_kw=4,
        increase_limit_kw=1,
        decrease_limit_kw=2,
        store_low_kwh=2,
        store_high_kwh=1,
        store_end_min_kwh=-0.5,
        decay_per_hour=0.3,
        discomfort_cost_per_kwh=0.1,
    )
    device, horizon = one(load)
    prices = Prices(np.array([0.3, 0.2, 1.1, 0.9]), 0.0)
    base = 4 * np.array([1.0, 0.5, 1.0, 2.0])
    found = near_least(device, horizon, prices, [base[t] + np.linspace(-2, 1, 7) for t in range(COUNT)])
    least = least_cost_of(device, prices, horizon).cost
    assert found - 0.3 <= least <= found + 1e-9


@settings(max_examples=15, deadline=None)
@given(
    per_kwh=price_lists,
    minimum=st.sampled_from([0, 1, 2]),
    ramp=st.sampled_from([1, 2, 3]),
    up=st.sampled_from([0, 2]),
    down=st.sampled_from([0, 2]),
    start_cost=st.sampled_from([0.0, 0.4]),
)
def test_a_generator_costs_what_enumeration_finds(
    per_kwh: np.ndarray, minimum: int, ramp: int, up: int, down: int, start_cost: float
) -> None:
    unit = Generator(
        **common(),
        power_min_kw=minimum,
        power_max_kw=3,
        cost_per_kwh=0.5,
        start_cost=start_cost,
        no_load_cost_per_h=0.05,
        ramp_kw_per_h=ramp,
        minimum_up_h=up,
        minimum_down_h=down,
    )
    device, horizon = one(unit)
    prices = Prices(per_kwh, 0.0)
    found = brute_force(device, horizon, prices, [-np.arange(0.0, 4.0)] * COUNT)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(found, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, calls=st.integers(0, 2), rest=st.integers(0, 2), share=st.sampled_from([0.0, 0.5]))
@example(per_kwh=np.array([0.013, 0.413, 0.413, 0.413]), calls=2, rest=0, share=0.0)  # two calls on end are one
def test_an_interruptible_load_costs_what_enumeration_finds(
    per_kwh: np.ndarray, calls: int, rest: int, share: float
) -> None:
    load = InterruptibleLoad(
        **common(),
        baseline_profile="p",
        baseline_scale_kw=4,
        block_kw=3,
        cost_per_kwh=0.4,
        shortest_h=1,
        longest_h=2,
        calls_per_day=calls,
        rest_h=rest,
        rebound_share=share,
        rebound_hours_h=1,
    )
    device, horizon = one(load)
    prices = Prices(per_kwh, 0.0)
    base = 4 * np.array([1.0, 0.5, 1.0, 2.0])
    block = np.minimum(3.0, base)
    best = np.inf
    for on in product((0.0, 1.0), repeat=COUNT):
        given_up = np.array(on) * block
        power = base - given_up + share * np.concatenate([[0.0], given_up[:-1]])
        check = device.check(power, horizon)
        if not check.findings:
            best = min(best, float(per_kwh @ power) + check.own_cost)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(best, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(per_kwh=price_lists, energy=st.integers(2, 6), liked=st.sampled_from([None, 0.0, 1.0]))
def test_a_shiftable_load_costs_what_enumeration_finds(per_kwh: np.ndarray, energy: int, liked: float | None) -> None:
    load = ShiftableLoad(
        **common(),
        window_start=planted.START,
        window_end=planted.at(4),
        energy_kwh=energy,
        power_min_kw=0,
        power_max_kw=2,
        preferred_start=None if liked is None else planted.at(liked),
        cost_per_kwh=0.1,
    )
    device, horizon = one(load)
    prices = Prices(per_kwh, 0.0)
    found = brute_force(device, horizon, prices, [np.arange(0.0, 3.0)] * COUNT)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(found, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    cost=st.lists(st.integers(-9, -1), min_size=2, max_size=4), energy_limit=st.integers(0, 12), hours=st.integers(0, 4)
)
def test_two_limits_at_once_are_met_at_least_cost(cost: list[int], energy_limit: int, hours: int) -> None:
    values = np.array(cost, dtype=float)
    energy = np.array([5.0, 3.0, 2.0, 4.0])[: len(cost)]
    spans = np.ones(len(cost))
    found = two_limits(values, energy, spans, float(energy_limit), float(hours))
    assert found == pytest.approx(_vertices(values, energy, spans, float(energy_limit), float(hours)), abs=1e-8)


def _vertices(cost: np.ndarray, energy: np.ndarray, spans: np.ndarray, most_kwh: float, most_h: float) -> float:
    """Least cost over all vertices: every part at a bound but at most two, which the two limits then fix."""
    count = len(cost)
    best = 0.0
    rows = np.array([energy, spans])
    limits = np.array([most_kwh, most_h])
    for bounds in product((0.0, 1.0, None), repeat=count):
        free = [k for k, value in enumerate(bounds) if value is None]
        if len(free) > 2:
            continue
        x = np.array([0.0 if value is None else value for value in bounds])
        for active in [()] if not free else [(0,), (1,)] if len(free) == 1 else [(0, 1)]:
            if active:
                matrix = rows[list(active)][:, free]
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                x[free] = np.linalg.solve(
                    matrix, limits[list(active)] - rows[list(active)] @ np.where(np.isin(np.arange(count), free), 0, x)
                )
            if (x >= -1e-9).all() and (x <= 1 + 1e-9).all() and (rows @ x <= limits + 1e-9).all():
                best = min(best, float(cost @ x))
    return best


def test_a_curtailable_load_is_cut_where_it_pays_most() -> None:
    load = CurtailableLoad(
        **common(),
        baseline_profile="p",
        baseline_scale_kw=4,
        curtail_share=0.5,
        cost_per_kwh=0.5,
        energy_limit_kwh=3,
        hours_limit_h=10,
        rebound_share=0.5,
        rebound_hours_h=1,
    )
    device, horizon = one(load)
    prices = Prices(np.array([2.0, 1.0, 3.0, 4.0]), 0.0)
    # reductions at most 2, 1, 2, 4 kW; a kWh saves 2-0.5-0.5, 1-0.5-1.5 (loses), 3-0.5-2, 4-0.5 (returns after the day)
    undisturbed = 4 * float(np.array([1.0, 0.5, 1.0, 2.0]) @ prices.per_kwh)
    assert least_cost_of(device, prices, horizon).cost == pytest.approx(undisturbed - 3 * 3.5)


def test_an_integer_load_is_bounded_by_its_relaxation_and_says_so() -> None:
    load = CurtailableLoad(
        **common(),
        baseline_profile="p",
        baseline_scale_kw=4,
        curtail_share=0.5,
        cost_per_kwh=0.5,
        energy_limit_kwh=30,
        hours_limit_h=10,
        calls_per_day=1,
    )
    device, horizon = one(load)
    assert not least_cost_of(device, Prices(np.full(COUNT, 2.0), 0.0), horizon).exact
    assert least_cost_of(device, Prices(np.full(COUNT, 0.1), 0.0), horizon).exact
    assert replace(device, row=load).row.is_integer
