"""What compiled oracles are asked with: effective prices, and what a kWh off the day plan costs."""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled.jit import compiled
from models.intervals import FloatArray


class Asked(NamedTuple):
    """Prices of n rows over T intervals, CNY per kWh.

    ``hours``: (T,).  ``edges_h``: (T + 1,) hours from the horizon's start.  ``per_kwh``: (n, T).  ``late``: (n,) of
    virtual slots.  ``stray``, ``plan_kw``: (n, T), stray 0 where the plan does not count.
    """

    hours: FloatArray
    edges_h: FloatArray
    per_kwh: FloatArray
    late: FloatArray
    stray: FloatArray
    plan_kw: FloatArray


@compiled
def kink(asked: Asked, i: int, t: int) -> float:
    """Where row i's cost bends because of the day plan; NaN if it does not."""
    return float(asked.plan_kw[i, t]) if asked.stray[i, t] != 0 else np.nan


@compiled
def cost(asked: Asked, i: int, t: int, power_kw: float) -> float:
    """CNY per hour of row i's power in an interval."""
    found = asked.per_kwh[i, t] * power_kw
    if asked.stray[i, t] != 0:
        found += asked.stray[i, t] * abs(power_kw - asked.plan_kw[i, t])
    return float(found)
