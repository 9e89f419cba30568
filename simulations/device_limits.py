"""Orders beside what the devices that took them were registered with: nobody may be told what it cannot do.

    storage, charger      −discharge limit … charge limit; pumped hydro 0, or not below its minimum either way
    generator             0, or −maximum … −minimum
    PV                    −what is available at most … 0
    process               0 … maximum
    thermal load          b − decrease … b + increase, not below 0
    curtailable load      (1 − share) b … (1 + rebound share) b
    interruptible load    b − block … (1 + rebound share) b, not below 0

b is the baseline of the day, its least and its most over the time for which the command was given.  Written anew from
the registered rows: a mistake in ``vpp.order_limits`` must not hide itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    Pv,
    RegisteredResource,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from simulations.wire.record import GatewayRecord, Told

TOLERATED_KW, TOLERATED_SHARE = 0.01, 1e-4
"""So much, and such a share of the limit, is rounding."""


@dataclass(frozen=True, slots=True)
class Strayed:
    """An order beyond a limit, by ``over_kw``."""

    order: Told
    limit_kw: float
    over_kw: float


def broken_limits(
    records: Iterable[GatewayRecord],
    resources: Mapping[str, RegisteredResource],
    grid: IntervalGrid,
    baseline_kw: Mapping[str, FloatArray],
) -> tuple[str, ...]:
    """Devices that were told what they cannot do, the worst order of each; ``baseline_kw``: (…, T) on ``grid``, of
    all that it was believed to be.
    """
    worst: dict[str, Strayed] = {}
    often: Counter[str] = Counter()
    unknown = np.full(len(grid), np.nan)
    for record in records:
        spans = {batch.command_id: (batch.valid_from, batch.valid_until) for _, batch in record.came}
        for order in record.told:
            name, span = order.resource_id, spans.get(order.command_id, (order.valid_from, order.valid_until))
            if order.power_kw is None:
                continue
            b_kw = baseline_kw.get(name, unknown)[..., grid.overlap_h(*span) > 0].ravel()
            found = strayed(order, resources[name], b_kw[~np.isnan(b_kw)])
            if found is not None:
                often[name] += 1
                worst[name] = max(found, worst.get(name, found), key=lambda each: each.over_kw)
    return tuple(_line(worst[name], often[name]) for name in sorted(worst))


def strayed(order: Told, resource: RegisteredResource, baseline_kw: FloatArray) -> Strayed | None:
    """The order if it is beyond a limit; ``baseline_kw``: of the time for which it was given, none if not known."""
    power_kw = order.power_kw or 0.0
    low_kw, high_kw = _range_kw(resource, baseline_kw)
    limit_kw = low_kw if power_kw < low_kw else high_kw
    over_kw = max(low_kw - power_kw, power_kw - high_kw)
    least_kw = _least_kw(resource, power_kw)
    if over_kw <= 0 and 0 < abs(power_kw) < least_kw:
        limit_kw, over_kw = float(np.copysign(least_kw, power_kw)), min(least_kw - abs(power_kw), abs(power_kw))
    return Strayed(order, limit_kw, over_kw) if over_kw > TOLERATED_KW + TOLERATED_SHARE * abs(limit_kw) else None


def _range_kw(resource: RegisteredResource, baseline_kw: FloatArray) -> tuple[float, float]:
    """Lowest and highest net power that the device was registered with."""
    match resource:
        case Storage() | EvCharger():
            return 0.0 - resource.discharge_limit_kw, resource.charge_limit_kw
        case Generator():
            return -resource.power_max_kw, 0.0
        case Pv():
            return -resource.available_scale_kw, 0.0
        case ShiftableLoad():
            return 0.0, resource.power_max_kw
    if not len(baseline_kw):  # a load, and nobody knows what it would draw: no less than nothing
        return 0.0, np.inf
    least_kw, most_kw = float(baseline_kw.min()), float(baseline_kw.max())
    match resource:
        case ThermalLoad():
            return max(0.0, least_kw - resource.decrease_limit_kw), most_kw + resource.increase_limit_kw
        case CurtailableLoad():
            return (1 - resource.curtail_share) * least_kw, (1 + resource.rebound_share) * most_kw
        case InterruptibleLoad():
            return max(0.0, least_kw - resource.block_kw), (1 + resource.rebound_share) * most_kw


def _least_kw(resource: RegisteredResource, power_kw: float) -> float:
    """The least power at which it runs, in that direction."""
    match resource:
        case Generator():
            return resource.power_min_kw
        case Storage():
            return resource.charge_min_kw if power_kw > 0 else resource.discharge_min_kw
        case _:
            return 0.0


def _line(found: Strayed, often: int) -> str:
    order, more = found.order, "" if often == 1 else f" ({often} such orders)"
    return (
        f"limits: {order.resource_id} at {order.at:%H:%M:%S} told {order.power_kw:.3f} kW, its limit is "
        f"{found.limit_kw:.3f} kW{more}"
    )
