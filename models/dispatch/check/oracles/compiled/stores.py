"""Batteries, cars and thermal comfort, compiled: backward value functions as in ``oracles.stores``."""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled import asked as ask
from models.dispatch.check.oracles.compiled.asked import Asked
from models.dispatch.check.oracles.compiled.convex import (
    Function,
    at,
    corners,
    cut,
    high_end,
    hull,
    insert,
    room,
    start,
)
from models.dispatch.check.oracles.compiled.jit import compiled
from models.dispatch.check.screens.common import BoolArray, IndexArray
from models.intervals import FloatArray

Answer = tuple[FloatArray, BoolArray]

_cost, _kink = ask.cost, ask.kink


class Batteries(NamedTuple):
    """m batteries, of their own or in cars, (m,) each; kW, kWh, CNY per kWh.

    They begin at ``begin_kwh``, stay between ``low_kwh`` and ``high_kwh``, and end between ``end_low_kwh`` and
    ``end_high_kwh``.
    """

    charge_kw: FloatArray
    discharge_kw: FloatArray
    charge_efficiency: FloatArray
    discharge_efficiency: FloatArray
    wear: FloatArray
    low_kwh: FloatArray
    high_kwh: FloatArray
    begin_kwh: FloatArray
    end_low_kwh: FloatArray
    end_high_kwh: FloatArray


class Stores(NamedTuple):
    """n thermal loads: limits (n,), ``base_kw``, ``kept`` and ``gain`` (n, T); kW, kWh, CNY per kWh."""

    base_kw: FloatArray
    kept: FloatArray
    gain: FloatArray
    increase_kw: FloatArray
    decrease_kw: FloatArray
    discomfort: FloatArray
    low_kwh: FloatArray
    high_kwh: FloatArray
    begin_kwh: FloatArray
    end_low_kwh: FloatArray


@compiled
def _end_at(f: Function, low: float, high: float) -> None:
    """Any level in [low, high] is as good as any other."""
    start(f, low, 0.0)
    if high > low:
        insert(f, 0.0, high - low)


@compiled
def _back(f: Function, x: FloatArray, y: FloatArray, count: int) -> bool:
    """V(e) ← min_x f(x) + V(e + x), f given by corners (x, y); True if f was convex already."""
    kept, straight = hull(x, y, count)
    f.ends[0] -= x[kept - 1]
    f.ends[1] += y[kept - 1]
    for k in range(kept - 1, 0, -1):
        insert(f, -(y[k] - y[k - 1]) / (x[k] - x[k - 1]), x[k] - x[k - 1])
    return bool(straight)


@compiled
def _value_at(f: Function, where: float) -> float:
    """Value at the level one starts from; inf if that is outside the domain."""
    slack = 1e-6 * max(1.0, abs(where))
    if not (f.ends[0] - slack <= where <= high_end(f) + slack):
        return np.inf
    return float(at(f, where))


@compiled
def _change(of: Batteries, i: int, power_kw: float) -> float:
    """KWh at battery i per hour of a power at its meter."""
    return float(power_kw * of.charge_efficiency[i] if power_kw > 0 else power_kw / of.discharge_efficiency[i])


@compiled
def _interval(
    f: Function, asked: Asked, row: int, t: int, of: Batteries, i: int, share: float, x: FloatArray, y: FloatArray
) -> bool:
    """One interval back for battery i at the prices of ``row``; True if its cost was convex."""
    count = corners(x, -of.discharge_kw[i] * share, of.charge_kw[i] * share, _kink(asked, row, t), 0.0)
    for k in range(count):
        power = x[k]
        y[k] = asked.hours[t] * (_cost(asked, row, t, power) + of.wear[i] * abs(power))
        x[k] = asked.hours[t] * _change(of, i, power)
    return bool(_back(f, x, y, count))


