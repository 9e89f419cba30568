"""The service at work: what happens when, from the clock's point of view.

One loop, one lock.  The loop sleeps until the next thing is due (a step of an event, tomorrow's plan, a
cycle) and does it; what operators and aggregators do in between takes the same lock, so that no two things
change plans at once.  Cycles run every ``cycle`` around events and every ``quiet_cycle`` otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from adapters.store.store import Store
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault, VppError
from models.events import Event, EventOrder, EventRecord, EventResponse
from models.plan import DispatchPlan
from models.ports import Clock
from models.records import AckOutcome, BaselineTable, CommandAnswer
from models.settlement.inputs import SettlementInputs
from models.settlement.performance import EventPerformance
from models.settlement.rules.load import packaged_rules
from vpp.charged import keep_charged
from vpp.closing.call import call_of, step_of
from vpp.closing.desk import ClosingDesk
from vpp.conduct import ConductStage
from vpp.cycle import ExpectedSessions, RealTimeCycle
from vpp.day_ahead import AFTER_EVENT, DayAheadStage
from vpp.delivery import DeliveryStage
from vpp.direct_call import DirectCalls
from vpp.emergency import Emergencies
from vpp.event_scope import area_zones, is_in_scope
from vpp.event_sizing import EventSizing
from vpp.events import EventDesk
from vpp.forecasting import CityFeed
from vpp.measurement import MeasuredDay, evaluation, event_performance, measured_day
from vpp.metrics import Metrics
from vpp.plan_in_force import PlanInForce
from vpp.promises import Promises
from vpp.real_time import RealTimeStage
from vpp.rhythm import Rhythm
from vpp.session_baseline import SessionBaselines
from vpp.state import LiveState
from vpp.waking import Waking

log = structlog.get_logger(__name__)

FIVE_MINUTES = timedelta(minutes=5)
AGAIN_AFTER = timedelta(seconds=15)
"""A cycle that failed for a reason that may pass (a database that is away) is tried again so much later."""
DAYS_KEPT = 3
"""Day plans are kept in memory for so many days back; the store has all of them."""


class Runtime:
    """Runs the stages on a clock; the doors (API, CLI, console) and the wires call its methods."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        feed: CityFeed,
        zone: ZoneInfo,
        rhythm: Rhythm,
        day_ahead: DayAheadStage,
        real_time: RealTimeStage,
        events: EventDesk,
        delivery: DeliveryStage,
        sessions: SessionBaselines,
        metrics: Metrics,
        expected_sessions: ExpectedSessions,
        busiest_day: Callable[[datetime], Mapping[str, int]],
    ) -> None:
        self.clock = clock
        self.store = store
        self.state = state
        self.feed = feed
        self.zone = zone
        self.rhythm = rhythm
        self.day_ahead = day_ahead
        self.real_time = real_time
        self.events = events
        self.delivery = delivery
        self.sessions = sessions
        self.conduct = ConductStage(state=state, cycle=rhythm.cycle, metrics=metrics, store=store)
        self.promises = Promises(store=store, metrics=metrics, aggregator_of=self.aggregator_of)
        self.metrics = metrics
        self.in_force = PlanInForce(store)
        self._cycle = RealTimeCycle(
            clock=clock,
            state=state,
            zone=zone,
            rhythm=rhythm,
            day_ahead=day_ahead,
            real_time=real_time,
            events=events,
            delivery=delivery,
            sessions=sessions,
            conduct=self.conduct,
            promises=self.promises,
            metrics=metrics,
            expected_sessions=expected_sessions,
            in_force=self.in_force,
        )
        self.emergencies = Emergencies(
            clock=clock,
            store=store,
            zone=zone,
            desk=events.calls,
            delivery=delivery,
            in_force=self.in_force,
            calls=DirectCalls(
                state=state,
                conduct=self.conduct,
                delivery=delivery,
                metrics=metrics,
                rhythm=rhythm,
                tables=lambda: self._cycle.tables(clock.now()),
                area_zones=partial(area_zones, feed, clock),
            ),
        )
        self.closing = ClosingDesk(
            clock=clock,
            store=store,
            book=events.book,
            rules=packaged_rules(),
            make_call=self.settlement_call,
        )
        events.sizer.callable_now = self.emergencies.callable_kw
        self._busiest_day = busiest_day
        self.shows_shapes = True
        """Whether the solver wants to see the shape of its problems before the first (the reference compiles it)."""
        self._lock = asyncio.Lock()
        self._waking = Waking(clock, metrics, self._clock_was_set)
        self._cycled_at: datetime | None = None
        self._again_at: datetime | None = None
        self.days_wanted: set[date] = set()
        self._cars_changed: set[str] = set()
        self._failing: dict[str, str] = {}

    @property
    def current(self) -> tuple[DispatchProblem, DispatchPlan] | None:
        """The problem and the plan of the last real-time cycle, None before there was one."""
        return self._cycle.current

    # ---- the loop

    async def run(self) -> None:
        """For ever: sleep until something is due, do it; an error is told and the loop goes on."""
        try:
            while True:
                before = self.clock.now()
                await self._waking.sleep_until(self.next_due(before), before)
                async with self._lock:
                    await self._do(self.clock.now())
        finally:
            self._waking.asleep.set()  # whoever waits until we are through would wait for ever

    def another_car(self, charger: str) -> None:
        """What the car before was ordered says nothing of this one: it is let go at once, unless the next cycle is
        near.
        """
        now = self.clock.now()
        if self._next_cycle(now) - now > self.rhythm.cycle:
            self._cars_changed.add(charger)
            self._waking.wake()

    async def _let_cars_go(self) -> None:
        changed = sorted(self._cars_changed)
        await self.delivery.let_go(changed)
        self._cars_changed.difference_update(changed)

    def _clock_was_set(self, now: datetime) -> None:
        """No age of a reading means anything for a while, and what was due again is due by another time."""
        self._again_at = None
        self.conduct.blind_until = now + 2 * self.rhythm.cycle

    async def prepare(self, market_day: date) -> None:
        """Let the solver get ready for the day ahead and for every phase of real time; what fails is told."""
        if not len(self.state) or not self.shows_shapes:
            return
        midnight = datetime.combine(market_day, time(0), self.zone)
        try:
            busiest_day = await asyncio.to_thread(self._busiest_day, self.clock.now())
            await asyncio.gather(
                self.day_ahead.prepare(market_day, busiest_day),
                self.real_time.prepare(midnight.astimezone(UTC), busiest_day),
            )
        except VppError as error:
            log.warning("the solver could not be made ready ahead", error=str(error))

    async def settled(self) -> None:
        """Return once the loop sleeps and nobody holds the lock: nothing more will happen until time moves on."""
        while True:
            await self._waking.asleep.wait()
            async with self._lock:
                pass
            if self._waking.asleep.is_set() and not self._lock.locked():
                return

    @asynccontextmanager
    async def _hands_on(self) -> AsyncIterator[None]:
        """Hold the lock for something from outside, and let the loop think again about what is due."""
        async with self._lock:
            yield
        self._waking.wake()

    def next_due(self, now: datetime) -> datetime:
        """When the next step of an event, day-ahead plan, cycle or retry is due, strictly after ``now``."""
        moments = [self._next_day_ahead(now), self._next_cycle(now)]
        if self._again_at is not None:
            moments.append(max(self._again_at, now + timedelta(seconds=1)))
        step = self.events.next_due(now)
        retry = self.delivery.next_due(now)
        moments.extend(moment for moment in (step, retry) if moment is not None)
        judged_at = [self._judged_at(each.event) for each in self.events.records() if each.status.awaits_judgement]
        moments.extend(moment for moment in judged_at if moment > now)
        return min(moments)

    def has_cycled(self, sent_at: datetime) -> None:
        """Before a restart a cycle ran whose orders were sent then: it is not run once more."""
        self._cycled_at = self._boundary(sent_at)

    def has_missed_a_cycle(self) -> bool:
        """True if a cycle was due since the last one that was run."""
        return self._cycled_at is not None and (
            self.rhythm.cycle_after(self._cycled_at, self.events.windows()) <= self._boundary(self.clock.now())
        )

    def catch_up(self) -> None:
        """Run the cycle that was missed or cut off at once, from what is known already."""
        self._again_at = self.clock.now()

    def looked_back_until(self, now: datetime) -> datetime:
        """After a restart: what happened before this is known from the store, and no cycle looks back at it again."""
        boundary = self._boundary(now)
        self._cycle.has_looked_back(boundary)
        return boundary

    def _boundary(self, now: datetime) -> datetime:
        """The last boundary whose readings have come in."""
        return self.rhythm.boundary(now - self.rhythm.cycle_offset)

    def _next_day_ahead(self, now: datetime) -> datetime:
        local = now.astimezone(self.zone)
        today = datetime.combine(local.date(), self.rhythm.day_ahead_at, self.zone)
        if today > now:
            return today
        return datetime.combine(local.date() + timedelta(days=1), self.rhythm.day_ahead_at, self.zone)

    def _next_cycle(self, now: datetime) -> datetime:
        offset = self.rhythm.cycle_offset
        return self.rhythm.cycle_after(self.rhythm.boundary(now - offset), self.events.windows()) + offset

    async def _do(self, now: datetime) -> None:
        """Everything that is due; what fails is told (once, not every five minutes) and tried again at the next turn,
        and holds up nothing else.
        """
        boundary = self._boundary(now)
        is_new = self._cycled_at != boundary and self.rhythm.is_due(boundary, self.events.windows())
        await self._guarded("events", partial(self.events.tick, now))
        await self._guarded("notices", self.events.outbox.retry)
        if is_new or (self._again_at is not None and self._again_at <= now):
            self._cycled_at = boundary
            failed = await self._guarded("cycle", partial(self._run_cycle, boundary))
            self._again_at = now + AGAIN_AFTER if failed is not None and failed.retryable else None
            await self._guarded("charged", partial(keep_charged, self.state, self.store))
            await asyncio.to_thread(self.emergencies.refresh)
            await self._guarded("answers overdue", partial(self._note_expired, now))
        if self._cars_changed:
            await self._guarded("another car", self._let_cars_go)
        await self._guarded("retries", self.delivery.retry)
        for day in self._days_to_plan(now):
            if is_new or f"day plan {day}" not in self._failing:
                await self._guarded(f"day plan {day}", partial(self.day_ahead.make, day))
                await self.conduct.keep()  # what the plan counts on
        await self._guarded("evaluation", partial(self._evaluate_what_is_over, now))

    async def _run_cycle(self, boundary: datetime) -> None:
        """The cycle; where no day plan covers it yet, running direct calls go on."""
        if not await self._cycle.run(boundary):
            await self.emergencies.go_on(boundary)

    async def _guarded(self, name: str, do: Callable[[], Awaitable[object]]) -> VppError | None:
        """Do it; returns what it failed with.  Also a fault of our own, which nobody foresaw, ends this step only."""
        try:
            await do()
        except VppError as error:
            failed = error
        except Exception as error:
            failed = VppError(f"{type(error).__name__}: {error}")
            if self._failing.get(name) != str(failed):
                log.exception("a fault of our own", step=name)
        else:
            if self._failing.pop(name, None) is not None:
                log.info("a step works again", step=name)
            return None
        self.metrics.step_failures.labels(step=name.partition(" ")[0]).inc()
        if self._failing.get(name) != str(failed):
            log.error("a step failed, it is tried again", step=name, error=str(failed))
        self._failing[name] = str(failed)
        return failed

    def _days_to_plan(self, now: datetime) -> list[date]:
        local = now.astimezone(self.zone)
        today = local.date()
        wanted = {day for day in self.days_wanted if day >= today}
        if local.time() >= self.rhythm.day_ahead_at:
            wanted.add(today + timedelta(days=1))
        for day in [day for day in self.day_ahead.days if (today - day).days > DAYS_KEPT]:
            del self.day_ahead.days[day]
            self.day_ahead.inputs.pop(day, None)
        return sorted(day for day in wanted if day not in self.day_ahead.days) if len(self.state) else []

    async def _note_expired(self, now: datetime) -> None:
        """Orders whose time is over and to which nobody has said anything."""
        pending = await asyncio.to_thread(self.store.unacknowledged, now)
        over = [each for each in pending if each.valid_until <= now]
        if not over:
            return
        answers = [CommandAnswer(each.command_id, each.resource_id, AckOutcome.EXPIRED, "") for each in over]
        await asyncio.to_thread(self.store.save_acks, answers, now)
        for each in over:
            self.metrics.setpoints_expired.labels(aggregator=each.aggregator_id).inc()

    async def _evaluate_what_is_over(self, now: datetime) -> None:
        """Judge every event whose six hours of rebound have passed."""
        records = self.events.records()
        for record in records:
            if record.status.awaits_judgement and now >= self._judged_at(record.event):
                event = self.events.judged(record).event
                start, end = event.start - timedelta(hours=1), event.end + AFTER_EVENT
                performance = self.performance(await self.measured(start, end), record)
                await self.events.evaluated(record.event.event_id, evaluation(performance))
        await self.closing.tick()

    def _judged_at(self, event: Event) -> datetime:
        """When what an event did, and what came back after it, has been measured."""
        return event.end + AFTER_EVENT + self.rhythm.cycle

    def baseline_tables(self) -> list[BaselineTable]:
        """The tables of all days in memory as they count, in their order."""
        return [self.day_ahead.levels.applied(self.day_ahead.days[day].baseline) for day in sorted(self.day_ahead.days)]

    async def measured(self, start: datetime, end: datetime, step: timedelta = FIVE_MINUTES) -> MeasuredDay:
        """B and m of all resources over [start, end) in equal steps."""
        tables = self.baseline_tables()
        stages = (self.store, self.state, self.sessions)
        return await asyncio.to_thread(measured_day, *stages, tables, start, end, step, cycle=self.rhythm.cycle)

    def performance(self, day: MeasuredDay, record: EventRecord) -> EventPerformance:
        """One event judged on what was measured."""
        held = [self.events.judged(each) for each in self.events.records() if each.status.has_begun]
        return event_performance(
            day,
            self.events.judged(record),
            held,
            ordered_kw=self.events.ordered_kw,
            accepted=self.events.accepted_on(record.event.event_id, day.grid),
            zone=self.zone,
            in_scope=self.in_scope,
            aggregator_of=self.aggregator_of,
        )

    async def settlement_call(self, record: EventRecord, price_cny_per_kwh: Decimal) -> SettlementInputs | None:
        """What an event is settled from, None if nobody owed anything; ``InputError`` if it is too long ago."""
        judged = self.events.judged(record)
        event = judged.event
        if event.start.astimezone(self.zone).date() not in self.day_ahead.days:
            rule = f"is not in memory any more ({DAYS_KEPT} days): give the readings that are to be corrected"
            raise InputError([InputFault("event", "event_id", event.event_id, rule)])
        day = await self.measured(event.start, event.end, step_of(event.start, event.end))
        return await asyncio.to_thread(
            call_of,
            judged,
            day,
            self.store.orders(day.resource_ids, event.start, event.end),
            accepted=self.events.accepted_on(event.event_id, day.grid),
            ordered_kw=self.events.ordered_kw(judged, day.grid),
            in_scope=self.in_scope,
            aggregator_of=self.aggregator_of,
            zone=self.zone,
            price_cny_per_kwh=price_cny_per_kwh,
        )

    async def send_again(self) -> None:
        """The broker is back: send what it did not take, if it still holds."""
        async with self._hands_on():
            await self.delivery.send_again()
            await self.events.outbox.send_again()

    # ---- what comes from outside

    async def declare(self, orders: Sequence[EventOrder], by: str) -> list[EventRecord]:
        """Size and declare events (see ``EventDesk.declare``); an emergency waits for nobody."""
        if any(self.events.calls.is_one(order) for order in orders):
            records = await self.events.declare(orders, by)
            self._waking.wake()
            return records
        async with self._hands_on():
            return await self.events.declare(orders, by)

    async def approve(self, event_ids: Sequence[str], by: str) -> list[EventRecord]:
        """Approve declared events; a second person must.  An emergency is called at once, whatever is being planned."""
        if self.events.calls.are_due(event_ids):
            records = [await self.emergencies.approve(event_id, by) for event_id in event_ids]
            self.days_wanted |= {record.event.start.astimezone(self.zone).date() for record in records}
            self._waking.wake()
            return records
        async with self._hands_on():
            return await self.events.approve(event_ids, by)

    async def consult(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Note what was agreed on before an event is approved."""
        async with self._hands_on():
            return await self.events.consult(event_id, by, reason)

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Cancel an event that has not begun."""
        async with self._hands_on():
            return await self.events.cancel(event_id, by, reason)

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop an event that runs, with a ramp."""
        async with self._hands_on():
            return await self.events.terminate(event_id, by, reason)

    async def change(self, event_id: str, target_kw: float, by: str, reason: str) -> EventRecord:
        """Change the target of an event; an increase waits for a second person."""
        async with self._hands_on():
            return await self.events.change(event_id, target_kw, by, reason)

    async def respond(
        self, aggregator_id: str, response: EventResponse, also: Callable[[], None] | None = None
    ) -> None:
        """Take an aggregator's answer to an event notice (see ``EventDesk.respond``)."""
        async with self._hands_on():
            await self.events.respond(aggregator_id, response, also)

    def refused(self, resource_id: str, reason: str) -> None:
        """A device has refused an order: what it was thought to give up is not given up."""
        live = self.state.get(resource_id)
        if live is not None and self._cycled_at is not None:
            live.give_up(self._cycled_at, self._cycled_at + self.rhythm.cycle, 0.0, 0.0)
            live.ordered_kw = None
        log.info("order refused", resource_id=resource_id, reason=reason)

    async def quote(self, order: EventOrder) -> EventSizing:
        """What an event could count on, without declaring it."""
        async with self._hands_on():
            (sized,) = await self.events.size([order])
            return sized

    def plan_in_force(self) -> DispatchPlan | None:
        """The plan of which the newest orders are; before there were any the newest plan that covers the present."""
        executed = self.delivery.executed_hash
        plan = self.in_force.of(executed)
        if plan is not None or executed is not None:
            return plan
        now = self.clock.now()
        days = [self.day_ahead.days[day].plan for day in sorted(self.day_ahead.days, reverse=True)]
        return next((plan for plan in days if plan.grid.start <= now < plan.grid.end), days[0] if days else None)

    def measured_kw(self, event_id: str) -> float | None:
        """What the last complete cycle of a running event delivered, None before there was one."""
        return self._cycle.measured_kw(event_id)

    def aggregator_of(self, resource_id: str) -> str:
        """Whose resource it is, empty for one that is not registered (any more)."""
        live = self.state.get(resource_id)
        return live.record.aggregator_id if live is not None else ""

    def in_scope(self, resource_id: str, event: Event) -> bool:
        """True if the resource counts for the event."""
        live = self.state.get(resource_id)
        if live is None:
            return False
        areas = self.current[0].areas if self.current is not None else {}
        return is_in_scope(live.record.resource, event, areas)

    async def plan_day(self, market_day: date) -> None:
        """Make a market day's baseline and plan now."""
        async with self._hands_on():
            await self.day_ahead.make(market_day)
