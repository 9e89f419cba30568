"""The book of events: every record, kept in the store step by step, and what the plans must have of them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from adapters.store.store import Store
from models.errors import InputError, InputFault, StoreError
from models.events import Event, EventRecord, NoticeType
from models.intervals import FloatArray, IntervalGrid
from models.life_cycle import EventStatus
from models.ports import Clock
from models.records import StoredEvent
from vpp.ramp import Ramp, guard_of, next_cycle, ordered_kw_on, pieces_of, ramp_after, stair_of, stopped_at

log = structlog.get_logger(__name__)

GUARDED_BEFORE = timedelta(hours=6)
"""So long before an event the city is held under the rebound cap already."""
GUARD_MARGIN = 0.01
"""Share of the cap: by so much a forecast of the city's load errs over an hour or two."""


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
        self._in_doubt: set[str] = set()
        self.found: Callable[[StoredEvent], None] = self.take_up
        """Takes up an event that stands further on in the store than here."""

    # ---- keeping

    def take_up(self, stored: StoredEvent) -> None:
        """Enter an event of an earlier run as it stands in the store."""
        event_id = stored.record.event.event_id
        self._records[event_id] = stored.record
        self._versions[event_id] = stored.version

    async def keep(self, record: EventRecord, also: Callable[[], None] | None = None) -> EventRecord:
        """Save a record, then enter it; ``also`` happens in the same transaction.  ``StoreError`` if it fails."""
        event_id, last = record.event.event_id, record.steps[-1]
        async with self._saving:
            if event_id in self._in_doubt:
                await self._catch_up(event_id)
            known = self._records.get(event_id)
            version = self._versions.get(event_id, 0)
            try:
                saved = await asyncio.to_thread(self._save, record, known, version, also)
            except StoreError:
                if not await self._is_kept_after_all(record, version):
                    raise
                saved = version + 1
            self._versions[event_id], self._records[event_id] = saved, record
        log.info("event", event_id=event_id, status=record.status.value, by=last.by)
        return record

    async def _is_kept_after_all(self, record: EventRecord, version: int) -> bool:
        """A database that goes away in mid-commit may have done it without our hearing so.  Were it not looked up, the
        event would stand further on in the store than here, and no step of it could be kept any more.
        """
        event_id = record.event.event_id
        self._in_doubt.add(event_id)
        try:
            stored = await asyncio.to_thread(self._store.event, event_id)
        except StoreError:
            return False  # it is looked up before the next step
        self._in_doubt.discard(event_id)
        mine = version + 1, record.model_dump_json()
        return stored is not None and (stored.version, stored.record.model_dump_json()) == mine

    async def _catch_up(self, event_id: str) -> None:
        """Take up what was kept after all; the step that is wanted now was thought out without it."""
        stored = await asyncio.to_thread(self._store.event, event_id)
        self._in_doubt.discard(event_id)
        if stored is not None and stored.version != self._versions.get(event_id, 0):
            log.warning("an event stands further on than was known", event_id=event_id, status=stored.record.status)
            self.found(stored)
            raise StoreError(f"event {event_id}: what was tried before is kept after all: look at it again")

    def _save(
        self, record: EventRecord, known: EventRecord | None, version: int, also: Callable[[], None] | None
    ) -> int:
        """Event, a line of the audit log for each new step or change, and what else belongs to it, in one
        transaction.
        """
        now, event_id = self._clock.now(), record.event.event_id
        with self._store.transaction():
            saved = self._store.save_event(record, version)
            for step in record.steps[0 if known is None else len(known.steps) :]:
                details: dict[str, object] = {
                    "before": step.before,
                    "reason": step.reason,
                    "ordered_kw": record.event.target_kw,
                }
                if step.status is EventStatus.DECLARED:
                    details["notice_type"] = record.notice_type.value
                self._store.append_audit(now, step.by, f"event {step.status.value}", event_id, details)
            before = () if known is None else known.changes
            for change in (each for each in record.changes if each not in before):
                details = change.model_dump(mode="json", exclude_none=True)
                waits = change.effective_from is None
                who, what = (change.by, "asked for") if waits else (change.approved_by or change.by, "made")
                self._store.append_audit(now, who, f"event change {what}", event_id, details)
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
        """Events that plans serve: approved, and not over."""
        return [record for record in self._records.values() if record.status.is_planned]

    def windows(self) -> list[Event]:
        """Events around whose windows the service looks more often: active ones, ramps, and those just over."""
        recent = [record.event for record in self._records.values() if record.status.is_over]
        return [*(record.event for record in self.active()), *recent]

    def day_of(self, event: Event) -> date:
        """The market day on which an event begins."""
        return event.start.astimezone(self._zone).date()

    # ---- what plans must have

    def planned(self, now: datetime) -> list[Event]:
        """The events that the optimiser must serve from ``now`` on, ramps of terminated ones among them."""
        active = [record for record in self.active() if record.event.end > now]
        events = [piece for record in active for piece in pieces_of(record, self._cycle) if piece.end > now]
        recovering = [
            piece
            for record in self._records.values()
            if record.status.is_over
            for piece in self._after(record, now)
            if piece.end > now or (piece.rebound_cap_kw is not None and self._day_is_open(record.event, now))
        ]
        return [*events, *recovering, *self._guard(events, now)]

    @staticmethod
    def _guard(events: Sequence[Event], now: datetime) -> list[Event]:
        """(M4) from now on for the next event that has a rebound cap, as if one had just ended.

        Cooling ahead and charging early are good for the event and may not cost the day a new peak before it.  What the
        city draws without them is never too much.
        """
        ahead = [
            event for event in events if event.rebound_cap_kw is not None and now < event.start <= now + GUARDED_BEFORE
        ]
        if not ahead:
            return []
        first = min(ahead, key=lambda event: event.start)
        cap_kw = (first.rebound_cap_kw or 0.0) * (1 - GUARD_MARGIN)
        over = {"start": now - timedelta(minutes=5), "end": now, "target_kw": 0.0, "rebound_cap_kw": cap_kw}
        return [first.model_copy(update={"event_id": guard_of(first.event_id), **over})]

    def of_day(self, day: date, grid: IntervalGrid) -> list[Event]:
        """Events of a market day as its plan must have them: also those that are over, whose energy is spent.

        A terminated one counts until its ramp begins.  What does not lie on the intervals of the day plan (``grid``),
        an emergency or a change, is rounded to them.
        """
        found = []
        for record in self._records.values():
            if self.day_of(record.event) == day and (record.status.is_planned or record.status.is_over):
                held = self.judged(record)
                if _fits(held, grid):
                    found.append(held.event)
                else:
                    found.extend(_rounded(held, ordered_kw_on(held, self._cycle, grid), grid))
        return found

    def judged(self, record: EventRecord) -> EventRecord:
        """The record with the window that is judged: of a terminated event, as long as it was held in full; of an
        emergency, from the first cycle that begins after it was approved (meters read whole cycles).
        """
        event, ramp = record.event, self._ramp(record)
        changes: dict[str, object] = {} if ramp is None else {"end": ramp.held_until}
        end = event.end if ramp is None else ramp.held_until
        approved_at = next((step.at for step in record.steps if step.status is EventStatus.APPROVED), None)
        if record.notice_type is NoticeType.EMERGENCY and approved_at is not None and approved_at > event.start:
            start = next_cycle(approved_at, self._cycle)
            if start < end:
                changes["start"] = start
        return record.model_copy(update={"event": event.model_copy(update=changes)}) if changes else record

    def ordered_kw(self, record: EventRecord, grid: IntervalGrid) -> FloatArray:
        """What an event orders on a grid, with every change of it, (T,); 0 outside its window."""
        return ordered_kw_on(record, self._cycle, grid)

    def is_held_at(self, record: EventRecord) -> datetime:
        """When the order stands where its last change wants it."""
        return stair_of(record, self._cycle)[-1][0]

    def _after(self, record: EventRecord, now: datetime) -> list[Event]:
        ramp = self._ramp(record)
        return [record.event] if ramp is None else ramp.planned(now)

    def _ramp(self, record: EventRecord) -> Ramp | None:
        """How an event that was terminated comes down, None for one that was not."""
        at = stopped_at(record)
        return None if at is None else ramp_after(record, at, self._cycle)

    def _day_is_open(self, event: Event, now: datetime) -> bool:
        """True until the last event of the same day has had its hours of rebound: the problem keeps its shape."""
        same_day = [
            record.event.end
            for record in self._records.values()
            if record.status is not EventStatus.CANCELLED and self.day_of(record.event) == self.day_of(event)
        ]
        return max(same_day) + self._rebound_window > now


