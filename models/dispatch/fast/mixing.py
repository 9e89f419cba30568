r"""Mixing: when a mix of schedules is a schedule, and what it costs.

*By power.*  Where limits are linear in power (charging one way, curtailing, shifting, thermal, sun), the mix of powers
is a schedule.  Own costs are linear, or bend upwards (deviation, discomfort) and are computed again.

*By level.*  A store's limits are linear in its level, not in its power: f(p) = η⁺ p or p / η⁻ is concave, so a mix of
powers wastes less and overfills.  The mix of *levels* is inside all bounds, meets the end condition, and has the
power p = f⁻¹(mix of changes), which lies inside the limits and is never above the mix of powers: f⁻¹ is convex
(Jensen).  What that changes in the sums the other rows make good.

*Not at all.*  Whatever switches takes one schedule.
"""

from enum import Enum
from typing import Any

import numpy as np

from models.intervals import FloatArray


class Mixing(Enum):
    """How a kind's schedules may be mixed."""

    BY_POWER = "power"
    BY_LEVEL = "level"
    NOT = "not"


def changes(units: Any, power_kw: FloatArray) -> FloatArray:
    """What power (n, T) does to the level per hour, kW at the store."""
    return np.asarray(np.where(power_kw > 0, units.stored[:, None], units.taken[:, None]) * power_kw)


def powers(units: Any, change_kw: FloatArray) -> FloatArray:
    """The power (n, T) at the grid that changes the level so, its own inverse."""
    return np.asarray(change_kw / np.where(change_kw > 0, units.stored[:, None], units.taken[:, None]))


def storage_cost(units: Any, hours: FloatArray, power_kw: FloatArray, late_per_kwh: FloatArray) -> FloatArray:  # noqa: ARG001 - the protocol
    """Wear, CNY (n,)."""
    return np.asarray(units.wear * (np.abs(power_kw) @ hours))


def vehicle_cost(units: Any, hours: FloatArray, power_kw: FloatArray, late_per_kwh: FloatArray) -> FloatArray:
    """Wear and the virtual slot after the horizon, CNY (n,)."""
    level = units.start + changes(units, power_kw) @ hours
    lacking = np.where(units.after_h > 0, units.target - level, 0.0)
    late_kwh = lacking / np.where(lacking > 0, units.stored, units.taken)
    return np.asarray(units.wear * (np.abs(power_kw) @ hours + np.abs(late_kwh)) + late_per_kwh * late_kwh)


def thermal_cost(units: Any, hours: FloatArray, power_kw: FloatArray, late_per_kwh: FloatArray) -> FloatArray:  # noqa: ARG001 - the protocol
    """Discomfort, CNY (n,)."""
    base = units.profiles[units.profile] * units.scale_kw[:, None]
    return np.asarray(units.discomfort * (np.maximum(base - power_kw, 0.0) @ hours))


def shifting_cost(units: Any, hours: FloatArray, power_kw: FloatArray, late_per_kwh: FloatArray) -> FloatArray:  # noqa: ARG001 - the protocol
    """Leaving the preferred run, CNY (n,)."""
    begin, end = units.edges_h[:-1], units.edges_h[1:]
    inside = np.minimum(end, units.liked_to_h[:, None]) - np.maximum(begin, units.liked_from_h[:, None])
    liked = units.power_max_kw[:, None] * np.clip(inside, 0.0, None) / hours
    return np.asarray(units.half_cost * (np.abs(power_kw - liked) @ hours))
