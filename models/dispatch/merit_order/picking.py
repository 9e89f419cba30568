r"""Cheapest first: who moves by how much so that the requirements of one interval are met.

    (O19)  value_n = constant_n + Σ_i w_{n,i} p_i ≤ 0,   w = 1 in zones and the city, ±ρ_i in events and commitments
    (O20)  Σ_{i ≤ k} w_i most_i ≤ need < Σ_{i ≤ k+1} w_i most_i:   1..k move by all they offer, k + 1 by the rest
    (O21)  value_m after ≤ max(0, value_m before)   for every other row m of the same interval

Rows are served in this order: zone limits, commitments, events (the one with fewer members first, so that what it
gets counts in those around it), the load after an event.  A device that cannot move by the rest alone is passed over;
if nothing else is left, the smallest of those moves whole, where that is nearer to what is needed than nothing.
Where a move would break another row (O21), its dearest movers stand back and others take their place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.setting import IndexArray
from models.dispatch.merit_order.offers import BoolArray, Offers
from models.intervals import FloatArray
from models.plan import Requirement

_ORDER = {
    Requirement.ZONE_LIMIT: 0,
    Requirement.COMMITMENT_LOW: 1,
    Requirement.EVENT_TARGET: 2,
    Requirement.REBOUND: 3,
}
"""What is bought for, in which order; caps are only kept."""
_NOTHING = 1e-7
"""Relative (and kW): a need below this is met."""
_PASSED_OVER = 40
"""So many devices of the same order may be too large for the rest before it is left."""


@dataclass(frozen=True)
class Market:
    """Who may move: (N,) zone, price class and reliability of every row; who is cheapest in each direction first."""

    rows: CouplingRows
    zone: IndexArray
    price_class: IndexArray
    reliability: FloatArray
    down_first: IndexArray
    up_first: IndexArray

    def sums(self, power_kw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Power per zone (Z,), and reliability x kW per class (C,)."""
        by_zone: FloatArray = np.zeros(self.rows.zones)
        by_class: FloatArray = np.zeros(self.rows.classes)
        by_zone += np.bincount(self.zone, weights=power_kw, minlength=len(by_zone))
        by_class += np.bincount(self.price_class, weights=self.reliability * power_kw, minlength=len(by_class))
        return by_zone, by_class

    def effect(self, which: IndexArray, power_kw: FloatArray) -> FloatArray:
        """What power (N,) adds to the left sides of some rows (O19)."""
        by_zone, by_class = self.sums(power_kw)
        zone = self.rows.zone[which]
        classed = self.rows.class_weight[which] @ by_class if len(which) else np.zeros(0)
        local = by_zone[np.maximum(zone, 0)] if len(by_zone) else np.zeros(len(which))
        return np.where(zone >= 0, local, np.where(zone == -1, by_zone.sum(), classed))

    def weight(self, row: int) -> FloatArray:
        """The factors w of a row, (N,)."""
        zone = self.rows.zone[row]
        if zone == -1:
            return np.ones(len(self.zone))
        if zone >= 0:
            return np.asarray(self.zone == zone, dtype=np.float64)
        return np.asarray(self.rows.class_weight[row][self.price_class] * self.reliability)


def moves_kw(market: Market, t: int, offers: Offers) -> FloatArray:
    """What every row adds to its ``base_kw`` in interval t, (N,)."""
    rows = market.rows
    here = np.flatnonzero(rows.t == t)
    moved = np.zeros(len(offers.base_kw))
    if here.size == 0:
        return moved
    value = rows.constant[here] + market.effect(here, offers.base_kw)
    for place in _in_order(market, here):
        if value[place] <= _NOTHING * max(1.0, abs(rows.constant[here[place]])):
            continue
        added = _bought(market, here, value, place, offers, moved)
        moved += added
        value = value + market.effect(here, added)
    return moved


def _in_order(market: Market, here: IndexArray) -> list[int]:
    """Places of the rows of one interval that are bought for."""

    def key(place: int) -> tuple[int, float]:
        row = int(here[place])
        what = market.rows.families[market.rows.family[row]].requirement
        return _ORDER[what], float(np.count_nonzero(market.rows.class_weight[row]))

    wanted = [k for k, row in enumerate(here) if market.rows.families[market.rows.family[row]].requirement in _ORDER]
    return sorted(wanted, key=key)


