"""Promises to drivers, as they were really kept: every car that left in the span of a day, with and without the event.

A promise is broken where a driver kept to the time that was said on arrival, the car left with less than was needed,
and the same car would have had more without the event.  It is *named* if the audit log had listed it before it left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from models.records import AuditEntry
from simulations.devices.charger import EndedStay

TOLERATED_SHARE, TOLERATED_KWH = 0.02, 0.5
"""Less than so much of what was needed is a meter's error, not a broken promise."""
WAITED_S = 60.0


@dataclass(frozen=True, slots=True)
class BrokenPromise:
    """A car that left with ``delivered_kwh`` of ``needed_kwh``; ``without_kwh``: what it would have had undisturbed."""

    resource_id: str
    session_id: str
    departure: datetime
    needed_kwh: float
    delivered_kwh: float
    without_kwh: float
    named: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return asdict(self) | {"departure": self.departure.isoformat()}


def broken_promises(
    stays: Iterable[EndedStay], without: Iterable[EndedStay], log: Sequence[AuditEntry], start: datetime
) -> list[BrokenPromise]:
    """Promises broken by stays that ended after ``start``; ``without``: the same cars on the day without the event."""
    undisturbed = {(stay.resource_id, stay.visit.session_id): stay.delivered_kwh for stay in without}
    named: dict[tuple[str, str | None], datetime] = {}
    for entry in log:
        if entry.action == "promises at risk":
            for each in entry.details["promises"]:
                named.setdefault((each["resource_id"], each["session_id"]), entry.at)
    found = []
    for stay in stays:
        visit, key = stay.visit, (stay.resource_id, stay.visit.session_id)
        left_in_time = visit.leaves_s >= visit.departure_s - WAITED_S
        if visit.departure_s < start.timestamp() or not left_in_time:
            continue
        tolerated = max(TOLERATED_KWH, TOLERATED_SHARE * visit.needed_kwh)
        could_have = min(visit.needed_kwh, undisturbed.get(key, 0.0))
        if stay.delivered_kwh >= could_have - tolerated:
            continue
        departure = datetime.fromtimestamp(visit.departure_s, UTC)
        told_at = named.get(key)
        found.append(
            BrokenPromise(
                *key,
                departure,
                visit.needed_kwh,
                stay.delivered_kwh,
                undisturbed.get(key, 0.0),
                told_at is not None and told_at < departure,
            )
        )
    return found
