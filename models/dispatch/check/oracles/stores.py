"""Least cost of stores: batteries, cars and thermal comfort, by backward value functions.

V_{t-1}(e) = min_x f_t(x) + V_t(kept · e + x), with f_t the cost of changing the level by x.  f_t is convex and
piecewise linear wherever the effective price is above −wear (1+η)/(1−η): then V stays convex, its slopes follow from
merging slopes, and the result is exact.  Below that price, f_t is replaced by its lower convex hull, which is what
spilling by charging and discharging at once would cost: a valid lower bound, and said so.
"""

from dataclasses import dataclass

import numpy as np

from models.dispatch.check.charging import Stay
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.convex import Convex, hull, segments_of
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.reservoir import least_with_modes
from models.dispatch.check.thermal import store_factors, store_start_kwh
from models.resources import Storage, ThermalLoad


@dataclass(frozen=True, slots=True)
class Least:
    """Least cost (CNY) of one resource, and whether it is exact or a relaxation's (a valid lower bound)."""

    cost: float
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One interval of a store: corners (level change, cost) of its cost function, bounds of the level after it.

    ``kept``: what is left of a unit of level over the interval.
    """

    points: list[tuple[float, float]]
    low: float
    high: float
    kept: float = 1.0


def least_cost(start: float, end_low: float, end_high: float, steps: list[Step]) -> Least:
    """Least cost from level ``start`` through ``steps`` to a level in [end_low, end_high]; inf if there is no way."""
    scale = 1e-9 * max(1.0, abs(start), abs(end_high))
    value = Convex(end_low, 0.0, [(0.0, end_high - end_low)] if end_high > end_low else [])
    exact = True
    for step in reversed(steps):
        if not value.cut(step.low, step.high, scale):
            return Least(np.inf)
        kept, straight = hull(step.points)
        exact = exact and straight
        (last_x, last_y) = kept[-1]
        backwards = [(-slope, length) for slope, length in reversed(segments_of(kept))]
        value.convolve(-last_x, last_y, backwards)
        if step.kept != 1.0:
            value.stretch(step.kept)
    inside = value.low - 1e-6 * max(1.0, abs(start)) <= start <= value.high + 1e-6 * max(1.0, abs(start))
    return Least(value.at(start) if inside else np.inf, exact)


def _electric_step(
    prices: Prices, t: int, hours: float, limits: tuple[float, float], efficiency: tuple[float, float], wear: float
) -> list[tuple[float, float]]:
    """Corners (change of level, cost) of a battery's interval: power between −limits[1] and limits[0]."""
    found = []
    for power in prices.corners(t, -limits[1], limits[0], 0.0):
        change = power * efficiency[0] if power > 0 else power / efficiency[1]
        found.append((hours * change, hours * (prices.cost(t, power) + wear * abs(power))))
    return found


def least_storage(unit: Storage, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a battery, or of pumped hydro: relaxed if its minimum powers leave no way to the end."""
    if unit.is_pumped_hydro:
        cost = least_with_modes(unit, prices, horizon)
        if np.isfinite(cost):
            return Least(cost)
    limits = (unit.charge_limit_kw, unit.discharge_limit_kw)
    efficiency = (unit.charge_efficiency, unit.discharge_efficiency)
    steps = [
        Step(
            _electric_step(prices, t, float(hours), limits, efficiency, unit.wear_cost_per_kwh),
            unit.energy_min_kwh,
            unit.energy_max_kwh,
        )
        for t, hours in enumerate(horizon.hours)
    ]
    end = max(unit.energy_end_min_kwh, unit.energy_min_kwh)
    found = least_cost(unit.energy_start_kwh, end, unit.energy_max_kwh, steps)
    return Least(found.cost, found.exact and not unit.is_pumped_hydro)


def least_stay(stay: Stay, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of one charging session, its virtual slot included."""
    session = stay.session
    efficiency = (session.charge_efficiency, session.discharge_efficiency)
    low = min(0.0, stay.start_kwh) if session.is_v2g else -np.inf
    high = max(stay.ceiling_kwh, stay.start_kwh) if session.is_v2g else np.inf
    steps = []
    for t in np.flatnonzero(stay.share > 0):
        share = float(stay.share[t])
        limits = (session.charge_limit_kw * share, session.discharge_limit_kw * share)
        points = _electric_step(prices, int(t), float(horizon.hours[t]), limits, efficiency, stay.wear_cost_per_kwh)
        steps.append(Step(points, low, high))
    if stay.hours_after > 0:
        points = []
        for power in sorted({-session.discharge_limit_kw, 0.0, session.charge_limit_kw}):
            change = power * efficiency[0] if power > 0 else power / efficiency[1]
            cost = prices.late_per_kwh * power + stay.wear_cost_per_kwh * abs(power)
            points.append((stay.hours_after * change, stay.hours_after * cost))
        steps.append(Step(points, low, high))
    return least_cost(stay.start_kwh, stay.target_kwh, stay.target_kwh, steps)


def least_thermal(load: ThermalLoad, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a thermal load, its undisturbed consumption included."""
    base = horizon.profiles[load.baseline_profile] * load.baseline_scale_kw
    kept, gain = store_factors(load, horizon)
    steps = []
    for t, hours in enumerate(horizon.hours):
        drawn = float(base[t])
        low, high = drawn - min(load.decrease_limit_kw, drawn), drawn + load.increase_limit_kw
        points = []
        for power in prices.corners(t, low, high, drawn):
            cost = prices.cost(t, power) + load.discomfort_cost_per_kwh * max(drawn - power, 0.0)
            points.append((float(gain[t]) * (power - drawn), float(hours) * cost))
        steps.append(Step(points, -load.store_low_kwh, load.store_high_kwh, float(kept[t])))
    end = max(load.store_end_min_kwh, -load.store_low_kwh)
    return least_cost(store_start_kwh(load, horizon), end, load.store_high_kwh, steps)
