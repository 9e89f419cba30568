"""What curtailable and interruptible loads share: undisturbed power, the price of giving up a kWh, rebound, notice.

    p_t = b_t − r_t + h_t + (share/H) Σ_{s<t} Δ_s r_s · overlap(t, (end_s, end_s + H]) / Δ_t      (C1, I1)

Net power is linear in the reduction r, so Σ_t Δ_t price_t p_t is what the undisturbed load costs plus Σ_s Δ_s v_s r_s
with one price v per kWh given up:

    v_s = cost_per_kwh − price_s + (share/H) ∫ price over (end_s, end_s + H], cut off at the horizon

Price is constant within intervals, so the integral is a difference of its antiderivative, and all T of them cost O(T).
"""

from collections.abc import Mapping

import numpy as np

from models.dispatch.fast.pricing.jit import jit_row
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

EPS_H = 1e-9
"""Hours that are equal within this are equal."""

LEAST_KW = 1e-9
"""What may be given up below this is nothing."""


# ---- columns


def floats(column: Column) -> FloatArray:
    """A column (n,) as contiguous floats."""
    return np.ascontiguousarray(column, dtype=np.float64)


def or_zero(column: FloatArray) -> FloatArray:
    """A state's column with 0 where nothing is known, (n,)."""
    return np.nan_to_num(column, nan=0.0)


def opens_h(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> FloatArray:
    """From when on a reduction may begin, (n,) hours from the start: notice given, rest after an earlier call over."""
    notice = setting.first_issue_h + floats(columns["notice_h"])
    resting = (states.on == 0) & ~np.isnan(states.hours_in_state_h) & (or_zero(states.calls_used) > 0)
    rest = np.where(resting, floats(columns["rest_h"]) - or_zero(states.hours_in_state_h), -np.inf)
    return np.maximum(notice, rest)


def calls_left(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> IndexArray:
    """Calls that may still begin, (n,), at most T: as many as there are intervals if the number is not limited."""
    most = len(setting.grid)
    given = floats(columns["calls_per_day"])
    left = np.where(np.isnan(given), most, given - or_zero(states.calls_used))
    return np.clip(left, 0, most).astype(np.int64)


# ---- one load


@jit_row
def undisturbed(
    profile: FloatArray,
    scale_kw: float,
    hours: FloatArray,
    price: FloatArray,
    power_kw: FloatArray,
) -> float:
    """Fill b (T,) and return what it costs, CNY; the rebound of the past is added by ``add_past``."""
    cost = 0.0
    for t in range(hours.size):
        power_kw[t] = profile[t] * scale_kw
        cost += hours[t] * price[t] * power_kw[t]
    return cost


@jit_row
def add_past(
    pieces: FloatArray,
    edges: FloatArray,
    hours: FloatArray,
    price: FloatArray,
    share: float,
    rebound_h: float,
    power_kw: FloatArray,
) -> float:
    """Add what returns of reductions before the horizon (pieces (k, 3): ended ago h, length h, kW); its cost, CNY."""
    cost = 0.0
    for k in range(pieces.shape[0]):
        closes = rebound_h - pieces[k, 0]
        rate = share / rebound_h * pieces[k, 1] * pieces[k, 2]
        for t in range(hours.size):
            if edges[t] >= closes:
                break
            back = rate * (min(edges[t + 1], closes) - edges[t])
            power_kw[t] += back / hours[t]
            cost += price[t] * back
    return cost


@jit_row
def price_of_reducing(
    edges: FloatArray,
    hours: FloatArray,
    price: FloatArray,
    cost_per_kwh: float,
    share: float,
    rebound_h: float,
    antiderivative: FloatArray,
    per_kwh: FloatArray,
) -> None:
    """Fill v (T,), CNY per kWh given up, negative where it pays; ``antiderivative``: scratch (T + 1,)."""
    count = hours.size
    if share == 0:
        for t in range(count):
            per_kwh[t] = cost_per_kwh - price[t]
        return
    antiderivative[0] = 0.0
    for t in range(count):
        antiderivative[t + 1] = antiderivative[t] + hours[t] * price[t]
    weight = share / rebound_h
    last = 0
    for s in range(count):
        closes = edges[s + 1] + rebound_h
        while last < count and edges[last + 1] <= closes:
            last += 1
        until = antiderivative[last]
        if last < count:
            until += (closes - edges[last]) * price[last]
        per_kwh[s] = cost_per_kwh - price[s] + weight * (until - antiderivative[s + 1])


@jit_row
def give_up(
    reduction_kw: FloatArray, edges: FloatArray, hours: FloatArray, share: float, rebound_h: float, power_kw: FloatArray
) -> float:
    """Take the reductions r (T,) off the power and add what returns of them inside the horizon; kWh given up."""
    count = hours.size
    total = 0.0
    for s in range(count):
        if reduction_kw[s] == 0:
            continue
        energy = hours[s] * reduction_kw[s]
        total += energy
        power_kw[s] -= reduction_kw[s]
        if share == 0:
            continue
        rate = share / rebound_h * energy
        closes = edges[s + 1] + rebound_h
        for t in range(s + 1, count):
            if edges[t] >= closes:
                break
            power_kw[t] += rate * (min(edges[t + 1], closes) - edges[t]) / hours[t]
    return total


@jit_row
def first_open(edges: FloatArray, count: int, open_h: float) -> int:
    """The first interval that begins when a reduction may, T if none does."""
    for t in range(count):
        if edges[t] >= open_h - EPS_H:
            return t
    return count


@jit_row
def resume_after(edges: FloatArray, count: int, rest_h: float, resume: FloatArray) -> None:
    """Fill (T + 1,): the interval from which on one may begin again after an end at each edge.

    Without a rest there is still an interval between two calls: else they are one.
    """
    at = 0
    for e in range(count + 1):
        while at < count and edges[at] < edges[e] + rest_h - EPS_H:
            at += 1
        resume[e] = min(max(at, e + 1), count)
