"""The certificate: a lower bound that a checker can repeat, at duals that the plan publishes."""

from dataclasses import dataclass

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.sweeps import Columns
from models.intervals import FloatArray


@dataclass(frozen=True)
class Bound:
    """L(λ) in CNY, and its duals (N,) in CNY per kWh."""

    value_cny: float
    duals: FloatArray


def bound_of(rows: CouplingRows, columns: Columns, duals: FloatArray) -> Bound:
    """L(λ) from a sweep of the whole fleet at one point without noise:

    Σ least cost at tariff + duals + Σ_n Δ_n λ_n constant_n, 0 ≤ λ_n ≤ penalty_n.
    """
    return Bound(float(columns.least_cny.sum() + (rows.hours * duals) @ rows.constant), duals)