@compiled
def _virtual_slot(
    f: Function, late_per_kwh: float, hours: float, of: Batteries, i: int, x: FloatArray, y: FloatArray
) -> bool:
    """The hours after the horizon, as one interval."""
    count = corners(x, -of.discharge_kw[i], of.charge_kw[i], np.nan, 0.0)
    for k in range(count):
        power = x[k]
        y[k] = hours * (late_per_kwh * power + of.wear[i] * abs(power))
        x[k] = hours * _change(of, i, power)
    return bool(_back(f, x, y, count))


@compiled
def least_batteries(asked: Asked, of: Batteries, row: IndexArray, share: FloatArray, hours_after: FloatArray) -> Answer:
    """Least cost of m batteries at the prices of ``row`` (m,) (``oracles.stores.least_storage``, ``least_stay``).

    ``share``: (m, T) part of every interval that counts.  ``hours_after``: (m,) length of the virtual slot.
    """
    cost, exact = np.zeros(row.size), np.ones(row.size, np.bool_)
    f, x, y = room(3 * asked.hours.size + 5), np.empty(4), np.empty(4)
    for i in range(row.size):
        low, high = of.low_kwh[i], of.high_kwh[i]
        _end_at(f, of.end_low_kwh[i], of.end_high_kwh[i])
        slack = 1e-9 * max(1.0, abs(of.begin_kwh[i]), abs(of.end_high_kwh[i]))
        fits, straight = True, True
        if hours_after[i] > 0:
            fits = cut(f, low, high, slack)
            straight = fits and _virtual_slot(f, asked.late[row[i]], hours_after[i], of, i, x, y)
        t = asked.hours.size - 1
        while fits and t >= 0:
            if share[i, t] > 0:
                fits = cut(f, low, high, slack)
                if fits:
                    convex = _interval(f, asked, row[i], t, of, i, share[i, t], x, y)
                    straight = straight and convex
            t -= 1
        cost[i] = _value_at(f, of.begin_kwh[i]) if fits else np.inf
        exact[i] = straight or not fits
    return cost, exact


@compiled
def least_stores(asked: Asked, of: Stores) -> Answer:
    """Least cost of n thermal loads (``oracles.stores.least_thermal``)."""
    count, rows = asked.hours.size, of.low_kwh.size
    cost, exact = np.zeros(rows), np.ones(rows, np.bool_)
    f, x, y = room(3 * count + 2), np.empty(4), np.empty(4)
    for i in range(rows):
        _end_at(f, of.end_low_kwh[i], of.high_kwh[i])
        slack = 1e-9 * max(1.0, abs(of.begin_kwh[i]), abs(of.high_kwh[i]))
        fits, straight, t = True, True, count - 1
        while fits and t >= 0:
            fits = cut(f, of.low_kwh[i], of.high_kwh[i], slack)
            if fits:
                convex = _comfort(f, asked, t, of, i, x, y)
                straight = straight and convex
            t -= 1
        cost[i] = _value_at(f, of.begin_kwh[i]) if fits else np.inf
        exact[i] = straight or not fits
    return cost, exact


@compiled
def _comfort(f: Function, asked: Asked, t: int, of: Stores, i: int, x: FloatArray, y: FloatArray) -> bool:
    """One interval back for thermal load i, and its leak; True if its cost was convex."""
    drawn = of.base_kw[i, t]
    least, most = drawn - min(of.decrease_kw[i], drawn), drawn + of.increase_kw[i]
    count = corners(x, least, most, _kink(asked, i, t), drawn)
    for k in range(count):
        power = x[k]
        y[k] = asked.hours[t] * (_cost(asked, i, t, power) + of.discomfort[i] * max(drawn - power, 0.0))
        x[k] = of.gain[i, t] * (power - drawn)
    straight = _back(f, x, y, count)
    kept = of.kept[i, t]
    if kept != 1.0:
        f.ends[0] /= kept
        for k in range(f.span[0], f.span[1]):
            f.slopes[k] *= kept
            f.lengths[k] /= kept
    return bool(straight)
