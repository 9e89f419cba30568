"""The event desk: an event's life from the operator's wish to its evaluation.

    declare → approve (by a second person) → notify → answers (what is declined goes to the others) → execute
    → end → evaluate;   cancel before it begins, terminate while it runs: always with a safe ramp.

The desk decides who does what and when; the planning itself is the day-ahead and the real-time stage.
"""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    ScopeKind,
)
from models.intervals import FloatArray, IntervalGrid
from models.ports import Clock, DeviceLink
from models.records import StoredEvent
from vpp.day_ahead import DayAheadStage, DayPlan
from vpp.ramp import Ramp, ramp_after
from vpp.state import LiveState

log = structlog.get_logger(__name__)

_SAME_KW = 1e-3
"""Answers and shares that differ by less are the same (they travel rounded to a watt)."""
ACTIVE = (EventStatus.APPROVED, EventStatus.NOTIFIED, EventStatus.EXECUTING)
LOADED_BACK = timedelta(days=2)
"""After a restart events are taken up again whose window ended so long ago: their rebound is over by then."""


@dataclass(frozen=True, slots=True)
class EventRules:
    """How orders are sized and answered: ``target_fraction`` of the reference peak, margin under what is callable."""

    target_fraction: float
    reference_peak_kw: float | None
    callable_margin_fraction: float
    respond_within: timedelta
    rebound_window: timedelta = timedelta(hours=6)
    rebound_margin_fraction: float = 0.015


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
        self._committed_kw: dict[str, dict[str, tuple[IntervalGrid, FloatArray]]] = {}

    def load(self, stored: Iterable[StoredEvent]) -> None:
        """Take up the events of an earlier run: what was going on goes on (day plans must be there already)."""
        for each in stored:
            record, event = each.record, each.record.event
            self._records[event.event_id] = record
            self._versions[event.event_id] = each.version
            for name in record.opted_out_resource_ids:
                live = self._state.get(name)
                if live is not None:
                    live.opted_out_of.add(event.event_id)
            if record.status is EventStatus.NOTIFIED:
                notified_at = next(step.at for step in record.steps if step.status is EventStatus.NOTIFIED)
                self._respond_by[event.event_id] = self._deadline(event, notified_at)
            elif record.status is EventStatus.EXECUTING and self._day_of(event) in self._day_ahead.days:
                self._commit(record, self._day_ahead.days[self._day_of(event)])

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
        wanted: list[Event] = []
        for order in orders:
            taken = {event.event_id for event in wanted}
            wanted.append(self._event(order, five_percent_kw, peak_kw, now, taken))
        standing = self._events_of(day)
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
        approved = [record.stepped(EventStatus.APPROVED, now, by) for record in records]
        days = {self._day_of(record.event) for record in records}
        if len(days) != 1:
            rule = "all must lie on one market day"
            raise InputError([InputFault("event", "event_ids", ", ".join(event_ids), rule)])
        (day,) = days
        table_hash = (await self._day_ahead.make(day)).baseline.baseline_hash
        for record in approved:
            event = record.event.model_copy(update={"issued_at": now})
            await self._keep(record.model_copy(update={"event": event, "baseline_hash": table_hash}))
        try:
            await self._plan_and_notify(day)
        except VppError as error:  # it is approved all the same: ``tick`` tries again
            log.error("approved events are not planned yet", event_ids=list(event_ids), error=str(error))
        return [self._get(event_id) for event_id in event_ids]

    async def _plan_and_notify(self, day: date) -> None:
        """Plan a market day with all its active events, and tell the aggregators of those newly approved."""
        plan = await self._day_ahead.replan(day, self._events_of(day), self.commitments(self._day_ahead.grid_of(day)))
        for record in self.active():
            if record.status is EventStatus.APPROVED and self._day_of(record.event) == day:
                await self._notify(record, plan)

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Take back an event that has not begun; what was prepared for it is planned anew from the next cycle on."""
        record = self._get(event_id)
        stopped = record.stepped(EventStatus.CANCELLED, self._clock.now(), by, reason)
        await self._keep(stopped)
        self._respond_by.pop(event_id, None)
        self._committed_kw.pop(event_id, None)
        await self._tell_all(stopped, "cancelled", reason)
        if self._day_of(stopped.event) in self._day_ahead.days:
            await self._replan_quietly(stopped.event)
        return stopped

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop an event that runs: the order falls in steps, one a cycle, so that not everybody returns at once."""
        stopped = self._get(event_id).stepped(EventStatus.TERMINATED, self._clock.now(), by, reason)
        await self._keep(stopped)
        await self._tell_all(stopped, "terminated", reason)
        if self._day_of(stopped.event) in self._day_ahead.days:
            await self._replan_quietly(stopped.event)
        return stopped

    # ---- what the aggregators answer

    async def respond(
        self, aggregator_id: str, response: EventResponse, also: Callable[[], None] | None = None
    ) -> None:
        """Take an answer; ``InputError`` if the event is not open to answers or was not offered to the sender.

        While an event runs only opt-outs are taken.  ``also`` happens in the transaction that keeps the answer.
        """
        place = f"event-response of {aggregator_id}"
        record = self._open_to(aggregator_id, response, place)
        for name in response.opted_out_resource_ids:
            live = self._state.get(name)
            if live is None or live.record.resource.aggregator_id != aggregator_id:
                raise InputError([InputFault(place, "opted_out_resource_ids", name, "must be a resource of yours")])
        opted_out = tuple(sorted({*record.opted_out_resource_ids, *response.opted_out_resource_ids}))
        changes: dict[str, object] = {"opted_out_resource_ids": opted_out}
        if record.status is EventStatus.NOTIFIED:
            offered = record.share_kw[aggregator_id]
            accepted = {
                "accept": offered,
                "accept_part": min(offered, response.accepted_kw or 0.0),
                "decline": 0.0,
            }[response.answer]
            changes["accepted_kw"] = {**record.accepted_kw, aggregator_id: accepted}
            before = record.accepted_kw.get(aggregator_id)
            if before is not None and abs(before - accepted) > _SAME_KW:
                self._respond_by.setdefault(response.event_id, self._clock.now())  # settled before: once more
        await self._keep(record.model_copy(update=changes), also)
        for name in response.opted_out_resource_ids:
            live = self._state.get(name)
            if live is not None:
                live.opted_out_of.add(response.event_id)

    def _open_to(self, aggregator_id: str, response: EventResponse, place: str) -> EventRecord:
        record = self._records.get(response.event_id)
        if record is None or aggregator_id not in record.share_kw:
            rule = "must name an event that was offered to you"
            raise InputError([InputFault(place, "event_id", response.event_id, rule)])
        running = record.status is EventStatus.EXECUTING and bool(response.opted_out_resource_ids)
        if record.status is not EventStatus.NOTIFIED and not running:
            rule = "the event no longer takes answers"
            raise InputError([InputFault(place, "event_id", response.event_id, rule)])
        return record

    async def settle_answers(self, event_id: str) -> None:
        """Once all have answered or the time is up: what was declined is offered to the others, then commitments stand.

        Who has not answered counts as not taking part.  Doing it again changes nothing.
        """
        record = self._get(event_id)
        day = await self._day_ahead.make(self._day_of(record.event))
        shapes = self.contributions(day, record.event)
        taken = {name: record.accepted_kw.get(name) or 0.0 for name in record.share_kw}
        missing = sum(record.share_kw.values()) - sum(taken.values())
        if missing > 0.005 * record.event.target_kw:
            short = [name for name in taken if taken[name] < 0.999 * record.share_kw[name]]
            self._committed_kw[event_id] = {
                name: (day.plan.grid, shapes[name] * taken[name] / record.share_kw[name])
                for name in short
                if name in shapes
            }
            events = self._events_of(day.market_day)
            day = await self._day_ahead.replan(day.market_day, events, self.commitments(day.plan.grid))
            for name, share in self.shares(day, record.event).items():
                if name in taken and name not in short and share > taken[name] + _SAME_KW:
                    taken[name] = share
                    await self._tell(name, self._notice(record.event, "changed", share, None, "others have declined"))
            update = {"share_kw": {**record.share_kw, **taken}, "accepted_kw": dict(taken)}
            record = await self._keep(record.model_copy(update=update))
        self._commit(record, day)

    def _commit(self, record: EventRecord, day: DayPlan) -> None:
        """Commitments: what was accepted, in the shape in which the day plan has it; of who takes no part, nothing."""
        shapes, planned = self.contributions(day, record.event), self.shares(day, record.event)
        nothing = np.zeros(len(day.plan.grid))
        self._committed_kw[record.event.event_id] = {
            name: (
                day.plan.grid,
                shapes[name] * (record.accepted_kw.get(name) or 0.0) / planned[name] if name in planned else nothing,
            )
            for name in record.share_kw
        }

    # ---- what the clock does

    async def tick(self, now: datetime) -> list[EventRecord]:
        """Take every step that is due; returns the records that changed.

        A step that fails is told and tried again at the next tick; it does not hold up other events.
        """
        changed = []
        for event_id in list(self._records):
            try:
                changed.extend(await self._step(self._records[event_id], now))
            except VppError as error:
                log.error("a step of an event failed, it is tried again", event_id=event_id, error=str(error))
        return changed

    async def _step(self, record: EventRecord, now: datetime) -> list[EventRecord]:
        event = record.event
        has_begun = now >= event.start
        if record.status is EventStatus.DECLARED and has_begun:
            lapsed = record.stepped(EventStatus.CANCELLED, now, "service", "not approved before its start")
            return [await self._keep(lapsed)]
        if record.status is EventStatus.APPROVED and not has_begun:
            await self._plan_and_notify(self._day_of(event))
            return [self._get(event.event_id)]
        if record.status is EventStatus.APPROVED:
            return [await self._advance(await self._advance(record, EventStatus.NOTIFIED), EventStatus.EXECUTING)]
        if record.status is EventStatus.NOTIFIED:
            await self._settle_if_due(record, now)
            return [await self._advance(self._get(event.event_id), EventStatus.EXECUTING)] if has_begun else []
        if record.status is EventStatus.EXECUTING and now >= event.end:
            ended = await self._advance(record, EventStatus.ENDED)
            await self._tell_all(ended, "ended", "")
            return [ended]
        return []

    async def _settle_if_due(self, record: EventRecord, now: datetime) -> None:
        event_id = record.event.event_id
        respond_by = self._respond_by.get(event_id)
        if respond_by is None or (now < respond_by and not self._all_answered(record)):
            return
        try:
            await self.settle_answers(event_id)
        except VppError as error:
            log.error("answers are not settled yet", event_id=event_id, error=str(error))
            if now < record.event.start:
                return
        self._respond_by.pop(event_id, None)

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
        recovering = [
            piece
            for record in self._records.values()
            if record.status in (EventStatus.ENDED, EventStatus.TERMINATED, EventStatus.EVALUATED)
            for piece in self._after(record, now)
            if piece.end > now or (piece.rebound_cap_kw is not None and self._day_is_open(record.event, now))
        ]
        return [*events, *recovering]

    def _after(self, record: EventRecord, now: datetime) -> list[Event]:
        ramp = self._ramp(record)
        return [record.event] if ramp is None else ramp.planned(now)

    def _ramp(self, record: EventRecord) -> Ramp | None:
        """How an event that was terminated comes down, None for one that was not."""
        stopped = [step.at for step in record.steps if step.status is EventStatus.TERMINATED]
        return ramp_after(record.event, stopped[0], self._cycle) if stopped else None

    def judged(self, record: EventRecord) -> EventRecord:
        """The record with the window that is judged: of a terminated event, as long as it was held in full."""
        ramp = self._ramp(record)
        return record if ramp is None else record.model_copy(update={"event": ramp.held})

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

    def accepted_on(self, event_id: str, grid: IntervalGrid) -> dict[str, FloatArray]:
        """What every aggregator has taken on of an event, (T,) kW in the shape it was planned in; empty if unknown."""
        return {
            name: np.nan_to_num(grid.mean_from(day_grid, kw))
            for name, (day_grid, kw) in self._committed_kw.get(event_id, {}).items()
        }

    @staticmethod
    def contributions(day: DayPlan, event: Event) -> dict[str, FloatArray]:
        """Expected contribution of every aggregator to an event in a plan, (T,) kW, zero outside the window."""
        inside = day.plan.grid.inside(event.start, event.end)
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        found: dict[str, FloatArray] = {}
        if day.problem is None:
            return found
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

    def _event(
        self, order: EventOrder, five_percent_kw: float, peak_kw: float, now: datetime, taken: set[str]
    ) -> Event:
        event_id = order.event_id or self._new_id(order, taken)
        if self._is_taken(event_id, taken):
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
            rebound_cap_kw=self._rebound_cap_kw(peak_kw) if order.direction is Direction.SHAVE else None,
        )

    def _is_taken(self, event_id: str, taken: set[str]) -> bool:
        return event_id in taken or event_id in self._records or self._store.event(event_id) is not None

    def _new_id(self, order: EventOrder, taken: set[str]) -> str:
        scope = order.scope_kind.value if order.scope_kind is ScopeKind.CITY else order.scope_id
        scope = re.sub(r"[^A-Za-z0-9._:-]", "-", scope)[:80]
        first = f"{order.start.astimezone(self._zone):%Y%m%d-%H%M}-{scope}"
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        return next(name for name in names if not self._is_taken(name, taken))

    def _rebound_cap_kw(self, peak_kw: float) -> float:
        """What the city may reach while loads come back: the day's undispatched peak, less a margin for its forecast.

        Without the margin the day's peak only moves into the hours after the event as soon as the forecast is high.
        """
        return peak_kw * (1 - self._rules.rebound_margin_fraction)

    def _reference(self, day: DayPlan) -> tuple[float, float]:
        """Undispatched forecast peak of the market day, and the target share of the reference peak, kW."""
        inputs = self._day_ahead.inputs_of(day.market_day)
        in_day = [start.astimezone(self._zone).date() == day.market_day for start in inputs.grid.starts]
        peak_kw = float(inputs.city.load_kw.sum(axis=0)[in_day].max())
        return peak_kw, self._rules.target_fraction * (self._rules.reference_peak_kw or peak_kw)

    async def _notify(self, record: EventRecord, day: DayPlan) -> None:
        now = self._clock.now()
        shares = self.shares(day, record.event)
        respond_by = self._deadline(record.event, now)
        notified = record.model_copy(update={"share_kw": shares, "accepted_kw": dict.fromkeys(shares)}).stepped(
            EventStatus.NOTIFIED, now, "service"
        )
        await self._keep(notified)
        self._respond_by[record.event.event_id] = respond_by
        for aggregator_id, share in shares.items():
            await self._tell(aggregator_id, self._notice(record.event, "notified", share, respond_by, ""))

    async def _advance(self, record: EventRecord, wanted: EventStatus) -> EventRecord:
        return await self._keep(record.stepped(wanted, self._clock.now(), "service"))

    def _deadline(self, event: Event, notified_at: datetime) -> datetime:
        return min(notified_at + self._rules.respond_within, event.start)

    async def _keep(self, record: EventRecord, also: Callable[[], None] | None = None) -> EventRecord:
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
        """Events of a market day as its plan must have them: also those that are over, whose energy is spent.

        A terminated one counts until its ramp begins, rounded up to the day plan's intervals.
        """
        over = (EventStatus.ENDED, EventStatus.TERMINATED, EventStatus.EVALUATED)
        records = [record for record in self._records.values() if self._day_of(record.event) == day]
        found = [record.event for record in records if record.status in ACTIVE]
        for record in records:
            if record.status in over:
                held = self.judged(record).event
                edges = self._day_ahead.grid_of(day).edges
                end = next((edge for edge in edges if edge >= held.end), held.end)
                found.append(held.model_copy(update={"end": end}))
        return found

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

    def _get(self, event_id: str) -> EventRecord:
        record = self._records.get(event_id)
        if record is None:
            raise InputError([InputFault("event", "event_id", event_id, "names no event")])
        return record
