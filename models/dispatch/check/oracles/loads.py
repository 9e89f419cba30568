"""Least cost of loads that give something up: curtailable and interruptible ones.

What returns later is linear in what was given up, so each kWh given up has one price: its own cost, less what it
saves now, plus what its rebound costs later.  Straying costs of real time are left out here (they are never
negative): a relaxation, and said so.
"""

import numpy as np

from models.dispatch.check.horizon import Horizon
from models.dispatch.check.loads import Load, opens_h, profile_kw, rebound_of_the_past, rebound_weights
from models.dispatch.check.oracles.prices import Prices, no_kinks
from models.dispatch.check.oracles.stores import Least
from models.intervals import FloatArray
from models.resources import CurtailableLoad, InterruptibleLoad

_EPS_H = 1e-9


def _undisturbed_cost(load: Load, prices: Prices, horizon: Horizon) -> float:
    drawn = profile_kw(load, horizon) + rebound_of_the_past(load, horizon)
    return float((horizon.hours * prices.per_kwh) @ drawn)


def _price_of_reducing(load: Load, prices: Prices, horizon: Horizon) -> FloatArray:
    """CNY per kW given up in every interval, (T,); negative where it pays."""
    weighted = horizon.hours * prices.per_kwh
    price = horizon.hours * load.cost_per_kwh - weighted
    weights = rebound_weights(load, horizon)
    return price if weights is None else price + weights.T @ weighted


def least_curtailable(load: CurtailableLoad, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a curtailable load: a knapsack with two limits, by its two multipliers; calls are relaxed."""
    base, state = profile_kw(load, horizon), horizon.state(load.resource_id)
    limit = load.curtail_share * base
    if not (load.is_integer and state.on):
        limit = np.where(horizon.tau_h >= opens_h(load, horizon) - _EPS_H, limit, 0.0)
    energy = max(0.0, load.energy_limit_kwh - (state.energy_used_kwh or 0.0))
    hours = max(0.0, load.hours_limit_h - (state.hours_used_h or 0.0))
    price = _price_of_reducing(load, prices, horizon)
    use = (limit > 1e-9) & (price < 0)
    cost = price[use] * limit[use]
    saved = two_limits(cost, horizon.hours[use] * limit[use], horizon.hours[use], energy, hours)
    exact = no_kinks(prices) and (not load.is_integer or saved == 0.0)
    return Least(_undisturbed_cost(load, prices, horizon) + saved, exact)


def two_limits(cost: FloatArray, energy: FloatArray, hours: FloatArray, most_kwh: float, most_h: float) -> float:
    """Min Σ cost x over 0 ≤ x ≤ 1, Σ energy x ≤ most_kwh, Σ hours x ≤ most_h, all costs negative.

    By duality: the maximum over two multipliers of a concave piecewise-linear function.  For a fixed price of energy
    the best price of hours is exact by sorting; over the price of energy, tangents meet in finitely many steps.
    """
    if not cost.size:
        return 0.0

    def tangent(mu: float) -> tuple[float, float]:
        """Value of the dual at energy price ``mu``, and its slope."""
        value, spent = _one_limit(cost + mu * energy, energy, hours, most_h)
        return value - mu * most_kwh, spent - most_kwh

    low, high = 0.0, float((-cost / energy).max())
    at_low = tangent(low)
    if at_low[1] <= 0:
        return at_low[0]
    at_high = tangent(high)
    best = max(at_low[0], at_high[0])
    for _ in range(200):
        if at_low[1] - at_high[1] <= 1e-12 * max(1.0, most_kwh):
            break
        mu = (at_high[0] - at_low[0] + at_low[1] * low - at_high[1] * high) / (at_low[1] - at_high[1])
        mu = min(max(mu, low), high)
        ceiling = at_low[0] + at_low[1] * (mu - low)
        here = tangent(mu)
        best = max(best, here[0])
        if ceiling - here[0] <= 1e-12 * max(1.0, abs(here[0])):
            break
        if here[1] > 0:
            low, at_low = mu, here
        else:
            high, at_high = mu, here
    return best


def _one_limit(cost: FloatArray, energy: FloatArray, hours: FloatArray, most_h: float) -> tuple[float, float]:
    """Min Σ cost x with Σ hours x ≤ most_h: fill by cost per hour; returns the value and the energy it takes."""
    order = np.argsort(cost / hours, kind="stable")
    order = order[cost[order] < 0]
    before = np.concatenate([[0.0], np.cumsum(hours[order])[:-1]])
    taken = np.clip((most_h - before) / hours[order], 0.0, 1.0)
    return float(cost[order] @ taken), float(energy[order] @ taken)


def least_interruptible(load: InterruptibleLoad, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of an interruptible load: dynamic programming over interruptions, exact."""
    block = np.minimum(load.block_kw, profile_kw(load, horizon))
    gain = _price_of_reducing(load, prices, horizon) * block
    saved = _best_calls(load, gain, horizon)
    return Least(_undisturbed_cost(load, prices, horizon) + saved, no_kinks(prices))


def _best_calls(load: InterruptibleLoad, gain: FloatArray, horizon: Horizon) -> float:
    """Least Σ gain over the intervals of allowed interruptions.

    ``table[k, t]``: least cost from interval t on with k calls left, when one may begin at t.
    """
    state, count = horizon.state(load.resource_id), len(gain)
    edges = np.concatenate([horizon.tau_h, horizon.ends_h[-1:]])
    total = np.concatenate([[0.0], np.cumsum(gain)])
    calls = max(0, load.calls_per_day - (state.calls_used or 0))
    opens = opens_h(load, horizon)
    # Without a rest there is still an interval between two interruptions: else they are one, and maybe too long.
    resume = np.maximum(np.searchsorted(edges, edges + load.rest_h - _EPS_H), np.arange(count + 1) + 1)
    ends = _ends(load, edges)
    table = np.zeros((calls + 1, count + 2))
    for t in range(count - 1, -1, -1):
        table[:, t] = table[:, t + 1]
        if edges[t] < opens - _EPS_H:
            continue
        first, last = ends[t]
        for end in range(first, last + 1):
            after = table[:-1, min(int(resume[end]), count)] if end < count else 0.0
            table[1:, t] = np.minimum(table[1:, t], total[end] - total[t] + after)
    if not state.on:
        return float(table[calls, 0])
    been, best = state.hours_in_state_h or 0.0, np.inf
    for end in range(count + 1):
        long_enough = been + edges[end] >= load.shortest_h - _EPS_H or end == count
        short_enough = end == 0 or been + edges[end] <= load.longest_h + _EPS_H
        if long_enough and short_enough:
            best = min(best, float(total[end] + table[calls, min(int(resume[end]), count)]))
    return best


def _ends(load: InterruptibleLoad, edges: FloatArray) -> list[tuple[int, int]]:
    """First and last edge at which an interruption that begins with each interval may end."""
    first = np.searchsorted(edges, edges[:-1] + load.shortest_h - _EPS_H)
    last = np.searchsorted(edges, edges[:-1] + load.longest_h + _EPS_H, side="right") - 1
    return [(max(int(low), t + 1), int(high)) for t, (low, high) in enumerate(zip(first, last, strict=True))]
