"""The service at work: what happens when, from the clock's point of view.

One loop, one lock.  The loop sleeps until the next thing is due (a step of an event, tomorrow's plan, a
cycle) and does it; what operators and aggregators do in between takes the same lock, so that no two things
change plans at once.  Cycles run every ``cycle`` around events and every ``quiet_cycle`` otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from time import monotonic
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.dispatch.problem import DispatchProblem
from models.errors import VppError
from models.events import Event, EventOrder, EventRecord, EventResponse, EventStatus, ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan, PlanSource
from models.ports import Clock
from models.records import AckOutcome, BaselineTable, CommandAnswer
from models.resources import (
    CurtailableLoad,
    InterruptibleLoad,
    ResourceKind,
    Storage,
    ThermalLoad,
)
from models.settlement.performance import EventPerformance
from models.telemetry import ChargingSession
from vpp.baseline_table import merged_baseline
from vpp.capacities import capacities
from vpp.day_ahead import AFTER_EVENT, DayAheadStage, delivered_kw
from vpp.delivery import DeliveryStage, Window, is_release
from vpp.events import EventDesk, EventSizing
from vpp.forecasting import CityFeed
from vpp.measurement import MeasuredDay, evaluation, event_performance, measured_day
from vpp.metrics import Metrics
from vpp.real_time import RealTimeInputs, RealTimeStage
from vpp.session_baseline import SessionBaselines
from vpp.state import LiveState, ResourceLive

log = structlog.get_logger(__name__)

DAY = timedelta(days=1)
DAYS_KEPT = 3
"""Day plans are kept in memory for so many days back; the store has all of them."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When the service does what.

    ``cycle_offset``: a cycle begins so long after its boundary, when the readings of the boundary have come
    in.
    ``around_events``: so long before and after an event the short cycle runs.
    """

    day_ahead_at: time
    cycle: timedelta
    quiet_cycle: timedelta
    cycle_offset: timedelta = timedelta(seconds=15)
    around_events: timedelta = timedelta(minutes=15)


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
        expected_sessions: Callable[[datetime, IntervalGrid], Mapping[str, Sequence[ChargingSession]]],
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
        self.metrics = metrics
        self._expected_sessions = expected_sessions
        self._busiest_day = busiest_day
        self._lock = asyncio.Lock()
        self._asleep = asyncio.Event()
        self._cycled_at: datetime | None = None
        self._learned_at: datetime | None = None
        self._woken = asyncio.Event()
        self.current: tuple[DispatchProblem, DispatchPlan] | None = None
        self.days_wanted: set[date] = set()
        self._failing: dict[str, str] = {}

    # ---- the loop

    async def run(self) -> None:
        """For ever: sleep until something is due, do it; an error is told and the loop goes on."""
        while True:
            due = self.next_due(self.clock.now())
            self._asleep.set()
            await self._sleep_until_or_woken(due)
            async with self._lock:
                await self._do(self.clock.now())

    async def prepare(self, market_day: date) -> None:
        """Let the solver get ready for the day ahead and for every phase of real time; what fails is told."""
        if not len(self.state):
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
        """Return once the loop sleeps and nobody holds the lock: nothing more will happen until time moves
        on.
        """
        while True:
            await self._asleep.wait()
            async with self._lock:
                pass
            if self._asleep.is_set() and not self._lock.locked():
                return

    async def _sleep_until_or_woken(self, due: datetime) -> None:
        async def sleep() -> None:
            await self.clock.sleep_until(due)
            self._asleep.clear()  # before anybody can see this task end: a virtual clock must not move on yet

        sleeper = asyncio.create_task(sleep(), name="runtime sleeps")
        waker = asyncio.create_task(self._woken.wait(), name="runtime may be woken")
        try:
            await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._asleep.clear()
            self._woken.clear()
            for task in (sleeper, waker):
                task.cancel()
            await asyncio.gather(sleeper, waker, return_exceptions=True)

    @asynccontextmanager
    async def _hands_on(self) -> AsyncIterator[None]:
        """Hold the lock for something from outside, and let the loop think again about what is due."""
        async with self._lock:
            yield
        self._asleep.clear()
        self._woken.set()

    def next_due(self, now: datetime) -> datetime:
        """When the next step of an event, day-ahead plan or cycle is due, strictly after ``now``."""
        moments = [self._next_day_ahead(now), self._next_cycle(now)]
        step = self.events.next_due(now)
        if step is not None:
            moments.append(step)
        over = (EventStatus.ENDED, EventStatus.TERMINATED)
        judged_at = [self._judged_at(each.event) for each in self.events.records() if each.status in over]
        moments.extend(moment for moment in judged_at if moment > now)
        return min(moments)

    def _next_day_ahead(self, now: datetime) -> datetime:
        local = now.astimezone(self.zone)
        today = datetime.combine(local.date(), self.rhythm.day_ahead_at, self.zone)
        if today > now:
            return today
        return datetime.combine(local.date() + timedelta(days=1), self.rhythm.day_ahead_at, self.zone)

    def _next_cycle(self, now: datetime) -> datetime:
        offset = self.rhythm.cycle_offset
        return self._cycle_after(self._boundary(now - offset)) + offset

    def _cycle_after(self, boundary: datetime) -> datetime:
        """The boundary of the cycle that follows the one of ``boundary``."""
        while True:
            boundary += self.rhythm.cycle
            if self._is_due(boundary):
                return boundary

    def _is_busy(self, moment: datetime) -> bool:
        around = self.rhythm.around_events
        return any(event.start - around <= moment < event.end + around for event in self.events.windows())

    def _boundary(self, moment: datetime) -> datetime:
        return _midnight(moment) + self.rhythm.cycle * ((moment - _midnight(moment)) // self.rhythm.cycle)

    async def _do(self, now: datetime) -> None:
        """Everything that is due; what fails is told (once, not every five minutes) and tried again at the next turn,
        and holds up nothing else.
        """
        boundary = self._boundary(now - self.rhythm.cycle_offset)
        is_new = self._cycled_at != boundary and self._is_due(boundary)
        await self._guarded("events", partial(self.events.tick, now))
        if is_new:
            self._cycled_at = boundary
            await self._guarded("cycle", partial(self._cycle, boundary))
            await self._guarded("answers overdue", partial(self._note_expired, now))
        for day in self._days_to_plan(now):
            if is_new or f"day plan {day}" not in self._failing:
                await self._guarded(f"day plan {day}", partial(self.day_ahead.make, day))
        await self._guarded("evaluation", partial(self._evaluate_what_is_over, now))

    async def _guarded(self, name: str, do: Callable[[], Awaitable[object]]) -> None:
        try:
            await do()
        except VppError as error:
            self.metrics.step_failures.labels(step=name.partition(" ")[0]).inc()
            if self._failing.get(name) != str(error):
                log.error("a step failed, it is tried again", step=name, error=str(error))
            self._failing[name] = str(error)
        else:
            if self._failing.pop(name, None) is not None:
                log.info("a step works again", step=name)

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
            ended = record.status in (EventStatus.ENDED, EventStatus.TERMINATED)
            if ended and now >= self._judged_at(record.event):
                event = self.events.judged(record).event
                start, end = event.start - timedelta(hours=1), event.end + AFTER_EVENT
                performance = self.performance(await self.measured(start, end), record)
                await self.events.evaluated(record.event.event_id, evaluation(performance))

    def _judged_at(self, event: Event) -> datetime:
        """When what an event did, and what came back after it, has been measured."""
        return event.end + AFTER_EVENT + self.rhythm.cycle

    async def measured(self, start: datetime, end: datetime) -> MeasuredDay:
        """B and m of all resources over [start, end) in steps of five minutes."""
        tables = [self.day_ahead.days[day].baseline for day in sorted(self.day_ahead.days)]
        return await asyncio.to_thread(measured_day, self.store, self.state, self.sessions, tables, start, end)

    def performance(self, day: MeasuredDay, record: EventRecord) -> EventPerformance:
        """One event judged on what was measured."""
        held = [each.event for each in self.events.records() if each.status is not EventStatus.CANCELLED]
        return event_performance(
            day,
            self.events.judged(record),
            held,
            accepted=self.events.accepted_on(record.event.event_id, day.grid),
            zone=self.zone,
            in_scope=self.in_scope,
            aggregator_of=self.aggregator_of,
        )

    def _is_due(self, boundary: datetime) -> bool:
        quiet = (boundary - _midnight(boundary)) % self.rhythm.quiet_cycle == timedelta(0)
        return quiet or self._is_busy(boundary)

    # ---- one cycle

    async def _cycle(self, start: datetime) -> None:
        tables = self._tables(start)
        if not tables or not any(table.grid.start <= start < table.grid.end for table in tables):
            self._gauge(self.clock.now())
            return
        began = monotonic()
        if self.real_time.last is None:
            self.real_time.last = self._day_plan_at(start)  # what stands until there is something newer
        try:
            plan = await self._replan(start, tables)
        except VppError as error:
            plan = self._last_good(start, error)
        await self._deliver(start, plan)
        self._gauge(self.clock.now())
        took_s = monotonic() - began
        self.metrics.cycle_seconds.labels(kind="real_time").observe(took_s)
        if took_s > self.rhythm.cycle.total_seconds():
            self.metrics.cycle_overruns.labels(kind="real_time").inc()

    async def _replan(self, start: datetime, tables: Sequence[BaselineTable]) -> DispatchPlan:
        planned = self.events.planned(start)
        self._learn(start, tables)
        grid = self.real_time.grid(start, planned)
        expected = await asyncio.to_thread(self._expected_sessions, start, grid)
        baseline = self.sessions.overlay(merged_baseline(tables, grid), grid, self.state, expected)
        inputs = RealTimeInputs(
            baseline=baseline,
            plan_kw=self._day_plan_kw(grid),
            end_energy_kwh=self._end_energy(grid),
            expected=expected,
            events=planned,
            commitments=self.events.commitments(grid),
        )
        self.current = await self.real_time.cycle(grid, inputs)
        return self.current[1]

    def _last_good(self, start: datetime, error: VppError) -> DispatchPlan:
        """When not even a problem can be put together: the last good plan as it is, labelled so."""
        last = self.real_time.last
        if last is None or last.grid.index_at(start) is None:
            raise error
        log.error("the last good plan stands", error=str(error))
        plan = replace(last, source=PlanSource.LAST_GOOD, status="fallback")
        self.metrics.plans_made.labels(kind="real_time", source=plan.source.value).inc()
        if self.current is not None:
            self.current = self.current[0], plan
        return plan

    def _day_plan_at(self, moment: datetime) -> DispatchPlan | None:
        days = (self.day_ahead.days[day].plan for day in sorted(self.day_ahead.days, reverse=True))
        return next((plan for plan in days if plan.grid.index_at(moment) is not None), None)

    async def _deliver(self, start: datetime, plan: DispatchPlan) -> None:
        following = self._cycle_after(start)
        grace = self.rhythm.cycle
        first = Window(start, following, following + grace)
        windows = [first]
        if self._is_busy(start):
            # the next stretch is sent along: who does not hear the next cycle still does the right thing
            later = self._cycle_after(following)
            windows.append(Window(following, later, later + grace))
        running = {event.event_id.split("~")[0] for event in self.events.planned(start)}
        held_back = {live.resource_id for live in self.state if live.opted_out_of & running}
        ordered = await self.delivery.deliver(plan, windows, held_back)
        for window in windows:
            self._note_curtailed(plan, window, ordered)
        self._note_orders(plan, first, ordered)

    def _note_orders(self, plan: DispatchPlan, window: Window, ordered: Container[str]) -> None:
        """Remember what is in force at the devices that were sent an order."""
        for live, power_kw, baseline_kw in self._means(plan, window, ordered):
            released = is_release(live.record.resource, power_kw, baseline_kw)
            live.ordered_kw = None if released else power_kw
            live.ordered_until = window.valid_until

    def _note_curtailed(self, plan: DispatchPlan, window: Window, ordered: Container[str]) -> None:
        """Remember what loads are to give up, hour by hour: their limits of the day count it."""
        for live, power_kw, baseline_kw in self._means(plan, window, ordered):
            resource = live.record.resource
            if not isinstance(resource, CurtailableLoad | InterruptibleLoad):
                continue
            given_up_kw = 0.0 if is_release(resource, power_kw, baseline_kw) else baseline_kw - power_kw
            live.give_up(window.valid_from, window.plan_until, given_up_kw, baseline_kw)

    def _means(
        self, plan: DispatchPlan, window: Window, ordered: Container[str]
    ) -> Iterator[tuple[ResourceLive, float, float]]:
        """Mean planned power and baseline over a window, of those who were sent an order."""
        shares = plan.grid.overlap_h(window.valid_from, window.plan_until)
        hours = float(shares.sum())
        for live in self.state:
            row = plan.row_of.get(live.resource_id)
            if live.refused_until is not None and live.refused_until > self.clock.now():
                continue  # its refusal was quicker than we are
            if row is not None and live.resource_id in ordered and hours > 0:
                yield live, float(plan.power_kw[row] @ shares) / hours, float(plan.baseline_kw[row] @ shares) / hours

    def _learn(self, start: datetime, tables: Sequence[BaselineTable]) -> None:
        """Look back at the cycle that has just ended: comfort stores, and what each event really got."""
        before = start - self.rhythm.cycle
        if tables[0].grid.start > before:
            self._learned_at = start  # nothing was ordered before the first table begins
            return
        grid = IntervalGrid((before, start))
        baseline = self.sessions.overlay(merged_baseline(tables, grid), grid, self.state, {})
        means = {name: float(values[0]) for name, values in baseline.items()}
        since = min(start - (self._learned_at or before), DAY)
        self._learned_at = start
        hours = since.total_seconds() / 3600
        for live in self.state:
            if isinstance(live.record.resource, ThermalLoad) and live.latest is not None:
                if live.latest.energy_kwh is not None or live.resource_id not in means:
                    continue
                moved = live.latest.power_kw - means[live.resource_id] if live.is_under_order(before) else 0.0
                live.advance_comfort(hours, moved)
        if self.current is None:
            return
        problem, plan = self.current
        for record in self.events.active():
            event = record.event
            if event.start - self.rhythm.around_events < start <= event.end:
                planned = delivered_kw(problem, plan, event)[plan.grid.index_at(before) or 0]
                self.real_time.learn(start, event, means, sorted(problem.in_scope(event)), float(planned))

    def _tables(self, start: datetime) -> list[BaselineTable]:
        today = start.astimezone(self.zone).date()
        days = [today - timedelta(days=1), today, today + timedelta(days=1)]
        return [self.day_ahead.days[day].baseline for day in days if day in self.day_ahead.days]

    def _day_plan_kw(self, grid: IntervalGrid) -> dict[str, FloatArray]:
        merged: dict[str, FloatArray] = {}
        for day in sorted(self.day_ahead.days):
            plan = self.day_ahead.days[day].plan
            if plan.grid.end <= grid.start or plan.grid.start >= grid.end:
                continue
            values = grid.mean_from(plan.grid, plan.power_kw)
            for name, row in plan.row_of.items():
                known = merged.get(name)
                merged[name] = values[row] if known is None else np.where(np.isnan(values[row]), known, values[row])
        return merged

    def _end_energy(self, grid: IntervalGrid) -> dict[str, float]:
        """The day plans' stored energy at the end of ``grid`` (where none reaches so far: a day earlier)."""
        for moment in (grid.end, grid.end - DAY):
            for day in sorted(self.day_ahead.days, reverse=True):
                plan = self.day_ahead.days[day].plan
                if plan.grid.start < moment <= plan.grid.end:
                    column = next(t for t, end in enumerate(plan.grid.ends) if end >= moment)
                    return {
                        live.resource_id: float(plan.energy_kwh[plan.row_of[live.resource_id], column])
                        for live in self.state
                        if isinstance(live.record.resource, Storage) and live.resource_id in plan.row_of
                    }
        return {}

    def _gauge(self, now: datetime) -> None:
        counts: dict[ResourceKind, list[int]] = {}
        for live in self.state:
            pair = counts.setdefault(live.kind, [0, 0])
            pair[0 if live.is_fresh(now) else 1] += 1
        for kind, (online, stale) in counts.items():
            self.metrics.devices_online.labels(kind=kind.value).set(online)
            self.metrics.devices_stale.labels(kind=kind.value).set(stale)
        for sums in capacities(self.state, lambda live: live.record.resource.pillar.value, now):
            for sort in ("connected", "declared", "tested", "callable"):
                self.metrics.capacity_kw.labels(sort=sort, pillar=sums.group).set(getattr(sums, f"{sort}_kw"))
        records = self.events.records()
        for status in EventStatus:
            self.metrics.events.labels(status=status.value).set(sum(each.status is status for each in records))
        self.metrics.event_ordered_kw.clear()
        self.metrics.event_delivered_kw.clear()
        for record in records:
            if record.status is EventStatus.EXECUTING:
                name, measured = record.event.event_id, self.measured_kw(record.event.event_id)
                self.metrics.event_ordered_kw.labels(event=name).set(record.event.target_kw)
                if measured is not None:
                    self.metrics.event_delivered_kw.labels(event=name).set(measured)

    async def send_again(self) -> None:
        """The broker is back: send what it did not take, if it still holds."""
        async with self._hands_on():
            await self.delivery.send_again()

    # ---- what comes from outside

    async def declare(self, orders: Sequence[EventOrder], by: str) -> list[EventRecord]:
        """Size and declare events (see ``EventDesk.declare``)."""
        async with self._hands_on():
            return await self.events.declare(orders, by)

    async def approve(self, event_ids: Sequence[str], by: str) -> list[EventRecord]:
        """Approve declared events; a second person must."""
        async with self._hands_on():
            return await self.events.approve(event_ids, by)

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Cancel an event that has not begun."""
        async with self._hands_on():
            return await self.events.cancel(event_id, by, reason)

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop an event that runs, with a ramp."""
        async with self._hands_on():
            return await self.events.terminate(event_id, by, reason)

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
        """The newest real-time plan, else the newest day plan that covers the present."""
        if self.current is not None:
            return self.current[1]
        now = self.clock.now()
        days = [self.day_ahead.days[day].plan for day in sorted(self.day_ahead.days, reverse=True)]
        return next((plan for plan in days if plan.grid.start <= now < plan.grid.end), days[0] if days else None)

    def measured_kw(self, event_id: str) -> float | None:
        """What the last complete cycle of a running event delivered, None before there was one."""
        feedback = self.real_time.feedback.get(event_id)
        return feedback.measured_kw[-1][1] if feedback is not None and feedback.measured_kw else None

    def aggregator_of(self, resource_id: str) -> str:
        """Whose resource it is, empty for one that is not registered (any more)."""
        live = self.state.get(resource_id)
        return live.record.aggregator_id if live is not None else ""

    def in_scope(self, resource_id: str, event: Event) -> bool:
        """True if the resource counts for the event."""
        live = self.state.get(resource_id)
        if live is None:
            return False
        resource = live.record.resource
        if event.scope_kind is ScopeKind.AREA:
            areas = self.current[0].areas if self.current is not None else {}
            return resource.zone_id in areas.get(event.scope_id, frozenset())
        attribute = {
            ScopeKind.CITY: event.scope_id,
            ScopeKind.ZONE: resource.zone_id,
            ScopeKind.AGGREGATOR: resource.aggregator_id,
            ScopeKind.PILLAR: resource.pillar.value,
        }[event.scope_kind]
        return attribute == event.scope_id

    async def plan_day(self, market_day: date) -> None:
        """Make a market day's baseline and plan now."""
        async with self._hands_on():
            await self.day_ahead.make(market_day)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
