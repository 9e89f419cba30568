"""The event desk: an event's life from the operator's wish to its evaluation.

    declare → approve (by a second person) → notify → answers (what is declined goes to the others) → execute
    → end → evaluate;   cancel before it begins, terminate while it runs: always with a safe ramp.

The desk decides who does what and when; the planning itself is the day-ahead and the real-time stage.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.errors import AccessError, DeviceError, InputError, InputFault, VppError
from models.events import (
    Commitment,
    Direction,
    Event,
    EventNotice,
    EventOrder,
    EventRecord,
    EventResponse,
    EventStatus,
    EventStep,
)
from models.intervals import FloatArray, IntervalGrid
from models.ports import Clock, DeviceLink
from models.records import StoredEvent
from vpp.day_ahead import DayAheadStage, DayPlan
from vpp.state import LiveState

log = structlog.get_logger(__name__)

ACTIVE = (EventStatus.APPROVED, EventStatus.NOTIFIED, EventStatus.EXECUTING)
RAMP_STEPS = (0.75, 0.5, 0.25)
"""Shares of the order that a terminated event still holds in the cycles after it was stopped."""


@dataclass(frozen=True, slots=True)
class EventRules:
    """How orders are sized and answered: ``target_fraction`` of the reference peak, margin under what is callable."""

    target_fraction: float
    reference_peak_kw: float | None
    callable_margin_fraction: float
    respond_within: timedelta
    rebound_window: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class EventSizing:
    """An order as an event, the target share of the reference peak, and what can be held throughout, kW."""

    event: Event
    five_percent_kw: float
    callable_kw: float


class EventDesk:
    """Declares, approves, notifies, collects answers, starts, ends, cancels and terminates events."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        link: DeviceLink,
        day_ahead: DayAheadStage,
        zone: ZoneInfo,
        rules: EventRules,
        cycle: timedelta,
    ) -> None:
        self._clock = clock
        self._store = store
        self._state = state
        self._link = link
        self._day_ahead = day_ahead
        self._zone = zone
        self._rules = rules
        self._cycle = cycle
        self._records: dict[str, EventRecord] = {}
        self._versions: dict[str, int] = {}
        self._saving = asyncio.Lock()
        self._respond_by: dict[str, datetime] = {}
        self._ramps: dict[str, list[Event]] = {}
        self._committed_kw: dict[str, dict[str, tuple[IntervalGrid, FloatArray]]] = {}

    def load(self, stored: Iterable[StoredEvent]) -> None:
        """Take up the events of an earlier run: what was going on goes on."""
        for each in stored:
            record = each.record
            self._records[record.event.event_id] = record
            self._versions[record.event.event_id] = each.version
            if record.status is EventStatus.NOTIFIED:
                self._respond_by[record.event.event_id] = self._clock.now()

    # ---- what the operator does

    async def size(self, orders: Sequence[EventOrder]) -> list[EventSizing]:
        """What orders of one market day could count on, together: they share the same resources."""
        now = self._clock.now()
        for index, order in enumerate(orders):
            if order.start <= now:
                fault = InputFault("event", "start", order.start.isoformat(), "must lie in the future", index)
                raise InputError([fault])
        day = orders[0].start.astimezone(self._zone).date()
        if any(order.start.astimezone(self._zone).date() != day for order in orders):
            raise InputError([InputFault("event", "start", str(day), "all must lie on one market day")])
        plan = await self._day_ahead.make(day)
        peak_kw, five_percent_kw = self._reference(plan)
        wanted = [self._event(order, five_percent_kw, peak_kw, now) for order in orders]
        standing = [record.event for record in self.active() if self._day_of(record.event) == day]
        callable_kw = await self._day_ahead.callable_kw(day, wanted, standing)
        return [EventSizing(event, five_percent_kw, callable_kw[event.event_id]) for event in wanted]

    async def declare(self, orders: Sequence[EventOrder], by: str) -> list[EventRecord]:
        """Size and declare one or more events of one market day."""
        now = self._clock.now()
        records = []
        for order, sized in zip(orders, await self.size(orders), strict=True):
            firm_kw = sized.callable_kw * (1 - self._rules.callable_margin_fraction)
            asked_kw = order.ordered_kw
            ordered_kw = asked_kw if asked_kw is not None else min(sized.five_percent_kw, firm_kw)
            record = EventRecord(
                event=sized.event.model_copy(update={"target_kw": round(ordered_kw, 3)}),
                status=EventStatus.DECLARED,
                steps=(EventStep(status=EventStatus.DECLARED, at=now, by=by, reason=order.reason),),
                five_percent_kw=sized.five_percent_kw,
                callable_kw=firm_kw,
            )
            records.append(await self._keep(record))
        return records

    async def approve(self, event_ids: Sequence[str], by: str) -> list[EventRecord]:
        """Approve events (never by who declared them), pin their baseline, plan the day with them and notify."""
        records = [self._get(event_id) for event_id in event_ids]
        for record in records:
            if by == record.steps[0].by:
                raise AccessError(f"event {record.event.event_id} was declared by {by}: a second person must approve")
        now = self._clock.now()
        day = records[0].event.start.astimezone(self._zone).date()
        table_hash = (await self._day_ahead.make(day)).baseline.baseline_hash
        for record in records:
            event = record.event.model_copy(update={"issued_at": now})
            pinned = record.model_copy(update={"event": event, "baseline_hash": table_hash})
            await self._keep(pinned.stepped(EventStatus.APPROVED, now, by))
        plan = await self._day_ahead.replan(day, [record.event for record in self.active()])
        for event_id in event_ids:
            await self._notify(self._get(event_id), plan)
        return [self._get(event_id) for event_id in event_ids]

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Take back an event that has not begun; what was prepared for it is planned anew from the next cycle on."""
        record = self._get(event_id)
        stopped = record.stepped(EventStatus.CANCELLED, self._clock.now(), by, reason)
        await self._keep(stopped)
        await self._tell_all(stopped, "cancelled", reason)
        if self._day_of(stopped.event) in self._day_ahead.days:
            await self._replan_quietly(stopped.event)
        return stopped

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop an event that runs: the order falls in steps, one a cycle, so that not everybody returns at once."""
        record = self._get(event_id)
        now = self._clock.now()
        stopped = record.stepped(EventStatus.TERMINATED, now, by, reason)
        await self._keep(stopped)
        start = self._next_cycle(now)
        ramp = []
        for number, share in enumerate(RAMP_STEPS, start=1):
            end = min(start + self._cycle, record.event.end)
            if end > start:
                ramp.append(
                    record.event.model_copy(
                        update={
                            "event_id": f"{event_id}~ramp{number}",
                            "start": start,
                            "end": end,
                            "target_kw": record.event.target_kw * share,
                        }
                    )
                )
            start = end
        self._ramps[event_id] = ramp
        await self._tell_all(stopped, "terminated", reason)
        return stopped

    # ---- what the aggregators answer

    async def respond(self, aggregator_id: str, response: EventResponse) -> None:
        """Take an answer; ``InputError`` if the event is not open to answers or was not offered to the sender."""
        record = self._records.get(response.event_id)
        place = f"event-response of {aggregator_id}"
        if record is None or aggregator_id not in record.share_kw:
            rule = "must name an event that was offered to you"
            raise InputError([InputFault(place, "event_id", response.event_id, rule)])
        if record.status is not EventStatus.NOTIFIED and not (
            record.status is EventStatus.EXECUTING and response.opted_out_resource_ids
        ):
            rule = "the event no longer takes answers"
            raise InputError([InputFault(place, "event_id", response.event_id, rule)])
        for name in response.opted_out_resource_ids:
            live = self._state.get(name)
            if live is None or live.record.resource.aggregator_id != aggregator_id:
                raise InputError([InputFault(place, "opted_out_resource_ids", name, "must be a resource of yours")])
            live.opted_out_of.add(response.event_id)
        offered = record.share_kw[aggregator_id]
        accepted = {
            "accept": offered,
            "accept_part": min(offered, response.accepted_kw or 0.0),
            "decline": 0.0,
        }[response.answer]
        opted_out = tuple(sorted({*record.opted_out_resource_ids, *response.opted_out_resource_ids}))
        answered = {**record.accepted_kw, aggregator_id: accepted}
        await self._keep(record.model_copy(update={"accepted_kw": answered, "opted_out_resource_ids": opted_out}))

    async def settle_answers(self, event_id: str) -> None:
        """Once all have answered or the time is up: what was declined is offered to the others, then commitments stand.

        Who has not answered counts as not taking part.
        """
        record = self._get(event_id)
        day = self._day_ahead.days[self._day_of(record.event)]
        shapes = self.contributions(day, record.event)
        taken = {name: record.accepted_kw.get(name) or 0.0 for name in record.share_kw}
        missing = sum(record.share_kw.values()) - sum(taken.values())
        if missing > 0.005 * record.event.target_kw:
            short = [name for name in taken if taken[name] < 0.999 * record.share_kw[name]]
            self._committed_kw[event_id] = {
                name: (day.plan.grid, shapes[name] * taken[name] / record.share_kw[name]) for name in short
            }
            events = self._events_of(day.market_day)
            day = await self._day_ahead.replan(day.market_day, events, self.commitments(day.plan.grid))
            shapes = self.contributions(day, record.event)
            for name, share in self.shares(day, record.event).items():
                if name in taken and name not in short and share > taken[name]:
                    taken[name] = share
                    await self._tell(name, self._notice(record.event, "changed", share, None, "others have declined"))
            update = {"share_kw": {**record.share_kw, **taken}, "accepted_kw": dict(taken)}
            await self._keep(record.model_copy(update=update))
        planned = self.shares(day, record.event)
        self._committed_kw[event_id] = {
            name: (day.plan.grid, shapes[name] * kw / planned[name]) for name, kw in taken.items() if name in planned
        }

    # ---- what the clock does

    async def tick(self, now: datetime) -> list[EventRecord]:
        """Take every step that is due; returns the records that changed."""
        changed = []
        for record in list(self._records.values()):
            event = record.event
            if record.status is EventStatus.NOTIFIED:
                respond_by = self._respond_by.get(event.event_id)
                if respond_by is not None and (now >= respond_by or self._all_answered(record)):
                    self._respond_by.pop(event.event_id)
                    await self.settle_answers(event.event_id)
                    record = self._get(event.event_id)  # noqa: PLW2901 (settling changed it)
                if now >= event.start:
                    changed.append(await self._advance(record, EventStatus.EXECUTING))
            elif record.status is EventStatus.APPROVED and now >= event.start:
                changed.append(
                    await self._advance(await self._advance(record, EventStatus.NOTIFIED), EventStatus.EXECUTING)
                )
            elif record.status is EventStatus.EXECUTING and now >= event.end:
                ended = await self._advance(record, EventStatus.ENDED)
                await self._tell_all(ended, "ended", "")
                changed.append(ended)
            elif record.status is EventStatus.DECLARED and now >= event.start:
                lapsed = record.stepped(EventStatus.CANCELLED, now, "service", "not approved before its start")
                await self._keep(lapsed)
                changed.append(lapsed)
        return changed

    def next_due(self, now: datetime) -> datetime | None:
        """When the next step of any event is due."""
        moments: list[datetime] = []
        for record in self._records.values():
            if record.status in (EventStatus.DECLARED, EventStatus.APPROVED, EventStatus.NOTIFIED):
                moments.append(record.event.start)
            if record.status is EventStatus.EXECUTING:
                moments.append(record.event.end)
        moments.extend(self._respond_by.values())
        return min((moment for moment in moments if moment > now), default=None)

    async def evaluated(self, event_id: str, evaluation: Mapping[str, object]) -> EventRecord:
        """Close an event with what was measured."""
        record = self._get(event_id).model_copy(update={"evaluation": dict(evaluation)})
        return await self._keep(record.stepped(EventStatus.EVALUATED, self._clock.now(), "service"))

    # ---- what the planning stages ask

    def active(self) -> list[EventRecord]:
        """Approved, notified or executing events."""
        return [record for record in self._records.values() if record.status in ACTIVE]

    def windows(self) -> list[Event]:
        """Events around whose windows the service looks more often: active ones, ramps, and those just over."""
        over = (EventStatus.ENDED, EventStatus.TERMINATED, EventStatus.EVALUATED)
        recent = [record.event for record in self._records.values() if record.status in over]
        return [*(record.event for record in self.active()), *recent]

    def records(self) -> list[EventRecord]:
        """All events known."""
        return list(self._records.values())

    def get(self, event_id: str) -> EventRecord:
        """One event; ``InputError`` if there is none of that name."""
        return self._get(event_id)

    def planned(self, now: datetime) -> list[Event]:
        """The events that the optimiser must serve from ``now`` on, ramps of terminated ones among them."""
        events = [record.event for record in self.active() if record.event.end > now]
        ramps = [step for steps in self._ramps.values() for step in steps if step.end > now]
        recovering = [
            record.event
            for record in self._records.values()
            if record.status in (EventStatus.ENDED, EventStatus.EVALUATED)
            and record.event.rebound_cap_kw is not None
            and self._day_is_open(record.event, now)
        ]
        return [*events, *ramps, *recovering]

    def commitments(self, grid: IntervalGrid) -> list[Commitment]:
        """Commitments of all active events on ``grid``: what was accepted, in the shape it was planned in."""
        rows: list[Commitment] = []
        for record in self.active():
            event = record.event
            inside = grid.inside(event.start, event.end)
            for aggregator_id, (day_grid, kw) in self._committed_kw.get(event.event_id, {}).items():
                values = grid.mean_from(day_grid, kw)
                rows.extend(
                    Commitment(
                        event_id=event.event_id,
                        aggregator_id=aggregator_id,
                        interval_start=grid.starts[t],
                        accepted_kw=max(0.0, float(values[t])),
                    )
                    for t in np.flatnonzero(inside)
                    if not np.isnan(values[t])
                )
        return rows

    @staticmethod
    def contributions(day: DayPlan, event: Event) -> dict[str, FloatArray]:
        """Expected contribution of every aggregator to an event in a plan, (T,) kW, zero outside the window."""
        inside = day.plan.grid.inside(event.start, event.end)
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        found: dict[str, FloatArray] = {}
        for name in day.problem.in_scope(event):
            row, what = day.plan.row_of[name], day.problem.attributes[name]
            moved = sign * what.reliability_fraction * (day.plan.baseline_kw[row] - day.plan.power_kw[row])
            found[what.aggregator_id] = found.get(what.aggregator_id, np.zeros(len(inside))) + moved * inside
        return found

    @classmethod
    def shares(cls, day: DayPlan, event: Event) -> dict[str, float]:
        """Mean of the contributions over the window, kW, of those who contribute at all."""
        grid = day.plan.grid
        window_h = float(grid.hours[grid.inside(event.start, event.end)].sum())
        means = {name: float(values @ grid.hours) / window_h for name, values in cls.contributions(day, event).items()}
        return {name: round(value, 3) for name, value in sorted(means.items()) if value > 0.05}

    # ---- pieces

    def _event(self, order: EventOrder, five_percent_kw: float, peak_kw: float, now: datetime) -> Event:
        event_id = order.event_id or f"{order.start.astimezone(self._zone):%Y%m%d-%H%M}-{order.scope_kind.value}"
        if event_id in self._records:
            raise InputError([InputFault("event", "event_id", event_id, "is already taken")])
        asked_kw = order.ordered_kw if order.ordered_kw is not None else five_percent_kw
        margin = 1 - self._rules.callable_margin_fraction
        return Event(
            event_id=event_id,
            direction=order.direction,
            scope_kind=order.scope_kind,
            scope_id=order.scope_id,
            start=order.start,
            end=order.end,
            target_kw=asked_kw / margin,
            issued_at=now,
            rebound_cap_kw=peak_kw if order.direction is Direction.SHAVE else None,
        )

    def _reference(self, day: DayPlan) -> tuple[float, float]:
        """Undispatched forecast peak of the market day, and the target share of the reference peak, kW."""
        inputs = self._day_ahead.inputs[day.market_day]
        in_day = [start.astimezone(self._zone).date() == day.market_day for start in inputs.grid.starts]
        peak_kw = float(inputs.city.load_kw.sum(axis=0)[in_day].max())
        return peak_kw, self._rules.target_fraction * (self._rules.reference_peak_kw or peak_kw)

    async def _notify(self, record: EventRecord, day: DayPlan) -> None:
        now = self._clock.now()
        shares = self.shares(day, record.event)
        respond_by = min(now + self._rules.respond_within, record.event.start)
        notified = record.model_copy(update={"share_kw": shares, "accepted_kw": dict.fromkeys(shares)}).stepped(
            EventStatus.NOTIFIED, now, "service"
        )
        await self._keep(notified)
        self._respond_by[record.event.event_id] = respond_by
        for aggregator_id, share in shares.items():
            await self._tell(aggregator_id, self._notice(record.event, "notified", share, respond_by, ""))

    async def _advance(self, record: EventRecord, wanted: EventStatus) -> EventRecord:
        return await self._keep(record.stepped(wanted, self._clock.now(), "service"))

    async def _keep(self, record: EventRecord) -> EventRecord:
        event_id, last = record.event.event_id, record.steps[-1]
        known = self._records.get(event_id)
        async with self._saving:
            version = self._versions.get(event_id, 0)
            self._versions[event_id] = await asyncio.to_thread(self._save, record, known, version)
        self._records[event_id] = record
        log.info("event", event_id=event_id, status=record.status.value, by=last.by)
        return record

    def _save(self, record: EventRecord, known: EventRecord | None, version: int) -> int:
        """Event and audit line in one transaction."""
        last = record.steps[-1]
        with self._store.transaction():
            saved = self._store.save_event(record, version)
            if known is None or known.status is not record.status:
                details = {"reason": last.reason, "ordered_kw": record.event.target_kw}
                self._store.append_audit(
                    self._clock.now(), last.by, f"event {record.status.value}", record.event.event_id, details
                )
        return saved

    async def _tell_all(self, record: EventRecord, status: str, reason: str) -> None:
        for aggregator_id, share in record.share_kw.items():
            await self._tell(aggregator_id, self._notice(record.event, status, share, None, reason))

    async def _tell(self, aggregator_id: str, notice: EventNotice) -> None:
        try:
            await self._link.send_event(aggregator_id, notice)
        except (VppError, DeviceError) as error:
            log.error("event notice not sent", aggregator_id=aggregator_id, error=str(error))

    @staticmethod
    def _notice(event: Event, status: str, share_kw: float, respond_by: datetime | None, reason: str) -> EventNotice:
        return EventNotice.model_validate(
            {
                "event_id": event.event_id,
                "status": status,
                "direction": event.direction,
                "start": event.start,
                "end": event.end,
                "share_kw": share_kw,
                "respond_by": respond_by,
                "reason": reason,
            }
        )

    def _day_is_open(self, event: Event, now: datetime) -> bool:
        """True until the last event of the same day has had its hours of rebound: the problem keeps its shape."""
        same_day = [
            record.event.end
            for record in self._records.values()
            if record.status is not EventStatus.CANCELLED and self._day_of(record.event) == self._day_of(event)
        ]
        return max(same_day) + self._rules.rebound_window > now

    def _events_of(self, day: date) -> list[Event]:
        return [record.event for record in self.active() if self._day_of(record.event) == day]

    async def _replan_quietly(self, event: Event) -> None:
        day = self._day_of(event)
        try:
            await self._day_ahead.replan(day, self._events_of(day), self.commitments(self._day_ahead.grid_of(day)))
        except VppError as error:
            log.error("day not planned anew", error=str(error))

    def _all_answered(self, record: EventRecord) -> bool:
        return all(value is not None for value in record.accepted_kw.values())

    def _day_of(self, event: Event) -> date:
        return event.start.astimezone(self._zone).date()

    def _next_cycle(self, now: datetime) -> datetime:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + self._cycle * (-(-(now - midnight) // self._cycle))

    def _get(self, event_id: str) -> EventRecord:
        record = self._records.get(event_id)
        if record is None:
            raise InputError([InputFault("event", "event_id", event_id, "names no event")])
        return record
