"""The Lagrangian lower bound at a plan's prices, and the least cost of every baseline, by the checker's own oracles.

    L(λ) = Σ_i min_x { Σ_t Δ_t (price_{i,t} + Σ_rows weight_i λ_{row,t}) p_t + own cost }
           + Σ_rows Σ_t Δ_t λ · constant

with every row written as ``constant + Σ_i weight_i p_i ≤ slack`` and 0 ≤ λ ≤ penalty, CNY per kWh: the slack then
costs at least what the price takes, and weak duality makes L a lower bound of every plan's objective.  A price
outside its range is moved into it first.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from models.dispatch.check.batches import Block, Group
from models.dispatch.check.coupling import Classes, Rows, row_key
from models.dispatch.check.devices import Device
from models.dispatch.check.oracles.least import least_costs
from models.dispatch.check.oracles.prices import PriceTable
from models.dispatch.check.screens.charging import Stays
from models.dispatch.check.screens.common import BoolArray, IndexArray
from models.dispatch.problem import TIE_BREAK_PER_KWH_H, DispatchProblem
from models.intervals import FloatArray
from models.plan_stream import PlanHead
from models.resources import ResourceKind

MANY, MANY_GENERATORS = 300, 30
"""Rows of a kind from which on compiled oracles save more than they cost (a generator's takes a tenth of a second)."""


@dataclass(frozen=True)
class Tariffs:
    """The tariffs as a matrix, (K, T) CNY per kWh, and their means over the horizon, (K,)."""

    per_kwh: FloatArray
    mean: FloatArray

    @classmethod
    def of(cls, problem: DispatchProblem) -> "Tariffs":
        """The tariffs of a problem, in its order."""
        hours = problem.grid.hours
        per_kwh = np.array(list(problem.tariffs.values())).reshape(len(problem.tariffs), len(hours))
        return cls(per_kwh, per_kwh @ hours / hours.sum())


def dual_prices(rows: list[Rows], head: PlanHead) -> list[FloatArray]:
    """λ / Δ of every row, (T,), moved into [0, penalty]; 0 where the plan names none or the row does not stand."""
    said: dict[object, float] = {}
    for price in head.prices:
        said[row_key(price)] = said.get(row_key(price), 0.0) + price.amount
    found = []
    for row in rows:
        values = np.array([said.get(row.key(start), 0.0) for start in head.grid.starts])
        found.append(np.where(np.isfinite(row.constant), np.clip(values, 0.0, row.penalty), 0.0))
    return found


def least_of(block: Block, group: Group, prices: PriceTable) -> tuple[FloatArray, BoolArray]:
    """Least cost (n,) of a group's resources, and whether each is exact."""
    many = len(block.roster.rows[group.kind]) >= (MANY_GENERATORS if group.kind is ResourceKind.GENERATOR else MANY)
    devices = partial(_devices, block, group)
    return least_costs(group.kind, group.batch, prices, devices, many=many)


def _devices(block: Block, group: Group, rows: IndexArray) -> list[Device]:
    return block.devices(group.kind, group.places[rows])


def baseline_prices(tariffs: Tariffs, block: Block, group: Group) -> PriceTable:
    """Tariff and the tie-breaking term, which the virtual slot has at the horizon's end."""
    horizon = block.horizon
    code = block.roster.tariff[block.first : block.last][group.places]
    late = tariffs.mean + TIE_BREAK_PER_KWH_H * float(horizon.ends_h[-1])
    return PriceTable((tariffs.per_kwh + TIE_BREAK_PER_KWH_H * horizon.tau_h)[code], late[code])


@dataclass
class LowerBound:
    """L at a plan's prices, block by block: ``total_cny`` so far, and per kind whether its oracle was exact."""

    problem: DispatchProblem
    tariffs: Tariffs
    classes: Classes
    duals: list[FloatArray]
    plain: FloatArray
    weighted: FloatArray
    total_cny: float = 0.0
    kinds: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(
        cls, head: PlanHead, problem: DispatchProblem, tariffs: Tariffs, classes: Classes, rows: list[Rows]
    ) -> "LowerBound":
        """Nothing summed yet; ``rows`` need not have the baseline in their constants."""
        duals = dual_prices(rows, head)
        shape = (len(classes), len(problem.grid))
        found = cls(problem, tariffs, classes, duals, np.zeros(shape), np.zeros(shape))
        for row, price in zip(rows, duals, strict=True):
            if price.any():
                table = found.weighted if row.weighted else found.plain
                table[row.members] += row.factor * price
        return found

    def add(self, block: Block) -> None:
        """Add the least costs of a block's resources."""
        part = slice(block.first, block.last)
        class_of, tariff_of = self.classes.of[part], block.roster.tariff[part]
        reliability = block.roster.reliability[part]
        for group in block.groups:
            places = group.places
            per_kwh = self.tariffs.per_kwh[tariff_of[places]] + self.plain[class_of[places]]
            per_kwh += reliability[places, None] * self.weighted[class_of[places]]
            prices = PriceTable(per_kwh, self.tariffs.mean[tariff_of[places]])
            prices, constant = self._with_real_time(prices, block, group)
            cost, exact = least_of(block, group, prices)
            self.total_cny += float(cost.sum()) + constant
            kind = group.kind.value
            all_exact = bool(exact.all()) and self.kinds.get(kind, "exact") == "exact"
            self.kinds[kind] = "exact" if all_exact else "relaxed"

    def close(self, rows: list[Rows]) -> float:
        """L, with the rows' constants, which the baseline decides."""
        hours = self.problem.grid.hours
        for row, price in zip(rows, self.duals, strict=True):
            if price.any():
                self.total_cny += float((hours * price) @ np.where(price > 0, row.constant, 0.0))
        return self.total_cny

    def _with_real_time(self, prices: PriceTable, block: Block, group: Group) -> tuple[PriceTable, float]:
        """Prices with what a re-plan adds, and a constant.

        Switching costs |p_1 − now| in the first interval only, straying |p − plan|: where both act in the first
        interval, the smaller is left out (never negative, so the bound stays a bound).  A charger with several stays
        shares them among these: left out.
        """
        terms, penalties = self.problem.real_time, self.problem.penalties
        if terms is None:
            return prices, 0.0
        places, hours = group.places + block.first, block.horizon.hours
        plan_kw = terms.plan_kw[places]
        known = np.isfinite(plan_kw)
        plan_kw = np.where(known, plan_kw, 0.0)
        stray = np.where(known, penalties.stray_cost_per_kwh * terms.stray_applies, 0.0)
        now, switch = terms.now_kw[places], penalties.switch_cost_per_kw / hours[0]
        switches = np.isfinite(now) & (switch > stray[:, 0])
        stray[switches, 0], plan_kw[switches, 0] = switch, now[switches]
        constant = 0.0
        if isinstance(group.batch, Stays):
            stays = np.bincount(group.batch.charger, minlength=len(places))
            stray[stays > 1] = 0.0
            single = group.batch.take(np.flatnonzero((stays == 1)[group.batch.charger]))
            outside = np.zeros(stray.shape, dtype=np.bool_)
            outside[single.charger] = single.share() == 0
            constant = float((np.where(outside, stray * np.abs(plan_kw), 0.0) @ hours).sum())
            stray[outside] = 0.0
        return PriceTable(prices.per_kwh, prices.late_per_kwh, stray, plan_kw), constant
