"""The service at work: what happens when, from the clock's point of view.

One loop, one lock.  The loop sleeps until the next thing is due (a step of an event, tomorrow's plan, a
cycle) and does it; what operators and aggregators do in between takes the same lock, so that no two things
change plans at once.  Cycles run every ``cycle`` around events and every ``quiet_cycle`` otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.dispatch.problem import DispatchProblem
from models.errors import StoreError, VppError
from models.events import Event, EventOrder, EventRecord, EventResponse, EventStatus, ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan
from models.ports import Clock
from models.records import BaselineTable
from models.resources import (
    CurtailableLoad,
    InterruptibleLoad,
    ResourceKind,
    Storage,
    ThermalLoad,
)
from models.settlement.performance import EventPerformance
from models.telemetry import ChargingSession
from vpp.day_ahead import AFTER_EVENT, DayAheadStage
from vpp.delivery import DeliveryStage, Window, is_release
from vpp.events import EventDesk, EventSizing
from vpp.forecasting import CityFeed
from vpp.measurement import MeasuredDay, evaluation, event_performance, measured_day
from vpp.metrics import Metrics
from vpp.problem_builder import merged_baseline
from vpp.real_time import RealTimeInputs, RealTimeStage
from vpp.session_baseline import SessionBaselines
from vpp.state import LiveState, ResourceLive

log = structlog.get_logger(__name__)

DAY = timedelta(days=1)


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
        self._lock = asyncio.Lock()
        self._asleep = asyncio.Event()
        self._cycled_at: datetime | None = None
        self._woken = asyncio.Event()
        self.current: tuple[DispatchProblem, DispatchPlan] | None = None
        self.journal: list[tuple[datetime, str, str]] = []

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
            await self.day_ahead.prepare(market_day)
            await self.real_time.prepare(midnight.astimezone(UTC), self._expected_sessions)
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
        return min(moments)

    def _next_day_ahead(self, now: datetime) -> datetime:
        local = now.astimezone(self.zone)
        today = datetime.combine(local.date(), self.rhythm.day_ahead_at, self.zone)
        if today > now:
            return today
        return datetime.combine(local.date() + timedelta(days=1), self.rhythm.day_ahead_at, self.zone)

    def _next_cycle(self, now: datetime) -> datetime:
        offset = self.rhythm.cycle_offset
        boundary = self._boundary(now - offset)
        while True:
            boundary += self.rhythm.cycle
            if self._is_busy(boundary) or (boundary - _midnight(boundary)) % self.rhythm.quiet_cycle == timedelta(0):
                return boundary + offset

    def _is_busy(self, moment: datetime) -> bool:
        around = self.rhythm.around_events
        return any(event.start - around <= moment < event.end + around for event in self.events.windows())

    def _boundary(self, moment: datetime) -> datetime:
        return _midnight(moment) + self.rhythm.cycle * ((moment - _midnight(moment)) // self.rhythm.cycle)

    async def _do(self, now: datetime) -> None:
        try:
            await self.events.tick(now)
            if now.astimezone(self.zone).time() >= self.rhythm.day_ahead_at:
                tomorrow = now.astimezone(self.zone).date() + timedelta(days=1)
                if tomorrow not in self.day_ahead.days and len(self.state):
                    await self.day_ahead.make(tomorrow)
            await self._evaluate_what_is_over(now)
            boundary = self._boundary(now - self.rhythm.cycle_offset)
            if self._cycled_at != boundary and self._is_due(boundary):
                self._cycled_at = boundary
                await self._cycle(boundary)
        except StoreError as error:
            log.error("the database does not answer, this step is tried again next cycle", error=str(error))
        except VppError as error:
            log.error("a step failed, the next one will try again", error=str(error))

    async def _evaluate_what_is_over(self, now: datetime) -> None:
        """Judge every event whose six hours of rebound have passed."""
        records = self.events.records()
        for record in records:
            ended = record.status in (EventStatus.ENDED, EventStatus.TERMINATED)
            if ended and now >= record.event.end + AFTER_EVENT + self.rhythm.cycle:
                start, end = record.event.start - timedelta(hours=1), record.event.end + AFTER_EVENT
                performance = self.performance(await self.measured(start, end), record)
                await self.events.evaluated(record.event.event_id, evaluation(performance))

    async def measured(self, start: datetime, end: datetime) -> MeasuredDay:
        """B and m of all resources over [start, end) in steps of five minutes."""
        tables = [self.day_ahead.days[day].baseline for day in sorted(self.day_ahead.days)]
        return await asyncio.to_thread(measured_day, self.store, self.state, self.sessions, tables, start, end)

    def performance(self, day: MeasuredDay, record: EventRecord) -> EventPerformance:
        """One event judged on what was measured."""
        held = [each.event for each in self.events.records() if each.status is not EventStatus.CANCELLED]
        return event_performance(
            day, record, held, zone=self.zone, in_scope=self.in_scope, aggregator_of=self.aggregator_of
        )

    def _is_due(self, boundary: datetime) -> bool:
        quiet = (boundary - _midnight(boundary)) % self.rhythm.quiet_cycle == timedelta(0)
        return quiet or self._is_busy(boundary)

    # ---- one cycle

    async def _cycle(self, start: datetime) -> None:
        tables = self._tables(start)
        if not tables or not any(table.grid.start <= start < table.grid.end for table in tables):
            return
        planned = self.events.planned(start)
        self._learn(start, tables)
        grid = self.real_time.grid(start, planned)
        expected = self._expected_sessions(start, grid)
        baseline = self.sessions.overlay(merged_baseline(tables, grid), grid, self.state, expected)
        inputs = RealTimeInputs(
            baseline=baseline,
            plan_kw=self._day_plan_kw(grid),
            end_energy_kwh=self._end_energy(grid),
            expected=expected,
            events=planned,
            commitments=self.events.commitments(grid),
        )
        problem, plan = await self.real_time.cycle(grid, inputs)
        self.current = problem, plan
        await self._deliver(start, plan)
        self._gauge(self.clock.now())

    async def _deliver(self, start: datetime, plan: DispatchPlan) -> None:
        busy = self._is_busy(start)
        hold = self.rhythm.cycle if busy else self.rhythm.quiet_cycle
        grace = self.rhythm.cycle
        first = Window(start, start + hold, start + hold + grace)
        windows = [first]
        if busy:  # the next interval is sent along: who does not hear the next cycle still does the right thing
            windows.append(Window(start + hold, start + 2 * hold, start + 2 * hold + grace))
        await self.delivery.deliver(plan, windows)
        self._note_orders(plan, first)

    def _note_orders(self, plan: DispatchPlan, window: Window) -> None:
        shares = plan.grid.overlap_h(window.valid_from, window.plan_until)
        hours = float(shares.sum())
        for live in self.state.dispatchable(self.clock.now()):
            row = plan.row_of.get(live.resource_id)
            if row is None:
                continue
            power_kw = float(plan.power_kw[row] @ shares) / hours
            baseline_kw = float(plan.baseline_kw[row] @ shares) / hours
            resource = live.record.resource
            released = is_release(resource, power_kw, baseline_kw)
            live.ordered_kw = None if released else power_kw
            live.ordered_until = window.valid_until
            if isinstance(resource, CurtailableLoad | InterruptibleLoad) and released:
                live.note_curtailed(window.valid_from, window.plan_until, 0.0, 0.0)
            elif isinstance(resource, CurtailableLoad | InterruptibleLoad):
                depth_kw = _full_depth_kw(live, baseline_kw)
                given_up = baseline_kw - power_kw
                share = min(1.0, given_up / depth_kw) if depth_kw > 0 else 0.0
                live.note_curtailed(window.valid_from, window.plan_until, given_up, share)

    def _learn(self, start: datetime, tables: Sequence[BaselineTable]) -> None:
        """Look back at the cycle that has just ended: comfort stores, and what each event really got."""
        before = start - self.rhythm.cycle
        if tables[0].grid.start > before:
            return
        grid = IntervalGrid((before, start))
        baseline = self.sessions.overlay(merged_baseline(tables, grid), grid, self.state, {})
        means = {name: float(values[0]) for name, values in baseline.items()}
        hours = self.rhythm.cycle.total_seconds() / 3600
        for live in self.state:
            if isinstance(live.record.resource, ThermalLoad) and live.latest is not None:
                if live.latest.energy_kwh is not None or live.resource_id not in means:
                    continue
                moved = live.latest.power_kw - means[live.resource_id] if live.is_under_order(before) else 0.0
                live.advance_comfort(hours, moved)
        if self.current is None:
            return
        problem, _ = self.current
        for record in self.events.active():
            event = record.event
            if event.start <= before and start <= event.end:
                self.real_time.learn(start, event, means, sorted(problem.in_scope(event)))

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

    async def respond(self, aggregator_id: str, response: EventResponse) -> None:
        """Take an aggregator's answer to an event notice."""
        async with self._hands_on():
            await self.events.respond(aggregator_id, response)

    def refused(self, resource_id: str, reason: str) -> None:
        """A device has refused an order: what it was thought to give up is not given up."""
        live = self.state.get(resource_id)
        if live is not None and live.curtailed and live.curtailed[-1].end > self.clock.now():
            live.curtailed.pop()
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


def _full_depth_kw(live: ResourceLive, baseline_kw: float) -> float:
    resource = live.record.resource
    if isinstance(resource, CurtailableLoad):
        return resource.curtail_share * baseline_kw
    if isinstance(resource, InterruptibleLoad):
        return min(resource.block_kw, baseline_kw)
    return 0.0


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
