"""One real-time cycle: look back, plan anew from now on, send what follows from it.

    learn       what the cycle that has just ended did: comfort stores, who behaved, what each event really got
    replan      from the present state, towards the day plan; down the ladder if that fails
    deliver     the orders of this stretch, around events those of the next one as well
    note        what is in force at the devices, and what loads give up

Powers are kW, energies kWh; grids are those of the plans (T intervals).
"""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem
from models.errors import VppError
from models.events import Direction, Event
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds
from models.plan import DispatchPlan, PlanSource
from models.ports import Clock
from models.records import BaselineTable
from models.resources import Storage
from models.telemetry import ChargingSession
from vpp.baseline_table import merged_baseline, merged_rows
from vpp.cars_out_of_sight import cars_out_of_sight
from vpp.conduct import ConductStage
from vpp.day_ahead import DayAheadStage
from vpp.delivery import DeliveryStage
from vpp.event_scope import is_in_scope
from vpp.events import EventDesk
from vpp.feedback import READING_WITHIN
from vpp.gauges import set_gauges
from vpp.heard import NEVER_US
from vpp.metrics import Metrics
from vpp.order_limits import OrderLimits
from vpp.plan_in_force import PlanInForce
from vpp.promises import Promises
from vpp.ramp import whole_event
from vpp.real_time import RealTimeInputs, RealTimeStage
from vpp.rhythm import Rhythm
from vpp.session_baseline import SessionBaselines
from vpp.standing_orders import standing_orders
from vpp.state import LiveState
from vpp.unheard import unheard_kw
from vpp.window_means import Window, window_means

log = structlog.get_logger(__name__)

DAY = timedelta(days=1)
_SET_BACK = timedelta(minutes=30)
"""By more than this a clock is set back for good: what was learned until then says nothing of when."""

GRACE = timedelta(minutes=1)
"""In an event orders hold so much longer than the stretches that they are for: a cycle's worth, as outside of events,
would let who has fallen silent go on while its share is bought again from others.
"""

ExpectedSessions = Callable[[datetime, IntervalGrid], Mapping[str, Sequence[ChargingSession]]]
"""The stays of cars that are expected on a grid, by charger, as seen from a moment."""


