"""The four capacities, summed over any group of resources, never mixed: connected, declared, tested, callable now."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from models.flexibility import callable_kw
from vpp.resource_live import ResourceLive


@dataclass(slots=True)
class Capacities:
    """Sums of one group, kW; ``callable_kw`` counts only who may be given orders now."""

    group: str
    resources: int = 0
    connected_kw: float = 0.0
    declared_kw: float = 0.0
    tested_kw: float = 0.0
    callable_kw: float = 0.0


def capacities(
    resources: Iterable[ResourceLive], group_of: Callable[[ResourceLive], str], now: datetime
) -> list[Capacities]:
    """The sums by group, in the order of the groups' names."""
    sums: dict[str, Capacities] = {}
    for live in resources:
        name, record = group_of(live), live.record
        row = sums.setdefault(name, Capacities(name))
        row.resources += 1
        row.connected_kw += record.connected_kw
        row.declared_kw += record.declared_kw
        row.tested_kw += record.tested_kw or 0.0
        row.callable_kw += live_callable_kw(live, now)
    return [sums[name] for name in sorted(sums)]


def live_callable_kw(live: ResourceLive, now: datetime) -> float:
    """What one resource could take off the grid now, 0 if it may not be given orders."""
    latest = live.latest if live.is_dispatchable(now) else None
    if latest is None:
        return 0.0
    needed = live.session.energy_needed_kwh if live.session is not None else 0.0
    left_h = (live.session.departure - now).total_seconds() / 3600 if live.session is not None else 0.0
    return callable_kw(
        live.record.resource,
        latest,
        session=live.session,
        energy_left_kwh=max(0.0, needed - live.session_delivered_kwh),
        hours_to_departure=left_h,
        comfort_store_kwh=live.comfort_store_kwh,
    )