def _bought(
    market: Market, here: IndexArray, value: FloatArray, place: int, offers: Offers, moved: FloatArray
) -> FloatArray:
    """What is added to ``moved`` for the row ``here[place]``, (N,)."""
    weight = market.weight(int(here[place]))
    downward = weight.max(initial=0.0) > 0
    first = market.down_first if downward else market.up_first
    most = (offers.down_kw if downward else offers.up_kw) - np.abs(moved)
    least = np.where(moved == 0, offers.down_least_kw if downward else offers.up_least_kw, 0.0)
    sign = -1.0 if downward else 1.0
    size = np.abs(weight)
    free = (most > 0) & (size > 0) & (sign * moved >= 0)
    total, need = np.zeros(len(moved)), float(value[place])
    for _ in range(len(here) + 1):
        chosen = first[free[first]]
        amount = _cheapest(chosen, np.maximum(most - total, 0.0), np.maximum(least - total, 0.0), size, need)
        total[chosen] += amount
        broken = _broken(market, here, value, place, sign * total)
        if broken is None:
            break
        free &= ~_stand_back(market, broken, first, total, least, sign)
        need = float(value[place] - size @ total)
        if need <= _NOTHING * max(1.0, value[place]):
            break
    return sign * total


def _cheapest(chosen: IndexArray, most: FloatArray, least: FloatArray, size: FloatArray, need: float) -> FloatArray:
    """(O20): kW of every row of ``chosen``, in merit order."""
    amount, weight = np.zeros(len(chosen)), size[chosen]
    gives, least_kw = most[chosen], least[chosen]
    left = np.arange(len(chosen))
    passed: list[int] = []
    for _ in range(_PASSED_OVER):
        reach = np.cumsum(gives[left] * weight[left])
        whole = int(np.searchsorted(reach, need, side="right"))
        amount[left[:whole]] = gives[left[:whole]]
        need -= float(reach[whole - 1]) if whole else 0.0
        if whole == len(left) or need <= 0:
            break
        marginal = int(left[whole])
        part = need / weight[marginal]
        if part >= least_kw[marginal]:
            amount[marginal] = part
            return amount
        passed.append(marginal)
        rest = left[whole + 1 :]
        small = least_kw[rest] * weight[rest] <= need
        passed += rest[~small].tolist()
        left = rest[small]
    if passed and need > 0:
        sizes = least_kw[passed] * weight[passed]
        smallest = int(np.argmin(sizes))
        if sizes[smallest] < 2 * need and amount[passed[smallest]] == 0:
            amount[passed[smallest]] = least_kw[passed[smallest]]
    return amount


def _broken(
    market: Market, here: IndexArray, value: FloatArray, place: int, added: FloatArray
) -> tuple[int, float] | None:
    """A row that these moves take (further) beyond its limit, and by how much; None if there is none (O21)."""
    change = market.effect(here, added)
    over = np.where(change > 0, value + change - np.maximum(value, 0.0), 0.0)
    over[place] = 0.0
    slack = _NOTHING * np.maximum(1.0, np.abs(market.rows.constant[here]))
    worst = int(np.argmax(over - slack))
    return (int(here[worst]), float(over[worst])) if over[worst] > slack[worst] else None


def _stand_back(
    market: Market, broken: tuple[int, float], first: IndexArray, total: FloatArray, least: FloatArray, sign: float
) -> BoolArray:
    """Take moves back, the dearest first, until the row holds; returns everybody who stands in it: they are done.

    Who would be left with less than the least it can do stands back altogether.
    """
    row, over = broken
    weight = market.weight(row) * sign
    worsens = weight > 0
    dearest = first[::-1][(worsens & (total > 0))[first[::-1]]]
    effect = np.cumsum(total[dearest] * weight[dearest])
    whole = int(np.searchsorted(effect, over, side="right"))
    over -= float(effect[whole - 1]) if whole else 0.0
    total[dearest[:whole]] = 0.0
    if whole < len(dearest) and over > 0:
        marginal = dearest[whole]
        left_kw = total[marginal] - over / weight[marginal]
        total[marginal] = left_kw if left_kw >= least[marginal] else 0.0
    return worsens


def cheapest_first(costs: Iterator[FloatArray] | list[FloatArray], reliability: FloatArray) -> IndexArray:
    """Merit order over all rows: by what a delivered kWh costs, equal ones in the order of the tables."""
    cost = np.concatenate([*costs, np.empty(0)])
    per_delivered = np.divide(cost, reliability, out=np.full(len(cost), np.inf), where=reliability > 0)
    return np.argsort(np.where(cost < 0, cost, per_delivered), kind="stable")
