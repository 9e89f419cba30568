"""What a device may be ordered by its registration, and when it is rather released: for one, and for all at once.

low  = max(floor, b·low_share + low_kw)          lowest net power, kW; b is the baseline of the interval
high = b·high_share + high_kw                    highest net power, kW

What runs above a least power only (generators, pumped hydro) is told to run there or to stand still: the mean of a plan
in which it runs for a part of the time is no power of its.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from vpp.heard import NEVER_US
from vpp.state import LiveState

RELEASE_WITHIN_KW = 1e-3
"""A load whose plan is this near to its baseline is released to its own control."""


class Release(IntEnum):
    """When a device rather follows its own control."""

    NEVER = 0
    AT_OR_ABOVE = 1  # a load that takes back: what comes back afterwards comes by itself
    AT = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers above for one resource; ``least_in_kw``, ``least_out_kw``: its least power, either way."""

    low_kw: float
    high_kw: float
    low_share: float = 0.0
    high_share: float = 0.0
    floor_kw: float = -np.inf
    release: Release = Release.NEVER
    least_in_kw: float = 0.0
    least_out_kw: float = 0.0


def limits_of(resource: ResourceBase) -> Limits:
    """Limits by kind; ``TypeError`` for a kind that nobody knows."""
    if isinstance(resource, Storage):
        low_kw, high_kw = -resource.discharge_limit_kw, resource.charge_limit_kw
        return Limits(low_kw, high_kw, least_in_kw=resource.charge_min_kw, least_out_kw=resource.discharge_min_kw)
    if isinstance(resource, EvCharger):
        return Limits(-resource.discharge_limit_kw, resource.charge_limit_kw)
    if isinstance(resource, Generator):
        return Limits(-resource.power_max_kw, 0.0, least_out_kw=resource.power_min_kw)
    if isinstance(resource, Pv):
        return Limits(-resource.available_scale_kw, 0.0)
    if isinstance(resource, ShiftableLoad):
        return Limits(0.0, resource.power_max_kw)
    if isinstance(resource, ThermalLoad):
        return Limits(-resource.decrease_limit_kw, resource.increase_limit_kw, 1.0, 1.0, 0.0, Release.AT)
    if isinstance(resource, CurtailableLoad):
        least, most = 1 - resource.curtail_share, 1 + resource.rebound_share
        return Limits(0.0, 0.0, least, most, release=Release.AT_OR_ABOVE)
    if isinstance(resource, InterruptibleLoad):
        return Limits(-resource.block_kw, 0.0, 1.0, 1 + resource.rebound_share, 0.0, Release.AT_OR_ABOVE)
    raise TypeError(f"unknown kind of resource: {type(resource).__name__}")


def power_range_kw(resource: ResourceBase, baseline_kw: float) -> tuple[float, float]:
    """Lowest and highest net power that the device's registration allows in this interval, kW."""
    limits = limits_of(resource)
    low = max(limits.floor_kw, baseline_kw * limits.low_share + limits.low_kw)
    return low, baseline_kw * limits.high_share + limits.high_kw


def is_release(resource: ResourceBase, power_kw: float, baseline_kw: float) -> bool:
    """True if the device should rather follow its own control: a load at (or, taking back, above) its baseline."""
    release = limits_of(resource).release
    if release is Release.AT_OR_ABOVE:
        return power_kw >= baseline_kw - RELEASE_WITHIN_KW
    return release is Release.AT and abs(power_kw - baseline_kw) <= RELEASE_WITHIN_KW


class OrderLimits:
    """The limits of all registered resources, by row of the live state; made anew when somebody registers."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._version = -1
        self._columns = np.zeros((8, 0))

    def _known(self) -> FloatArray:
        if self._version != self._state.version:
            self._columns = np.zeros((8, len(self._state.columns.measured_us)))
            for live in self._state:
                each = limits_of(live.record.resource)
                self._columns[:, live.row] = (
                    each.low_kw,
                    each.high_kw,
                    each.low_share,
                    each.high_share,
                    each.floor_kw,
                    each.release,
                    each.least_in_kw,
                    each.least_out_kw,
                )
            self._version = self._state.version
        return self._columns

    def clamped(self, rows: NDArray[np.int64], power_kw: FloatArray, baseline_kw: FloatArray) -> FloatArray:
        """Power within each device's limits, (n,); below its least power the nearer of that and nothing."""
        low_kw, high_kw, low_share, high_share, floor_kw, _, least_in_kw, least_out_kw = self._known()[:, rows]
        low = np.maximum(floor_kw, baseline_kw * low_share + low_kw)
        inside_kw = np.minimum(np.maximum(power_kw, low), baseline_kw * high_share + high_kw)
        least_kw, asked_kw = np.where(inside_kw > 0, least_in_kw, least_out_kw), np.abs(inside_kw)
        runs_kw = np.copysign(np.where(asked_kw < least_kw / 2, 0.0, np.maximum(asked_kw, least_kw)), inside_kw)
        return np.asarray(np.where(asked_kw < least_kw, runs_kw, inside_kw))

    def released(self, rows: NDArray[np.int64], power_kw: FloatArray, baseline_kw: FloatArray) -> NDArray[np.bool_]:
        """``is_release`` of many, (n,); a building that an event has moved is held at its baseline until the event lets
        it go (``vpp.standing_orders``): its own control would take back at once what it gave up.
        """
        release, columns = self._known()[5, rows], self._state.columns
        is_held = ~np.isnan(columns.ordered_kw[rows]) & (columns.stands_until_us[rows] != NEVER_US)
        above = (release == Release.AT_OR_ABOVE) & (power_kw >= baseline_kw - RELEASE_WITHIN_KW)
        at = (release == Release.AT) & ~is_held & (np.abs(power_kw - baseline_kw) <= RELEASE_WITHIN_KW)
        return np.asarray(above | at)
