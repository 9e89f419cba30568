"""What every oracle is asked with, and what it adds up: prices in, sums out.

Rows are units of pricing: a resource, or one stay at a charger.  n rows, T intervals, K tariffs, C price classes (rows
that the same events and commitments see).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray

WORK_ROWS = 24
"""Rows of scratch memory that an oracle may use."""


class Members(NamedTuple):
    """Whose rows they are.

    ``tariff``, ``price_class``: rows in ``Prices``.  ``reliability``: 0..1.  ``resource``: row in the order of
    ``fleet.resource_ids``.  ``alone``: the only row of its resource (the terms of real time are left out of the price
    of a charger with several stays).
    """

    tariff: NDArray[np.int64]
    price_class: NDArray[np.int64]
    reliability: FloatArray
    resource: NDArray[np.int64]
    alone: NDArray[np.bool_]


class Near(NamedTuple):
    """What a re-plan stays near to: (R,) power now and (R, T) day plan, NaN where unknown; all empty day ahead.

    ``row``: (n,) whose it is.  (The plan of a million is too much to be put into the rows' own order.)
    ``otherwise_kw``: (R, T) what those follow who have no plan, if they shall follow one (``Prices.pull``); may be
    empty.
    """

    row: NDArray[np.int64]
    now_kw: FloatArray
    plan_kw: FloatArray
    otherwise_kw: FloatArray


class Prices(NamedTuple):
    """The effective price of row i in t: tariff + zone + reliability x by_class, CNY per kWh.

    ``hours``: (T,).  ``tariff``: (K, T).  ``late``: (K,) price of a virtual slot after the horizon.  ``late_cost``:
    (K,) what it really costs (the tariff's mean).  ``zone``: (T,).  ``by_class``: (C, T).  ``stray``: (T,) cost per kWh
    off the day plan.  ``switch``: CNY per kW off the power now, in the first interval.  ``noise``: (M, T) a tiny price
    that differs from row to row (row i takes line i mod M), so that rows with equal choices spread over them; M = 0:
    none, as any sweep for a bound must have it.  ``pull``: more than 0 where rows shall follow the day plan for its own
    sake, CNY per kWh (a stay the plan of its charger, while it lasts); it shapes the schedule, costs nothing, and
    leaves no least cost that could be a bound.  ``steady``: what a kWh off the day plan counts in every interval beyond
    what it costs, CNY per kWh, so that nobody moves for nothing; ``steady_cost``: as much of it as is paid.
    """

    hours: FloatArray
    tariff: FloatArray
    late: FloatArray
    late_cost: FloatArray
    zone: FloatArray
    by_class: FloatArray
    stray: FloatArray
    switch: float
    noise: FloatArray
    pull: float = 0.0
    steady: float = 0.0
    steady_cost: float = 0.0


class Sums(NamedTuple):
    """What a range of rows adds up to.

    ``power_kw``: (T,).  ``class_kw``: (C, T) reliability-weighted power.  ``totals``: (4,) least cost at the effective
    prices (a lower bound); cost of the schedules (tariff, own, virtual slots, real time); own cost and virtual slots
    alone; what real time adds.  Real time's terms of a charger with several stays are in neither: they belong to all
    its stays together.
    """

    power_kw: FloatArray
    class_kw: FloatArray
    totals: FloatArray


@jit_row
def followed_kw(near: Near, i: int, t: int) -> float:
    """What row i follows in t, kW: its plan, or what stands for one; NaN if nothing does."""
    planned = near.plan_kw[near.row[i], t]
    if np.isnan(planned) and near.otherwise_kw.size > 0:
        return float(near.otherwise_kw[near.row[i], t])
    return float(planned)


@jit_row
def _follow(near: Near, i: int, pull: float, stray: FloatArray, plan_kw: FloatArray) -> None:
    """A kWh off what row i follows costs ``pull``."""
    for t in range(stray.size):
        followed = followed_kw(near, i, t)
        known = not np.isnan(followed)
        stray[t], plan_kw[t] = pull if known else 0.0, followed if known else 0.0


@jit_row
def effective_prices(
    members: Members,
    near: Near,
    i: int,
    prices: Prices,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
) -> None:
    """Fill price (T,), and what a kWh off ``plan_kw`` costs, (T,), for row i.

    In the first interval switching and straying may both act: the dearer stays, the other is left out, so that the
    least cost stays a lower bound (the checker's rule).
    """
    k, c, rho = members.tariff[i], members.price_class[i], members.reliability[i]
    tariff, by_class = prices.tariff[k], prices.by_class[c]
    for t in range(prices.hours.size):
        price[t] = tariff[t] + prices.zone[t] + rho * by_class[t]
    if prices.noise.shape[0] > 0:
        noise = prices.noise[i % prices.noise.shape[0]]
        for t in range(prices.hours.size):
            price[t] += noise[t]
    if near.row.size == 0 or not (members.alone[i] or prices.pull > 0):
        for t in range(prices.hours.size):
            stray[t], plan_kw[t] = 0.0, 0.0
        return
    if prices.pull > 0:
        _follow(near, i, prices.pull, stray, plan_kw)
        return
    planned, now = near.plan_kw[near.row[i]], near.now_kw[near.row[i]]
    for t in range(prices.hours.size):  # without branches, so that it is one of many at a time
        off = prices.stray[t] + prices.steady
        known = (not np.isnan(planned[t])) & (off > 0)
        stray[t] = off if known else 0.0
        plan_kw[t] = planned[t] if known else 0.0
    if not np.isnan(now) and prices.switch / prices.hours[0] > stray[0]:
        stray[0] = prices.switch / prices.hours[0]
        plan_kw[0] = now


@jit_row
def _worth(hours: FloatArray, tariff: FloatArray, power_kw: FloatArray) -> float:
    """Cost of a schedule, CNY: four sums side by side, as one waits for every addition."""
    a, b, c, d, whole = 0.0, 0.0, 0.0, 0.0, hours.size - hours.size % 4
    for t in range(0, whole, 4):
        a += hours[t] * tariff[t] * power_kw[t]
        b += hours[t + 1] * tariff[t + 1] * power_kw[t + 1]
        c += hours[t + 2] * tariff[t + 2] * power_kw[t + 2]
        d += hours[t + 3] * tariff[t + 3] * power_kw[t + 3]
    for t in range(whole, hours.size):
        a += hours[t] * tariff[t] * power_kw[t]
    return (a + b) + (c + d)


@jit_row
def account(
    members: Members,
    near: Near,
    i: int,
    prices: Prices,
    power_kw: FloatArray,
    answer: tuple[float, float, float],
    sums: Sums,
) -> None:
    """Add row i's schedule and its oracle's answer (least cost, own cost, kWh of the virtual slot) to ``sums``."""
    least, own, late_kwh = answer
    k, c, rho = members.tariff[i], members.price_class[i], members.reliability[i]
    cost = own + prices.late_cost[k] * late_kwh
    count, total_kw, class_kw, tariff = prices.hours.size, sums.power_kw, sums.class_kw[c], prices.tariff[k]
    for t in range(count):
        total_kw[t] += power_kw[t]
    for t in range(count):
        class_kw[t] += rho * power_kw[t]
    cost += _worth(prices.hours, tariff, power_kw)
    moved = 0.0
    if near.row.size > 0 and members.alone[i]:
        planned, now = near.plan_kw[near.row[i]], near.now_kw[near.row[i]]
        if not np.isnan(now):
            moved += prices.switch * abs(power_kw[0] - now)
        for t in range(prices.hours.size):
            off = abs(power_kw[t] - planned[t])
            moved += prices.hours[t] * (prices.stray[t] + prices.steady_cost) * (0.0 if np.isnan(off) else off)
    sums.totals[0] += least
    sums.totals[1] += cost + moved
    sums.totals[2] += own + prices.late_cost[k] * late_kwh
    sums.totals[3] += moved


def empty_sums(count: int, classes: int) -> Sums:
    """Zeros for T = ``count`` intervals."""
    return Sums(np.zeros(count), np.zeros((classes, count)), np.zeros(4))


NOTHING_NEAR = Near(np.empty(0, dtype=np.int64), np.empty(0), np.empty((0, 0)), np.empty((0, 0)))
"""Day ahead: there is nothing to stay near to."""
