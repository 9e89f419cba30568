"""What an oracle minimises: the effective price of every interval, and the cost of switching and straying."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray


@dataclass(frozen=True)
class Prices:
    """Prices of one resource.

    ``per_kwh``: (T,) tariff plus duals (plus the tie-break), CNY per kWh.  ``late_per_kwh``: of the virtual slot
    after the horizon.  ``stray_per_kwh``: (T,), with ``plan_kw``: (T,) cost of each kW off the plan, 0 where it does
    not count; None if nothing strays.
    """

    per_kwh: FloatArray
    late_per_kwh: float
    stray_per_kwh: FloatArray | None = None
    plan_kw: FloatArray | None = None

    def kinks(self, t: int) -> tuple[float, float] | None:
        """(cost per kWh of straying, where from) in an interval, None if straying costs nothing there."""
        if self.stray_per_kwh is None or self.plan_kw is None or self.stray_per_kwh[t] == 0:
            return None
        return float(self.stray_per_kwh[t]), float(self.plan_kw[t])

    def cost(self, t: int, power_kw: float) -> float:
        """CNY per hour of ``power_kw`` in an interval."""
        kink = self.kinks(t)
        cost = float(self.per_kwh[t]) * power_kw
        return cost if kink is None else cost + kink[0] * abs(power_kw - kink[1])

    def corners(self, t: int, low_kw: float, high_kw: float, *more: float) -> list[float]:
        """Powers at which an interval's cost may bend, ends included, in rising order."""
        kink = self.kinks(t)
        inner = [*more] if kink is None else [*more, kink[1]]
        return sorted({low_kw, high_kw, *(value for value in inner if low_kw < value < high_kw)})


@dataclass(frozen=True)
class PriceTable:
    """Prices of n resources: the fields of ``Prices`` with one more dimension, (n, T) and (n,).

    ``stray_per_kwh`` is 0 where straying costs nothing (and where ``plan_kw`` means nothing); both are None if nobody
    strays.
    """

    per_kwh: FloatArray
    late_per_kwh: FloatArray
    stray_per_kwh: FloatArray | None = None
    plan_kw: FloatArray | None = None

    def row(self, index: int) -> Prices:
        """Prices of one of the resources."""
        if self.stray_per_kwh is None or self.plan_kw is None:
            return Prices(self.per_kwh[index], float(self.late_per_kwh[index]))
        stray, plan_kw = self.stray_per_kwh[index], self.plan_kw[index]
        return Prices(self.per_kwh[index], float(self.late_per_kwh[index]), stray, plan_kw)

    def rows(self, which: NDArray[np.intp]) -> "PriceTable":
        """Prices of some of the resources."""
        late = self.late_per_kwh[which]
        if self.stray_per_kwh is None or self.plan_kw is None:
            return PriceTable(self.per_kwh[which], late)
        return PriceTable(self.per_kwh[which], late, self.stray_per_kwh[which], self.plan_kw[which])


def no_kinks(prices: Prices) -> bool:
    """True if the cost is linear in every interval."""
    return prices.stray_per_kwh is None or not np.any(prices.stray_per_kwh)
