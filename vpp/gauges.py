"""Gauges: how things stand now, for whoever watches the service (``Metrics`` says what each means)."""

from collections.abc import Callable, Sequence
from datetime import datetime

from models.events import EventRecord
from models.life_cycle import EventStatus
from models.resources import ResourceKind
from vpp.capacities import capacities
from vpp.metrics import Metrics
from vpp.state import LiveState


def set_gauges(
    metrics: Metrics,
    state: LiveState,
    records: Sequence[EventRecord],
    measured_kw: Callable[[str], float | None],
    now: datetime,
) -> None:
    """Set the gauges of devices, capacities (kW) and events.

    ``measured_kw``: what the event of that id delivered in the last complete cycle, None before there was one.
    """
    counts: dict[ResourceKind, list[int]] = {}
    fresh = state.columns.is_fresh(now)
    for live in state:
        pair = counts.setdefault(live.kind, [0, 0])
        pair[0 if fresh[live.row] else 1] += 1
    for kind, (online, stale) in counts.items():
        metrics.devices_online.labels(kind=kind.value).set(online)
        metrics.devices_stale.labels(kind=kind.value).set(stale)
    for sums in capacities(state, lambda live: live.record.resource.pillar.value, now):
        for sort in ("connected", "declared", "tested", "callable"):
            metrics.capacity_kw.labels(sort=sort, pillar=sums.group).set(getattr(sums, f"{sort}_kw"))
    for status in EventStatus:
        metrics.events.labels(status=status.value).set(sum(each.status is status for each in records))
    metrics.event_ordered_kw.clear()
    metrics.event_delivered_kw.clear()
    for record in records:
        if record.status.runs:
            name, measured = record.event.event_id, measured_kw(record.event.event_id)
            metrics.event_ordered_kw.labels(event=name).set(record.event.target_kw)
            if measured is not None:
                metrics.event_delivered_kw.labels(event=name).set(measured)
