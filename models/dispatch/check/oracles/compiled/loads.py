"""Curtailable and interruptible loads, compiled: two multipliers, and one call after the other (``oracles.loads``)."""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled.jit import compiled
from models.dispatch.check.screens.common import BoolArray, IndexArray
from models.intervals import FloatArray

_EPS_H = 1e-9


class Callables(NamedTuple):
    """n interruptible loads, (n,) each: calls left, hours from which on and for how long, what runs already."""

    calls: IndexArray
    opens_h: FloatArray
    rest_h: FloatArray
    shortest_h: FloatArray
    longest_h: FloatArray
    on: BoolArray
    been_h: FloatArray


@compiled
def _tangent(
    cost: FloatArray, energy: FloatArray, hours: FloatArray, mu: float, most_kwh: float, most_h: float
) -> tuple[float, float]:
    """Value of the dual at energy price ``mu``, and its slope: fill by cost per hour."""
    priced = cost + mu * energy
    value, spent, left = 0.0, 0.0, most_h
    for k in np.argsort(priced / hours, kind="mergesort"):
        if priced[k] >= 0 or left <= 0:
            break
        taken = min(left / hours[k], 1.0)
        value += priced[k] * taken
        spent += energy[k] * taken
        left -= hours[k]
    return value - mu * most_kwh, spent - most_kwh


@compiled
def _two_limits(cost: FloatArray, energy: FloatArray, hours: FloatArray, most_kwh: float, most_h: float) -> float:
    """Min Σ cost x over 0 ≤ x ≤ 1, Σ energy x ≤ most_kwh, Σ hours x ≤ most_h, all costs negative."""
    low, high = 0.0, (-cost / energy).max()
    low_value, low_slope = _tangent(cost, energy, hours, low, most_kwh, most_h)
    if low_slope <= 0:
        return float(low_value)
    high_value, high_slope = _tangent(cost, energy, hours, high, most_kwh, most_h)
    best = max(low_value, high_value)
    for _ in range(200):
        if low_slope - high_slope <= 1e-12 * max(1.0, most_kwh):
            break
        mu = (high_value - low_value + low_slope * low - high_slope * high) / (low_slope - high_slope)
        mu = min(max(mu, low), high)
        ceiling = low_value + low_slope * (mu - low)
        value, slope = _tangent(cost, energy, hours, mu, most_kwh, most_h)
        best = max(best, value)
        if ceiling - value <= 1e-12 * max(1.0, abs(value)):
            break
        if slope > 0:
            low, low_value, low_slope = mu, value, slope
        else:
            high, high_value, high_slope = mu, value, slope
    return float(best)


@compiled
def saved_by_curtailing(
    hours: FloatArray, price: FloatArray, limit_kw: FloatArray, most_kwh: FloatArray, most_h: FloatArray
) -> FloatArray:
    """Least cost of reducing, (n,), at ``price`` (n, T) CNY per kW given up; 0 where nothing pays."""
    saved = np.zeros(most_h.size)
    for i in range(most_h.size):
        use = (limit_kw[i] > 1e-9) & (price[i] < 0)
        if use.any():
            kw = limit_kw[i][use]
            saved[i] = _two_limits(price[i][use] * kw, hours[use] * kw, hours[use], most_kwh[i], most_h[i])
    return saved


@compiled
def saved_by_calls(edges_h: FloatArray, gain: FloatArray, of: Callables) -> FloatArray:
    """Least Σ gain, (n,), over the intervals of allowed interruptions; gain is (n, T)."""
    rows, count = gain.shape
    saved, total, resume = np.zeros(rows), np.zeros(count + 1), np.zeros(count + 1, np.intp)
    table = np.zeros((count + 1, count + 2))
    for i in range(rows):
        for t in range(count):
            total[t + 1] = total[t] + gain[i, t]
        for t in range(count + 1):
            free = np.searchsorted(edges_h, edges_h[t] + of.rest_h[i] - _EPS_H)
            resume[t] = min(max(free, t + 1), count)
        calls = min(of.calls[i], count)
        _fill(table, calls, edges_h, total, resume, of, i)
        saved[i] = _ongoing(table[calls], edges_h, total, resume, of, i) if of.on[i] else table[calls, 0]
    return saved


@compiled
def _fill(
    table: FloatArray, calls: int, edges_h: FloatArray, total: FloatArray, resume: IndexArray, of: Callables, i: int
) -> None:
    """Fill ``table[k, t]``: least cost from interval t on with k calls left, when one may begin at t."""
    count = edges_h.size - 1
    table[: calls + 1, count:] = 0.0
    for t in range(count - 1, -1, -1):
        for k in range(calls + 1):
            table[k, t] = table[k, t + 1]
        if edges_h[t] < of.opens_h[i] - _EPS_H:
            continue
        first = max(np.searchsorted(edges_h, edges_h[t] + of.shortest_h[i] - _EPS_H), t + 1)
        last = np.searchsorted(edges_h, edges_h[t] + of.longest_h[i] + _EPS_H, side="right") - 1
        for end in range(first, last + 1):
            for k in range(1, calls + 1):
                after = table[k - 1, resume[end]] if end < count else 0.0
                table[k, t] = min(table[k, t], total[end] - total[t] + after)


@compiled
def _ongoing(
    left: FloatArray, edges_h: FloatArray, total: FloatArray, resume: IndexArray, of: Callables, i: int
) -> float:
    """Least cost when an interruption runs already; ``left``: (T + 2,) least cost of what may follow it."""
    best, count, been = np.inf, edges_h.size - 1, of.been_h[i]
    for end in range(count + 1):
        long_enough = been + edges_h[end] >= of.shortest_h[i] - _EPS_H or end == count
        short_enough = end == 0 or been + edges_h[end] <= of.longest_h[i] + _EPS_H
        if long_enough and short_enough:
            best = min(best, total[end] + left[resume[end]])
    return float(best)
