r"""How uncertain a delivery is: a normal, or a sample of what came; and what a net curve expects of each.

    (1)  G(B) = Σ_k [a_k B ΔΦ_k + s_k (μ ΔΦ_k - σ Δφ_k)]                       normal, z_k = (c_k B - μ) / σ   [CNY]
    (2)  G'(B) = Σ_k a_k ΔΦ_k + Σ_k j_k c_k B φ(z_k) / σ                                                       [CNY/kWh]
    (3)  G(B) = (1/n) Σ_k [a_k B n_k + s_k Σ_{i in k} q_i]                     sample                          [CNY]

======  ===============  =======  ====================================================================
symbol  name here        unit     meaning
======  ===============  =======  ====================================================================
μ, σ    mean_kwh,        kWh      of what would be delivered, whatever is ordered
        sigma_kwh
q_i     values_kwh       kWh      the sample
c, a,   knot, a, s, jump          of the net curve (``net_curve``)
s, j
ΔΦ_k    -                -        chance of the piece k, Φ(z_{k+1}) - Φ(z_k); Δφ_k alike of the density
n_k     -                -        how many of the sample lie on the piece k
======  ===============  =======  ====================================================================

(1): over the piece k the integral of a B + s q is a B ΔΦ + s (μ ΔΦ - σ Δφ), as the mean of a cut normal says.  (2): the
pieces move with B, and where v is continuous what one loses the next one gains, so only jumps leave a term.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import ndtr

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.settlement.net_curve import NetCurve

_REACH = 9.0
"""Standard deviations beyond which a normal has nothing left for double precision."""


class Delivery(Protocol):
    """What may come of a period, as seen when the order is taken."""

    @property
    def mean_kwh(self) -> float:
        """Expected delivery."""

    def expected(self, curve: NetCurve, orders: FloatArray) -> FloatArray:
        """G at every order (positive), CNY."""

    def candidates(self, curve: NetCurve) -> FloatArray:
        """Rising orders between which G has at most one summit, or none at all."""

    def expected_positive_kwh(self) -> float:
        """Mean of max(q, 0)."""


@dataclass(frozen=True)
class NormalDelivery:
    """A normal of ``mean_kwh`` and ``sigma_kwh``, both positive."""

    mean_kwh: float
    sigma_kwh: float

    def __post_init__(self) -> None:
        for name in ("mean_kwh", "sigma_kwh"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError([InputFault("delivery", name, getattr(self, name), "must be positive")])

    def _z(self, curve: NetCurve, orders: FloatArray) -> FloatArray:
        """Every order and knot in standard deviations, ±∞ outside, (N, K + 1)."""
        inner = (np.multiply.outer(orders, curve.knot) - self.mean_kwh) / self.sigma_kwh
        return np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf)))

    def expected(self, curve: NetCurve, orders: FloatArray) -> FloatArray:
        """(1)."""
        z = self._z(curve, orders)
        chance, density = np.diff(_chance(z), axis=1), np.diff(_density(z), axis=1)
        share = self.mean_kwh * chance - self.sigma_kwh * density
        return np.asarray(orders * (chance @ curve.a) + share @ curve.s)

    def slope(self, curve: NetCurve, orders: FloatArray) -> FloatArray:
        """(2)."""
        z = self._z(curve, orders)
        jumps = _density(z[:, 1:-1]) @ (curve.jump * curve.knot)
        return np.asarray(np.diff(_chance(z), axis=1) @ curve.a + jumps * orders / self.sigma_kwh)

    def candidates(self, curve: NetCurve) -> FloatArray:
        """Eight to a standard deviation, up to where the lowest positive knot is out of reach."""
        lowest = min((float(c) for c in curve.knots if c > 0), default=1.0)
        highest = (self.mean_kwh + _REACH * self.sigma_kwh) / lowest
        count = int(np.clip(8 * highest / self.sigma_kwh, 400, 40_000))
        return np.linspace(0, highest, count + 1)[1:]

    def expected_positive_kwh(self) -> float:
        """μ Φ(μ/σ) + σ φ(μ/σ)."""
        ratio = np.array([self.mean_kwh / self.sigma_kwh])
        return float((self.mean_kwh * ndtr(ratio) + self.sigma_kwh * _density(ratio))[0])


@dataclass(frozen=True, eq=False)
class SampledDelivery:
    """What came on like occasions, (n,) kWh; at least one."""

    values_kwh: FloatArray

    def __post_init__(self) -> None:
        values = np.asarray(self.values_kwh, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise InputError([InputFault("delivery", "values_kwh", values.shape, "must be a row of finite numbers")])

    @classmethod
    def of_ratios(cls, delivered_over_ordered: FloatArray, capability_kwh: float) -> "SampledDelivery":
        """From ratios of the past: each time that share of ``capability_kwh`` would come, whatever is ordered."""
        return cls(np.asarray(delivered_over_ordered, dtype=np.float64) * capability_kwh)

    @cached_property
    def _sorted(self) -> FloatArray:
        return np.sort(np.asarray(self.values_kwh, dtype=np.float64))

    @cached_property
    def _sums(self) -> FloatArray:
        return np.concatenate([[0.0], np.cumsum(self._sorted)])

    @property
    def mean_kwh(self) -> float:
        """Of the sample."""
        return float(np.mean(self._sorted))

    def expected(self, curve: NetCurve, orders: FloatArray) -> FloatArray:
        """(3), by counting in the sorted sample."""
        inner = np.searchsorted(self._sorted, np.multiply.outer(orders, curve.knot), side="left")
        upto = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, self._sorted.size)))
        counts, sums = np.diff(upto, axis=1), np.diff(self._sums[upto], axis=1)
        return np.asarray((orders * (counts @ curve.a) + sums @ curve.s) / self._sorted.size)

    def candidates(self, curve: NetCurve) -> FloatArray:
        """Orders that put a value on a knot, a hair to both sides of each (jumps), and one next to nothing.

        Between them (3) is straight, so one of them is the best.
        """
        knots = curve.knot[curve.knot != 0]
        orders = np.divide.outer(self._sorted, knots).ravel()
        orders = np.unique(orders[orders > 0])
        if not orders.size:
            orders = np.array([max(abs(self.mean_kwh), 1.0)])
        return np.unique(np.concatenate([orders[:1] * 1e-6, orders * (1 - 1e-12), orders, orders * (1 + 1e-12)]))

    def expected_positive_kwh(self) -> float:
        """Of the sample."""
        return float(np.maximum(self._sorted, 0).mean())


def _density(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def _chance(z: FloatArray) -> FloatArray:
    return np.asarray(ndtr(z), dtype=np.float64)