def _fits(record: EventRecord, grid: IntervalGrid) -> bool:
    """True if the event has one target throughout and its window lies on the edges of the grid."""
    edges, event = set(grid.edges), record.event
    made = [change for change in record.changes if change.effective_from is not None]
    steady = all(change.effective_from <= event.start for change in made if change.effective_from is not None)
    return steady and all(edge in edges or not grid.start < edge < grid.end for edge in (event.start, event.end))


def _rounded(record: EventRecord, ordered_kw: FloatArray, grid: IntervalGrid) -> list[Event]:
    """The event on whole intervals of the grid, with the mean order of each; equal neighbours are one piece."""
    event = record.event
    pieces: list[Event] = []
    for t in (grid.overlap_h(event.start, event.end) > 0).nonzero()[0].tolist():
        start, end, kw = grid.starts[t], grid.ends[t], round(float(ordered_kw[t]), 3)
        if pieces and pieces[-1].end == start and pieces[-1].target_kw == kw:
            pieces[-1] = pieces[-1].model_copy(update={"end": end})
            continue
        if pieces:
            pieces[-1] = pieces[-1].model_copy(update={"rebound_cap_kw": None})
        name = event.event_id if not pieces else f"{event.event_id}~{len(pieces) + 1}"
        pieces.append(event.model_copy(update={"event_id": name, "start": start, "end": end, "target_kw": kw}))
    return pieces
