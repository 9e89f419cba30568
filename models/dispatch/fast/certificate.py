"""The certificate: a lower bound that a checker can repeat, at duals and water values that the plan publishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.pricing.common import effective_prices
from models.dispatch.fast.shards import Block, Shard
from models.dispatch.fast.sweeps import Columns, Sweeper
from models.dispatch.fast.water import least_by_cells, reservoir_of, water_values
from models.intervals import FloatArray

MOST_UNITS = 64
"""Pumped hydro units that get water values; more of them are small against everything else."""


@dataclass(frozen=True)
class Bound:
    """L(λ) in CNY, its duals (N,), and the water values of pumped hydro, (T,) by row of ``fleet.resource_ids``."""

    value_cny: float
    duals: FloatArray
    water: Mapping[int, FloatArray] = field(default_factory=dict)


def bound_of(
    rows: CouplingRows, columns: Columns, duals: FloatArray, blocks: Sequence[Block], sweeper: Sweeper
) -> Bound:
    """L(λ) from a sweep of the whole fleet at one point without noise:

    Σ least cost at tariff + duals + Σ_n Δ_n λ_n constant_n, 0 ≤ λ_n ≤ penalty_n; for pumped hydro, whose oracle's least
    cost leaves modes out, the better of it and the bound at its water values (``water``).
    """
    value = float(columns.least_cny.sum() + (rows.hours * duals) @ rows.constant)
    units = [(b, i) for b, block in enumerate(blocks) if block.pricer.name == "hydro" for i in range(len(block))]
    if len(units) > MOST_UNITS:
        return Bound(value, duals)
    points = sweeper.points(duals)
    water: dict[int, FloatArray] = {}
    for b, i in units:
        block = blocks[b]
        prices = sweeper.prices(points[int(block.zone[i])])
        price, stray, plan_kw = (np.empty(rows.intervals) for _ in range(3))
        effective_prices(block.members, block.near, i, prices, price, stray, plan_kw)
        unit = reservoir_of(block.units, i)
        values = water_values(unit, prices.hours, price, stray, plan_kw)
        relaxed = float(sweeper.sums(Shard(b, i, i + 1, int(block.zone[i])), prices).totals[0])
        value += max(0.0, least_by_cells(unit, prices.hours, price, stray, plan_kw, values) - relaxed)
        water[int(block.members.resource[i])] = values
    return Bound(value, duals, water)