class RealTimeCycle:
    """Runs one cycle at a time over the stages, and remembers the problem and the plan in force (``current``)."""

    def __init__(
        self,
        *,
        clock: Clock,
        state: LiveState,
        zone: ZoneInfo,
        rhythm: Rhythm,
        day_ahead: DayAheadStage,
        real_time: RealTimeStage,
        events: EventDesk,
        delivery: DeliveryStage,
        sessions: SessionBaselines,
        conduct: ConductStage,
        promises: Promises,
        metrics: Metrics,
        expected_sessions: ExpectedSessions,
        in_force: PlanInForce,
    ) -> None:
        self._clock = clock
        self._state = state
        self._zone = zone
        self._rhythm = rhythm
        self._day_ahead = day_ahead
        self._real_time = real_time
        self._events = events
        self._delivery = delivery
        self._sessions = sessions
        self._conduct = conduct
        self._promises = promises
        self._metrics = metrics
        self._expected_sessions = expected_sessions
        self._in_force = in_force
        self._levels = day_ahead.levels
        self._limits = OrderLimits(state)
        self._learned_at: datetime | None = None
        self.current: tuple[DispatchProblem, DispatchPlan] | None = None

    def tables(self, start: datetime) -> list[BaselineTable]:
        """Baseline tables of the days around ``start``, none if no day covers it."""
        tables = self._tables(start)
        return tables if any(table.grid.start <= start < table.grid.end for table in tables) else []

    async def run(self, start: datetime) -> bool:
        """The cycle that begins at the boundary ``start``; False without a day that covers it: only gauges are set.

        A direct call that comes meanwhile overtakes it: what it comes to is not sent, and it plans again.
        """
        await self._levels.update(start)
        tables = self.tables(start)
        if not tables:
            self._set_gauges()
            return False
        began = monotonic()
        ladder, day_plan = self._real_time.ladder, self._day_plan_at(start)
        if ladder.in_force is None and day_plan is not None:
            ladder.published(day_plan, self._events.planned(start))  # what stands until there is something newer
        while True:
            era, planned = self._delivery.era, self._events.planned(start)
            try:
                plan = await self._replan(start, tables, planned)
            except VppError as error:
                plan = self._as_it_is(planned, error)
            except Exception as error:
                log.exception("a fault of our own while planning")
                plan = self._as_it_is(planned, VppError(f"{type(error).__name__}: {error}"))
            if era == self._delivery.era:
                self._in_force.made(plan, self._delivery.executed_hash)
                await self._in_force.keep(plan)
                if plan.source is not PlanSource.HOLD:
                    await self._deliver(start, plan, era)
            if era == self._delivery.era:
                break
            log.warning("a direct call has overtaken this cycle, it plans again", start=start.isoformat())
        await self._in_force.delivered(plan, self._clock.now())
        self._set_gauges()
        took_s = monotonic() - began
        self._metrics.cycle_seconds.labels(kind="real_time").observe(took_s)
        if took_s > self._rhythm.cycle.total_seconds():
            self._metrics.cycle_overruns.labels(kind="real_time").inc()
        return True

    def measured_kw(self, event_id: str) -> float | None:
        """What the last complete cycle of a running event delivered, None before there was one."""
        feedback = self._real_time.feedback.get(event_id)
        return feedback.measured[-1].delivered_kw if feedback is not None and feedback.measured else None

    def has_looked_back(self, boundary: datetime) -> None:
        """What happened before ``boundary`` is known from elsewhere."""
        self._learned_at = boundary

    # ---- planning

    async def _replan(self, start: datetime, tables: Sequence[BaselineTable], planned: Sequence[Event]) -> DispatchPlan:
        await self._learn(start, tables)
        grid = self._real_time.grid(start, planned)
        expected = await asyncio.to_thread(self._expected_sessions, start, grid)
        baseline = self._sessions.overlay(merged_baseline(tables, grid), grid, self._state, expected)
        inputs = RealTimeInputs(
            baseline=baseline,
            plan_kw=self._day_plan_kw(grid),
            end_energy_kwh=self._end_energy(grid),
            expected=expected,
            events=planned,
            commitments=self._events.commitments(grid, planned),
            reliability=self._conduct.reliability(),
        )
        problem, plan = await self._real_time.cycle(grid, inputs)
        plan = plan if plan.made_at is not None else replace(plan, made_at=self._clock.now())
        self.current = problem, plan
        if plan.source is not PlanSource.LAST_GOOD:  # an old plan says nothing new of what can be kept
            admissions = [*plan.admissions, *cars_out_of_sight(self._state, self._clock.now())]
            await self._promises.after_plan(problem, admissions, start)
        return plan

    def _as_it_is(self, planned: Sequence[Event], error: VppError) -> DispatchPlan:
        """When not even a problem can be put together: the plan in force as it is, or nothing, labelled so."""
        plan = self._real_time.ladder.as_it_is(planned)
        if plan is None:
            raise error
        log.error("no problem to plan, the plan before stands", step=plan.step.value, error=str(error))
        if self.current is not None:
            self.current = self.current[0], plan
        return plan

    # ---- delivering

    async def _deliver(self, start: datetime, plan: DispatchPlan, era: int) -> None:
        busy = self._events.windows()
        following = self._rhythm.cycle_after(start, busy)
        # in an event the next stretch is sent along: who does not hear the next cycle still does the right thing
        sent_along = self._rhythm.is_busy(start, busy)
        grace = min(self._rhythm.cycle, GRACE) if sent_along else self._rhythm.cycle
        first = Window(start, following, following + grace)
        windows = [first]
        if sent_along:
            later = self._rhythm.cycle_after(following, busy)
            windows.append(Window(following, later, later + grace))
        planned = self._events.planned(start)
        running = {whole_event(event.event_id) for event in planned}
        held_back = {live.resource_id for live in self._state if live.opted_out_of & running}
        leads = self._real_time.responses.leads(start, self._direction_in(windows[-1]))
        areas = {} if self.current is None else self.current[0].areas
        now, after = self._clock.now(), windows[-1].valid_until
        standing = standing_orders(self._state, now, after, plan, planned, areas, held_back)
        ordered = await self._delivery.deliver(plan, windows, held_back, era, leads, standing)
        if era != self._delivery.era:
            return  # what is in force now is the call's
        for window in windows:
            self._note_curtailed(plan, window, ordered)
        self._note_orders(plan, first, ordered)

    def _direction_in(self, window: Window) -> float:
        """1 where a window belongs to an event that shaves, -1 where to one that fills, 0 where to none or both."""
        events = [event for event in self._events.planned(window.valid_from) if event.target_kw > 0]
        found = {event.direction for event in events if event.start <= window.valid_from < event.end}
        return 0.0 if len(found) != 1 else 1.0 if Direction.SHAVE in found else -1.0

    def _note_orders(self, plan: DispatchPlan, window: Window, ordered: Container[str]) -> None:
        """Remember what is in force at the devices that were sent an order."""
        columns = self._state.columns
        rows, power_kw, baseline_kw = self._means(plan, window, ordered)
        released = self._limits.released(rows, power_kw, baseline_kw)
        columns.ordered_kw[rows] = np.where(released, np.nan, power_kw)
        columns.ordered_until_us[rows] = microseconds(window.valid_until)

    def _note_curtailed(self, plan: DispatchPlan, window: Window, ordered: Container[str]) -> None:
        """Remember what loads are to give up, hour by hour: their limits of the day count it."""
        rows, power_kw, baseline_kw = self._means(plan, window, ordered)
        released = self._limits.released(rows, power_kw, baseline_kw)
        given_up_kw = np.where(released, 0.0, baseline_kw - power_kw)
        for place in np.flatnonzero(self._state.columns.is_load[rows]).tolist():
            live = self._state.at(int(rows[place]))
            if live is not None:
                until = window.plan_until
                live.give_up(window.valid_from, until, float(given_up_kw[place]), float(baseline_kw[place]))

    def _means(
        self, plan: DispatchPlan, window: Window, ordered: Container[str]
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Rows in the live state, mean planned power and baseline over a window, of those who were sent an order."""
        rows = self._state.rows(plan.resource_ids)
        sent = np.array([name in ordered for name in plan.resource_ids], dtype=np.bool_)
        # who has refused meanwhile was quicker than we are
        refused = self._state.columns.refused_until_us[rows] > microseconds(self._clock.now())
        chosen = np.flatnonzero(sent & (rows >= 0) & ~refused)
        means = window_means(plan, chosen, rows[chosen], self._state.columns, window)
        if means is None:
            return rows[:0], np.empty(0), np.empty(0)
        return rows[chosen], *means

    # ---- looking back

    async def _learn(self, start: datetime, tables: Sequence[BaselineTable]) -> None:
        """Look back at the cycle that has just ended: comfort stores, who behaved, and what each event really got.

        Once: a cycle that is tried again or was overtaken has looked back already, and so has one whose time comes a
        second time because the clock was set back.
        """
        if self._learned_at is not None and timedelta(0) <= self._learned_at - start < _SET_BACK:
            return
        before = start - self._rhythm.cycle
        if tables[0].grid.start > before:
            self._learned_at = start  # nothing was ordered before the first table begins
            return
        grid = IntervalGrid((before, start))
        baseline = self._sessions.overlay(merged_baseline(tables, grid), grid, self._state, {})
        means = {name: float(values[0]) for name, values in baseline.items()}
        since = max(timedelta(0), min(start - (self._learned_at or before), DAY))
        self._learned_at = start
        hours = since.total_seconds() / 3600
        columns = self._state.columns
        silent_stores = columns.is_thermal & (columns.measured_us != NEVER_US) & np.isnan(columns.energy_kwh)
        for row in np.flatnonzero(silent_stores).tolist():
            live = self._state.at(row)
            if live is not None and live.resource_id in means:
                beside_kw = float(columns.power_kw[row]) - means[live.resource_id]
                live.advance_comfort(hours, beside_kw if live.is_under_order(before) else 0.0)
        await self._conduct.after_cycle(start, means)
        if self.current is None:
            return
        problem, plan = self.current
        for record in self._events.active():
            event = self._events.judged(record).event  # an emergency: from its approval on
            if start <= event.start and record.event.start < event.start:
                continue  # a call is judged from its first whole cycle on: before it devices were on their way
            if event.start - self._rhythm.around_events < start <= event.end:
                if start > event.start:  # with every change of it
                    ordered_kw = float(self._events.ordered_kw(record, grid)[0])
                    event = event.model_copy(update={"target_kw": ordered_kw})
                ids = [name for name in means if self._counts_for(name, event, problem)]
                planned = _expected_kw(problem, plan, event, ids, plan.grid.index_at(before) or 0)
                self._real_time.learn(start, event, means, ids, planned, self._unheard_kw(event, ids, start))

    def _unheard_kw(self, event: Event, ids: Sequence[str], start: datetime) -> float:
        """What silent processes most likely still bring; nobody is interrupted so that more is drawn."""
        if event.direction is not Direction.SHAVE:
            return 0.0
        rows = self._state.rows(ids)
        rows = rows[rows >= 0]
        silent_for = self._rhythm.cycle + READING_WITHIN
        return unheard_kw(self._state, rows, self._conduct.fractions(rows), start, silent_for)

    def _counts_for(self, resource_id: str, event: Event, problem: DispatchProblem) -> bool:
        """True for everybody who is judged, also who has nothing to decide any more (a process that has run)."""
        live = self._state.get(resource_id)
        return live is not None and is_in_scope(live.record.resource, event, problem.areas)

    # ---- the day plans, from this cycle's point of view

    def _day_plan_at(self, moment: datetime) -> DispatchPlan | None:
        days = (self._day_ahead.days[day].plan for day in sorted(self._day_ahead.days, reverse=True))
        return next((plan for plan in days if plan.grid.index_at(moment) is not None), None)

    def _tables(self, start: datetime) -> list[BaselineTable]:
        today = start.astimezone(self._zone).date()
        days = [today - timedelta(days=1), today, today + timedelta(days=1)]
        known = [self._day_ahead.days[day].baseline for day in days if day in self._day_ahead.days]
        return [self._levels.applied(table) for table in known]

    def _day_plan_kw(self, grid: IntervalGrid) -> dict[str, FloatArray]:
        days = [self._day_ahead.days[day] for day in sorted(self._day_ahead.days)]
        reaching = [day for day in days if day.plan.grid.end > grid.start and day.plan.grid.start < grid.end]
        moved = [(day.plan.grid, day.plan.resource_ids, self._levels.moved(day.plan, day.baseline)) for day in reaching]
        return merged_rows(moved, grid)

    def _end_energy(self, grid: IntervalGrid) -> dict[str, float]:
        """The day plans' stored energy at the end of ``grid`` (where none reaches so far: a day earlier)."""
        for moment in (grid.end, grid.end - DAY):
            for day in sorted(self._day_ahead.days, reverse=True):
                plan = self._day_ahead.days[day].plan
                if plan.grid.start < moment <= plan.grid.end:
                    column = next(t for t, end in enumerate(plan.grid.ends) if end >= moment)
                    return {
                        live.resource_id: float(plan.energy_kwh[plan.row_of[live.resource_id], column])
                        for live in self._state
                        if isinstance(live.record.resource, Storage) and live.resource_id in plan.row_of
                    }
        return {}

    def _set_gauges(self) -> None:
        set_gauges(self._metrics, self._state, self._events.records(), self.measured_kw, self._clock.now())


def _expected_kw(
    problem: DispatchProblem, plan: DispatchPlan, event: Event, ids: Sequence[str], interval: int
) -> FloatArray:
    """What a plan expects of each resource for an event in one interval, ρ (b - p), (n,) kW in its direction.

    0 of who is not in the plan: whatever it brings comes on top.
    """
    known = np.array([name in plan.row_of and name in problem.attributes for name in ids], dtype=np.bool_)
    names = [name for name, is_known in zip(ids, known.tolist(), strict=True) if is_known]
    rows = np.array([plan.row_of[name] for name in names], dtype=np.int64)
    reliability = np.array([problem.attributes[name].reliability_fraction for name in names], dtype=np.float64)
    moved_kw = np.zeros(len(ids))
    moved_kw[known] = reliability * (plan.baseline_kw[rows, interval] - plan.power_kw[rows, interval])
    return moved_kw if event.direction is Direction.SHAVE else -moved_kw
