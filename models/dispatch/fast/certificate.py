"""The certificate: a lower bound that a checker can repeat, at duals that the plan publishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.shards import Block
from models.dispatch.fast.sweeps import Columns, Sweeper
from models.intervals import FloatArray


@dataclass(frozen=True)
class Bound:
    """L(λ) in CNY, its duals (N,).  ``water``: water values by row of ``fleet.resource_ids``; no bound needs any."""

    value_cny: float
    duals: FloatArray
    water: Mapping[int, FloatArray] = field(default_factory=dict)


def bound_of(
    rows: CouplingRows,
    columns: Columns,
    duals: FloatArray,
    _blocks: Sequence[Block] = (),
    _sweeper: Sweeper | None = None,
) -> Bound:
    """L(λ) from a sweep of the whole fleet at one point without noise:

    Σ least cost at tariff + duals + Σ_n Δ_n λ_n constant_n, 0 ≤ λ_n ≤ penalty_n.
    """
    return Bound(float(columns.least_cny.sum() + (rows.hours * duals) @ rows.constant), duals)
