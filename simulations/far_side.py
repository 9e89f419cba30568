"""What the far side knows of a day: what devices said and were told, beside what the platform kept of it.

Gateways write down what goes through them (``simulations.wire.record``).  Afterwards no reading may be missing or be
there twice, no device may have carried out an order twice, too late, or an older one in the place of a newer, and the
audit trail must be whole (``simulations.audit_trail``).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from adapters.store import Store
from simulations.audit_trail import Trail, broken_trail
from simulations.wire.gateway import AggregatorGateway
from simulations.wire.record import GatewayRecord, Told

UNDER_WAY = timedelta(minutes=10)
"""A reading of the last minutes may still be on its way."""
MADE_BEFORE, BACK_WITHIN = timedelta(minutes=1), timedelta(minutes=10)
"""What was made so shortly before broker or service went, or so shortly after they were back, may never have left."""
_CLOCKS_AHEAD = timedelta(hours=1)
_READING = ["resource_id", "measured_at", "power_kw", "sequence"]
_COUNTS = (
    *(f"{fate}_{what}" for fate in ("lost", "held", "doubled") for what in ("batches", "ups")),
    "lost_acks",
    "lost_receipts",
    "crossings",
    "duplicates",
    "out_of_order",
    "expired",
)
Hit = Literal["broker", "service", "delivery"]
"""What a kill has hit: the broker, the service, or the service in the midst of a delivery."""


class Watch:
    """Looks at gateways from now on; ``away``: when broker or service were killed and not yet back."""

    def __init__(self, gateways: Mapping[str, AggregatorGateway], since: datetime) -> None:
        self._gateways, self.since = gateways, since
        self.records = {name: gateway.keep_record() for name, gateway in gateways.items()}
        self.away: list[tuple[datetime, datetime]] = []
        self._hits: Counter[Hit] = Counter()

    def was_away(self, hit: Hit, start: datetime, end: datetime) -> None:
        """Broker or service were killed at ``start`` and back by ``end``: what was made then may not have left."""
        self.away.append((start - MADE_BEFORE, end + BACK_WITHIN))
        self._hits[hit] += 1

    def counts(self) -> dict[str, int]:
        """What happened to messages on the wire, of all gateways, and how often broker and service were killed."""
        total: Counter[str] = sum((gateway.state.counts for gateway in self._gateways.values()), Counter())
        kills = {
            "broker_kills": self._hits["broker"],
            "service_kills": self._hits["service"] + self._hits["delivery"],
            "kills_in_delivery": self._hits["delivery"],
        }
        return {name: total[name] for name in _COUNTS} | kills

    def broken(self, store: Store, until: datetime) -> tuple[str, ...]:
        """What must never happen and did, until then, by the platform's database and the far side's record."""
        said = said_readings(self.records.values(), until - UNDER_WAY)
        kept = store.readings(None, self.since + timedelta(microseconds=1), until + _CLOCKS_AHEAD)
        found = list(broken_readings(said, kept))
        for name, record in sorted(self.records.items()):
            found += [f"orders: {name}: {each}" for each in broken_orders(record.told)]
        trail = Trail.of(store, self.since)
        return (*found, *broken_trail(trail, self.records, self.away, until - UNDER_WAY))


def said_readings(records: Iterable[GatewayRecord], due_until: datetime) -> pd.DataFrame:
    """Every reading that was said: ``resource_id, measured_at, power_kw, sequence``, and ``is_due``.

    ``is_due``: the platform must have it: said by then, and not by a clock that is ahead, which may be refused.
    """
    rows = []
    for record in records:
        for at, texts in record.said:
            for text in texts:
                reading = json.loads(text)
                measured_at = datetime.fromisoformat(reading["measured_at"])
                due = at <= due_until and measured_at <= at
                rows.append((reading["resource_id"], measured_at, reading["power_kw"], reading["sequence"], due))
    frame = pd.DataFrame(rows, columns=[*_READING, "is_due"])
    return frame.assign(
        measured_at=pd.to_datetime(frame["measured_at"], utc=True).astype("datetime64[us, UTC]"),
        sequence=frame["sequence"].astype("int64"),
        is_due=frame["is_due"].astype(bool),
    )


def broken_readings(said: pd.DataFrame, kept: pd.DataFrame) -> tuple[str, ...]:
    """Readings that are missing, there twice, not as they were said, or never said at all.

    ``said``: as of ``said_readings``; ``kept``: the platform's of the same time, with the columns of a reading.  A
    reading is one by its device and the number that the device gave it, and by its device and its time.
    """
    found = []
    twice = kept.duplicated(["resource_id", "sequence"]) | kept.duplicated(["resource_id", "measured_at"])
    if twice.any():
        found.append(f"readings: {_named(kept[twice])} stored twice")
    key = ["resource_id", "sequence"]
    both = said.merge(kept[_READING], how="outer", on=key, suffixes=("", "_kept"), indicator=True)
    lost = both[(both["_merge"] == "left_only") & (both["is_due"] == True)]  # noqa: E712 - NaN where nobody said it
    if len(lost):
        found.append(f"readings: {_named(lost)} lost")
    strange = both[both["_merge"] == "right_only"].assign(measured_at=lambda frame: frame["measured_at_kept"])
    if len(strange):
        found.append(f"readings: {_named(strange)} never said")
    same = both[both["_merge"] == "both"]
    other = same[(same["power_kw"] != same["power_kw_kept"]) | (same["measured_at"] != same["measured_at_kept"])]
    if len(other):
        found.append(f"readings: {_named(other)} not as they were said")
    return tuple(found)


def _named(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{len(rows)} (first {first['resource_id']} at {first['measured_at']:%H:%M:%S})"


def broken_sequences(sent: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Numbers of commands, by aggregator, that were used twice or left out."""
    found = []
    if len(sent) != len(set(sent)):
        found.append("commands: a sequence number was used twice")
    for aggregator_id in sorted({name for name, _ in sent}):
        numbers = sorted(number for name, number in sent if name == aggregator_id)
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"commands: {aggregator_id} has gaps in its sequence")
    return tuple(found)


def broken_orders(told: Sequence[Told]) -> tuple[str, ...]:
    """Orders, in the order in which the devices of one gateway took them, that should not have been taken."""
    found = []
    taken: set[tuple[str, str]] = set()
    in_force: dict[str, list[Told]] = {}
    for each in told:
        name = f"sequence {each.sequence} at {each.resource_id}"
        if (each.command_id, each.resource_id) in taken:
            found.append(f"{name} carried out twice")
        taken.add((each.command_id, each.resource_id))
        if each.at >= each.valid_until:
            found.append(f"{name} carried out after its time")
        before = [other for other in in_force.get(each.resource_id, []) if other.valid_until > each.at]
        replaced = [other.sequence for other in before if other.sequence > each.sequence and _overlap(each, other)]
        if replaced:
            found.append(f"{name} in the place of {max(replaced)}")
        in_force[each.resource_id] = [*before, each]
    return tuple(found)


def _overlap(late: Told, newer: Told) -> bool:
    return max(late.at, late.valid_from, newer.valid_from) < min(late.valid_until, newer.valid_until)
