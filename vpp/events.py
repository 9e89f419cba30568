"""The event desk: an event's life from the operator's wish to its evaluation.

    declare → approve (by a second person) → notify → answers (what is declined goes to the others) → execute
    → end → evaluate;   cancel before it begins, terminate while it runs, change its target at any time: always with a
    safe ramp.   An emergency is a direct call: nobody is asked first.

The desk decides who does what and when; the planning itself is the day-ahead and the real-time stage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.errors import EventStateError, InputError, InputFault, VppError
from models.events import Commitment, Event, EventOrder, EventRecord, EventResponse, EventStep, NoticeType, TargetChange
from models.intervals import FloatArray, IntervalGrid
from models.life_cycle import EventStatus
from models.ports import Clock, DeviceLink
from models.records import StoredEvent
from vpp.day_ahead import DayAheadStage, DayPlan
from vpp.event_answers import AnswerDesk
from vpp.event_book import GUARDED_BEFORE, EventBook
from vpp.event_calls import CallDesk, second_person
from vpp.event_changes import ChangeDesk, reshared, scaled
from vpp.event_outbox import EventOutbox
from vpp.event_shares import CommittedProfiles, shares
from vpp.event_sizing import EventRules, EventSizer, EventSizing
from vpp.metrics import Metrics
from vpp.state import LiveState

log = structlog.get_logger(__name__)

LOADED_BACK = timedelta(days=2)
"""After a restart events are taken up again whose window ended so long ago: their rebound is over by then."""


class EventDesk:
    """Declares, approves, notifies, collects answers, starts, ends, cancels and terminates events."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        link: DeviceLink | None,
        day_ahead: DayAheadStage,
        zone: ZoneInfo,
        rules: EventRules,
        cycle: timedelta,
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._state = state
        self._day_ahead = day_ahead
        self._rules = rules
        self._book = EventBook(clock=clock, store=store, zone=zone, cycle=cycle, rebound_window=rules.rebound_window)
        self.sizer = EventSizer(day_ahead, self._book, zone, rules)
        self._committed = CommittedProfiles()
        self.outbox = EventOutbox(clock=clock, store=store, link=link, metrics=metrics, find=self._book.find)
        self._answers = AnswerDesk(
            clock=clock,
            book=self._book,
            state=state,
            outbox=self.outbox,
            day_ahead=day_ahead,
            committed=self._committed,
            replan=self._replan,
        )
        self.outbox.was_told = self._answers.was_asked
        self._book.found = lambda stored: self.load([stored])
        self.calls = CallDesk(clock, self._book, self.outbox, day_ahead, rules.notice)
        self._changes = ChangeDesk(clock, self._book, self.outbox, cycle, self._share_anew)

    @property
    def book(self) -> EventBook:
        """Every event with its record."""
        return self._book

    def load(self, stored: Iterable[StoredEvent]) -> None:
        """Take up the events of an earlier run: what was going on goes on (day plans must be there already)."""
        for each in stored:
            record, event = each.record, each.record.event
            self._book.take_up(each)
            for name in record.opted_out_resource_ids:
                live = self._state.get(name)
                if live is not None:
                    live.opted_out_of.add(event.event_id)
            if record.status.is_asked:
                notified_at = max(step.at for step in record.steps if step.status is EventStatus.NOTIFIED)
                respond_by = self._rules.notice.deadline(record.notice_type, event.start, notified_at)
                self._answers.wait_until(event.event_id, respond_by)
            elif record.status.runs and self._book.day_of(event) in self._day_ahead.days:
                self._committed.bind_all(record, self._day_ahead.days[self._book.day_of(event)])

    async def take_up_notices(self) -> None:
        """After ``load``: what was not told is told, and who was told late has as long to answer as he was told."""
        asked = [record.event.event_id for record in self._book.records() if record.status.is_asked]
        for notice in await self.outbox.take_up(asked):
            self._answers.was_asked(notice)

    # ---- what the operator does

    async def size(self, orders: Sequence[EventOrder]) -> list[EventSizing]:
        """What orders of one market day could count on, together: they share the same resources."""
        return await self.sizer.size(orders, self._clock.now())

    async def declare(self, orders: Sequence[EventOrder], by: str) -> list[EventRecord]:
        """Size and declare one or more events of one market day."""
        now = self._clock.now()
        records = []
        for order, sized in zip(orders, await self.size(orders), strict=True):
            firm_kw = self._rules.firm_kw(sized.callable_kw)
            asked_kw = order.ordered_kw
            ordered_kw = asked_kw if asked_kw is not None else min(sized.five_percent_kw, firm_kw)
            record = EventRecord(
                event=sized.event.model_copy(update={"target_kw": round(ordered_kw, 3)}),
                status=EventStatus.DECLARED,
                steps=(EventStep(status=EventStatus.DECLARED, at=now, by=by, reason=order.reason),),
                notice_type=sized.notice_type,
                five_percent_kw=sized.five_percent_kw,
                callable_kw=firm_kw,
            )
            records.append(await self._book.keep(record))
        return records

    async def consult(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Note what utility and energy authority agreed on (会商) before a second person approves the event."""
        record = self._book.get(event_id)
        return await self._book.keep(record.stepped(EventStatus.CONSULTED, self._clock.now(), by, reason))

    async def approve(self, event_ids: Sequence[str], by: str) -> list[EventRecord]:
        """Approve events (never by who declared them), pin their baseline, plan the day with them and notify.

        Of an event that is approved already the change that waits is approved (never by who asked for it).
        """
        records = [self._book.get(event_id) for event_id in event_ids]
        if any(record.status.is_planned for record in records):
            return [await self._changes.approve(record, by) for record in records]
        for record in records:
            second_person(record, by)
        now = self._clock.now()
        approved = [record.stepped(EventStatus.APPROVED, now, by) for record in records]
        days = {self._book.day_of(record.event) for record in records}
        if len(days) != 1:
            rule = "all must lie on one market day"
            raise InputError([InputFault("event", "event_ids", ", ".join(event_ids), rule)])
        (day,) = days
        table_hash = (await self._day_ahead.make(day)).baseline.baseline_hash
        for record in approved:
            event = record.event.model_copy(update={"issued_at": now})
            await self._book.keep(record.model_copy(update={"event": event, "baseline_hash": table_hash}))
        try:
            await self._plan_and_notify(day)
        except VppError as error:  # it is approved all the same: ``tick`` tries again
            log.error("approved events are not planned yet", event_ids=list(event_ids), error=str(error))
        return [self._book.get(event_id) for event_id in event_ids]

    async def _plan_and_notify(self, day: date) -> None:
        """Plan a market day with all its active events, and tell the aggregators of those newly approved."""
        plan = await self._replan(day)
        for record in self.active():
            if record.status is EventStatus.APPROVED and self._book.day_of(record.event) == day:
                await self._notify(record, plan)

    async def change(self, event_id: str, target_kw: float, by: str, reason: str) -> EventRecord:
        """Change the target of an event to come or running; an increase waits until ``approve`` by somebody else."""
        return await self._changes.ask(self._book.get(event_id), target_kw, by, reason)

    async def _share_anew(self, changed: EventRecord, change: TargetChange) -> EventRecord:
        """Plan the day with the changed order and tell everybody; what somebody does not take goes to the others.

        Until it is planned, and if it cannot be, shares are what they were in proportion: that is kept with the change.
        """
        event, now = changed.event, self._clock.now()
        if changed.status is not EventStatus.NOTIFIED:
            changed = changed.stepped(EventStatus.NOTIFIED, now, "service", change.reason)
        respond_by = self._rules.notice.deadline(changed.notice_type, event.start, now)

        async def keep(shared: EventRecord) -> EventRecord:
            return await self._book.keep(shared, self.outbox.kept(shared, "changed", change.reason, respond_by))

        record = await keep(scaled(changed, change.after_kw / change.before_kw))
        self._committed.forget(event.event_id)
        try:
            plan = await self._replan(self._book.day_of(event))
            record = await keep(reshared(changed, shares(plan, event)))
        except VppError as error:  # it is changed all the same
            log.error("a changed event is not planned yet", event_id=event.event_id, error=str(error))
        self._answers.wait_until(event.event_id, respond_by)
        await self.outbox.send(event.event_id)
        return record

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Take back an event that has not begun; what was prepared for it is planned anew from the next cycle on."""
        record = self._book.get(event_id)
        if record.status.runs:
            rule = "terminate it instead: it then comes down in steps"
            raise EventStateError(event_id, "running", "be cancelled", rule)
        stopped = record.stepped(EventStatus.CANCELLED, self._clock.now(), by, reason)
        await self._book.keep(stopped, self.outbox.kept(stopped, "cancelled", reason))
        self._answers.wait_no_more(event_id)
        self._committed.forget(event_id)
        await self.outbox.send(event_id)
        if self._book.day_of(stopped.event) in self._day_ahead.days:
            await self._replan_quietly(stopped.event)
        return stopped

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop an event that runs: the order falls in steps, one a cycle, so that not everybody returns at once."""
        stopped = self._book.get(event_id).stepped(EventStatus.TERMINATED, self._clock.now(), by, reason)
        await self._book.keep(stopped, self.outbox.kept(stopped, "terminated", reason))
        await self.outbox.send(event_id)
        if self._book.day_of(stopped.event) in self._day_ahead.days:
            await self._replan_quietly(stopped.event)
        return stopped

    # ---- what the aggregators answer

    async def respond(
        self, aggregator_id: str, response: EventResponse, also: Callable[[], None] | None = None
    ) -> None:
        """See ``AnswerDesk.respond``."""
        await self._answers.respond(aggregator_id, response, also)

    # ---- what the clock does

    async def tick(self, now: datetime) -> list[EventRecord]:
        """Take every step that is due; returns the records that changed.

        A step that fails is told and tried again at the next tick; it does not hold up other events.
        """
        changed = []
        for event_id in [record.event.event_id for record in self._book.records()]:
            try:
                changed.extend(await self._step(self._book.get(event_id), now))
            except VppError as error:
                log.error("a step of an event failed, it is tried again", event_id=event_id, error=str(error))
        return changed

    async def _step(self, record: EventRecord, now: datetime) -> list[EventRecord]:
        event = record.event
        has_begun = now >= event.start
        if record.status.is_wished and now >= _lapses_at(record):
            lapsed = record.stepped(EventStatus.CANCELLED, now, "service", "not approved in time")
            return [await self._book.keep(lapsed)]
        if record.status is EventStatus.APPROVED and not has_begun:
            await self._plan_and_notify(self._book.day_of(event))
            return [self._book.get(event.event_id)]
        if record.status is EventStatus.APPROVED:
            return [await self._advance(await self._advance(record, EventStatus.NOTIFIED), EventStatus.EXECUTING)]
        if record.status.is_asked:
            await self._answers.settle_if_due(record, now)
            record = self._book.get(event.event_id)
            if has_begun:
                return [await self._begin(record)]
            if record.status is EventStatus.ACKNOWLEDGED and now >= _prepares_at(event):
                return [await self._advance(record, EventStatus.PREPARING)]
            return []
        if record.status is EventStatus.ADJUSTED and self._book.is_held_at(record) <= now < event.end:
            return [await self._advance(record, EventStatus.EXECUTING)]
        if record.status.runs and now >= event.end:
            ended = await self._advance(record, EventStatus.ENDED, self.outbox.kept(record, "ended"))
            await self.outbox.send(event.event_id)
            return [ended]
        return []

    async def _begin(self, record: EventRecord) -> EventRecord:
        """It runs; who could not be asked in time is told how things stand, in the place of a question."""
        event_id = record.event.event_id
        unheard = await self.outbox.unheard(event_id)
        share_kw = {name: record.share_kw[name] for name in sorted(unheard & record.share_kw.keys())}
        tell = self.outbox.kept(record, "changed", "it has begun before you could be asked", share_kw=share_kw)
        begun = await self._advance(record, EventStatus.EXECUTING, tell)
        await self.outbox.send(event_id)
        return begun

    def next_due(self, now: datetime) -> datetime | None:
        """When the next step of any event is due, or a notice is to be told again."""
        moments: list[datetime] = []
        for record in self._book.records():
            if record.status.is_wished:
                moments.append(_lapses_at(record))
            elif record.status.runs:
                moments.append(record.event.end)
            elif record.status.is_planned:
                moments.append(record.event.start)
            if record.status is EventStatus.ACKNOWLEDGED:
                moments.append(_prepares_at(record.event))
            if record.status is EventStatus.ADJUSTED:
                moments.append(self._book.is_held_at(record))
        moments.extend(self._answers.deadlines())
        again = self.outbox.next_due(now)
        moments.extend([] if again is None else [again])
        return min((moment for moment in moments if moment > now), default=None)

    async def evaluated(self, event_id: str, evaluation: Mapping[str, object]) -> EventRecord:
        """Close an event with what was measured."""
        record = self._book.get(event_id).model_copy(update={"evaluation": dict(evaluation)})
        return await self._book.keep(record.stepped(EventStatus.EVALUATED, self._clock.now(), "service"))

    # ---- what the planning stages ask

    def active(self) -> list[EventRecord]:
        """Events that plans serve: approved, and not over."""
        return self._book.active()

    def windows(self) -> list[Event]:
        """Events around whose windows the service looks more often (see ``EventBook.windows``)."""
        return self._book.windows()

    def records(self) -> list[EventRecord]:
        """All events known."""
        return self._book.records()

    def get(self, event_id: str) -> EventRecord:
        """One event; ``InputError`` if there is none of that name."""
        return self._book.get(event_id)

    def planned(self, now: datetime) -> list[Event]:
        """The events that the optimiser must serve from ``now`` on, ramps of terminated ones among them."""
        return self._book.planned(now)

    def judged(self, record: EventRecord) -> EventRecord:
        """The record with the window that is judged: of a terminated event, as long as it was held in full."""
        return self._book.judged(record)

    def commitments(self, grid: IntervalGrid, pieces: Sequence[Event] | None = None) -> list[Commitment]:
        """Commitments of all active events on ``grid``: what was accepted, in the shape it was planned in.

        ``pieces``: the events as the problem has them; None: one piece each.
        """
        active = self._book.active()
        orders = [(record.event.event_id, self._book.ordered_kw(record, grid)) for record in active]
        return self._committed.rows(orders, grid, [record.event for record in active] if pieces is None else pieces)

    def accepted_on(self, event_id: str, grid: IntervalGrid) -> dict[str, FloatArray]:
        """What every aggregator has taken on of an event, (T,) kW in the shape it was planned in; empty if unknown."""
        ordered_kw = self._book.ordered_kw(self._book.get(event_id), grid)
        return {name: np.nan_to_num(kw) for name, kw in self._committed.accepted_on(event_id, ordered_kw, grid).items()}

    def ordered_kw(self, record: EventRecord, grid: IntervalGrid) -> FloatArray:
        """What an event orders on a grid, with every change of it, (T,); 0 outside its window."""
        return self._book.ordered_kw(record, grid)

    # ---- pieces

    async def _notify(self, record: EventRecord, day: DayPlan) -> None:
        now = self._clock.now()
        share_kw = shares(day, record.event)
        respond_by = self._rules.notice.deadline(record.notice_type, record.event.start, now)
        asked: dict[str, float | None] = dict.fromkeys(share_kw)
        accepted = asked if respond_by is not None else dict(share_kw)  # a direct call is not a question
        notified = record.model_copy(update={"share_kw": share_kw, "accepted_kw": accepted}).stepped(
            EventStatus.NOTIFIED, now, "service"
        )
        await self._book.keep(notified, self.outbox.kept(notified, "notified", record.steps[0].reason, respond_by))
        self._answers.wait_until(notified.event.event_id, respond_by)
        await self.outbox.send(notified.event.event_id)

    async def _advance(
        self, record: EventRecord, wanted: EventStatus, also: Callable[[], None] | None = None
    ) -> EventRecord:
        return await self._book.keep(record.stepped(wanted, self._clock.now(), "service"), also)

    def _events_of(self, day: date) -> list[Event]:
        return self._book.of_day(day, self._day_ahead.grid_of(day))

    def _commitments_of(self, day: date) -> list[Commitment]:
        """Commitments to the events of a market day as its plan has them."""
        grid = self._day_ahead.grid_of(day)
        return self.commitments(grid, self._events_of(day))

    async def _replan(self, day: date) -> DayPlan:
        """Plan a market day with all that is ordered and accepted."""
        return await self._day_ahead.replan(day, self._events_of(day), self._commitments_of(day))

    async def _replan_quietly(self, event: Event) -> None:
        try:
            await self._replan(self._book.day_of(event))
        except VppError as error:
            log.error("day not planned anew", error=str(error))


def _lapses_at(record: EventRecord) -> datetime:
    """When an event that nobody has approved is over: at its start, an emergency at its end."""
    event = record.event
    return event.end if record.notice_type is NoticeType.EMERGENCY else event.start


def _prepares_at(event: Event) -> datetime:
    """From when on what is done serves the event: stores fill and rooms cool, the city held under the rebound cap."""
    return event.start - GUARDED_BEFORE
