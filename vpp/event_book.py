"""The book of events: every record, kept in the store step by step, and what the plans must have of them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from adapters.store.store import Store
from models.errors import InputError, InputFault
from models.events import Event, EventRecord, EventStatus
from models.intervals import IntervalGrid
from models.ports import Clock
from models.records import StoredEvent
from vpp.ramp import Ramp, ramp_after

log = structlog.get_logger(__name__)

ACTIVE = (EventStatus.APPROVED, EventStatus.NOTIFIED, EventStatus.EXECUTING)
GUARDED_BEFORE = timedelta(hours=6)
"""So long before an event the city is held under the rebound cap already."""

OVER = (EventStatus.ENDED, EventStatus.TERMINATED, EventStatus.EVALUATED)


class EventBook:
    """All events known, in the order in which they became known.

    ``cycle``: the steps of a ramp; ``rebound_window``: so long after an event what comes back is capped.
    """

    def __init__(
        self, *, clock: Clock, store: Store, zone: ZoneInfo, cycle: timedelta, rebound_window: timedelta
    ) -> None:
        self._clock = clock
        self._store = store
        self._zone = zone
        self._cycle = cycle
        self._rebound_window = rebound_window
        self._records: dict[str, EventRecord] = {}
        self._versions: dict[str, int] = {}
        self._saving = asyncio.Lock()

    # ---- keeping

    def take_up(self, stored: StoredEvent) -> None:
        """Enter an event of an earlier run as it stands in the store."""
        event_id = stored.record.event.event_id
        self._records[event_id] = stored.record
        self._versions[event_id] = stored.version

    async def keep(self, record: EventRecord, also: Callable[[], None] | None = None) -> EventRecord:
        """Save a record, then enter it; ``also`` happens in the same transaction.  ``StoreError`` if it fails."""
        event_id, last = record.event.event_id, record.steps[-1]
        known = self._records.get(event_id)
        async with self._saving:
            version = self._versions.get(event_id, 0)
            self._versions[event_id] = await asyncio.to_thread(self._save, record, known, version, also)
        self._records[event_id] = record
        log.info("event", event_id=event_id, status=record.status.value, by=last.by)
        return record

    def _save(
        self, record: EventRecord, known: EventRecord | None, version: int, also: Callable[[], None] | None
    ) -> int:
        """Event, audit line and whatever else belongs to the step, in one transaction."""
        last = record.steps[-1]
        with self._store.transaction():
            saved = self._store.save_event(record, version)
            if known is None or known.status is not record.status:
                details = {"reason": last.reason, "ordered_kw": record.event.target_kw}
                self._store.append_audit(
                    self._clock.now(), last.by, f"event {record.status.value}", record.event.event_id, details
                )
            if also is not None:
                also()
        return saved

    # ---- looking up

    def records(self) -> list[EventRecord]:
        """All events known."""
        return list(self._records.values())

    def find(self, event_id: str) -> EventRecord | None:
        """One event, None if there is none of that name."""
        return self._records.get(event_id)

    def get(self, event_id: str) -> EventRecord:
        """One event; ``InputError`` if there is none of that name."""
        record = self._records.get(event_id)
        if record is None:
            raise InputError([InputFault("event", "event_id", event_id, "names no event")])
        return record

    def is_taken(self, event_id: str) -> bool:
        """True if an event of that name is known here or stands in the store."""
        return event_id in self._records or self._store.event(event_id) is not None

    def active(self) -> list[EventRecord]:
        """Approved, notified or executing events."""
        return [record for record in self._records.values() if record.status in ACTIVE]

    def windows(self) -> list[Event]:
        """Events around whose windows the service looks more often: active ones, ramps, and those just over."""
        recent = [record.event for record in self._records.values() if record.status in OVER]
        return [*(record.event for record in self.active()), *recent]

    def day_of(self, event: Event) -> date:
        """The market day on which an event begins."""
        return event.start.astimezone(self._zone).date()

    # ---- what plans must have

    def planned(self, now: datetime) -> list[Event]:
        """The events that the optimiser must serve from ``now`` on, ramps of terminated ones among them."""
        events = [record.event for record in self.active() if record.event.end > now]
        recovering = [
            piece
            for record in self._records.values()
            if record.status in OVER
            for piece in self._after(record, now)
            if piece.end > now or (piece.rebound_cap_kw is not None and self._day_is_open(record.event, now))
        ]
        return [*events, *recovering, *self._guard(events, now)]

    @staticmethod
    def _guard(events: Sequence[Event], now: datetime) -> list[Event]:
        """(M4) from now on for the next event that has a rebound cap, as if one had just ended.

        Cooling ahead and charging early are good for the event and may not cost the day a new peak before it.
        """
        ahead = [
            event for event in events if event.rebound_cap_kw is not None and now < event.start <= now + GUARDED_BEFORE
        ]
        if not ahead:
            return []
        first = min(ahead, key=lambda event: event.start)
        over = {"start": now - timedelta(minutes=5), "end": now, "target_kw": 0.0}
        return [first.model_copy(update={"event_id": f"{first.event_id}~guard", **over})]

    def of_day(self, day: date, grid: IntervalGrid) -> list[Event]:
        """Events of a market day as its plan must have them: also those that are over, whose energy is spent.

        A terminated one counts until its ramp begins, rounded up to the intervals of the day plan (``grid``).
        """
        records = [record for record in self._records.values() if self.day_of(record.event) == day]
        found = [record.event for record in records if record.status in ACTIVE]
        for record in records:
            if record.status in OVER:
                held = self.judged(record).event
                end = next((edge for edge in grid.edges if edge >= held.end), held.end)
                found.append(held.model_copy(update={"end": end}))
        return found

    def judged(self, record: EventRecord) -> EventRecord:
        """The record with the window that is judged: of a terminated event, as long as it was held in full."""
        ramp = self._ramp(record)
        return record if ramp is None else record.model_copy(update={"event": ramp.held})

    def _after(self, record: EventRecord, now: datetime) -> list[Event]:
        ramp = self._ramp(record)
        return [record.event] if ramp is None else ramp.planned(now)

    def _ramp(self, record: EventRecord) -> Ramp | None:
        """How an event that was terminated comes down, None for one that was not."""
        stopped = [step.at for step in record.steps if step.status is EventStatus.TERMINATED]
        return ramp_after(record.event, stopped[0], self._cycle) if stopped else None

    def _day_is_open(self, event: Event, now: datetime) -> bool:
        """True until the last event of the same day has had its hours of rebound: the problem keeps its shape."""
        same_day = [
            record.event.end
            for record in self._records.values()
            if record.status is not EventStatus.CANCELLED and self.day_of(record.event) == self.day_of(event)
        ]
        return max(same_day) + self._rebound_window > now
