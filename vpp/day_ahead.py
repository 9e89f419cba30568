"""The day-ahead stage: one baseline table and one plan per market day, and what an event could count on.

The baseline table is made once, blind to all events, and never again for its day; every plan of that day, the
settlement and the proof use the same table (its hash is pinned when an event is approved).  Only the level of its
weather-driven rows follows the day, by a rule that is frozen with it (``vpp.levels``).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.dispatch.check import check_plan
from models.dispatch.merit_order import merit_order
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault, SolverError, VppError
from models.events import Commitment, Direction, Event
from models.intervals import FloatArray, IntervalGrid
from models.plan import NO_SOLVER, DispatchPlan
from models.ports import Clock, Solver
from models.records import BaselineTable, PlanKind
from models.telemetry import ChargingSession
from vpp.forecasting import CityFeed, CityForecast
from vpp.levels import DayLevels
from vpp.problem_builder import ProblemBuilder

log = structlog.get_logger(__name__)

AFTER_EVENT = timedelta(hours=6)
"""A plan reaches this far past the last event window, so that what comes back is planned too."""


BASELINE_BY = timedelta(minutes=30)
"""So long before a market day begins its baseline must be there, made by rule if the solver gives none."""


class PlanCheckError(VppError):
    """A plan did not pass the independent checker and must not be published."""

    def __init__(self, violations: Sequence[object]) -> None:
        self.violations = tuple(violations)
        super().__init__(f"{len(violations)} violations, the first: {violations[0] if violations else None}")


@dataclass(frozen=True)
class DayPlan:
    """What stands for one market day: its baseline table and its newest plan."""

    market_day: date
    baseline: BaselineTable
    plan: DispatchPlan
    problem: DispatchProblem | None
    """None after a restart, if the city's forecast does not reach back to the beginning of the day."""


@dataclass(frozen=True)
class DayInputs:
    """What was known when the day's baseline was made; later plans of the same day use the same."""

    grid: IntervalGrid
    city: CityForecast
    load_profiles: Mapping[str, FloatArray]
    expected: Mapping[str, Sequence[ChargingSession]]
    decided_at: datetime


class DayAheadStage:
    """Makes, keeps and re-makes day plans."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        feed: CityFeed,
        builder: ProblemBuilder,
        solver: Solver,
        load_profiles: Callable[[datetime, IntervalGrid], Mapping[str, FloatArray]],
        expected_sessions: Callable[[datetime, IntervalGrid], Mapping[str, Sequence[ChargingSession]]],
        zone: ZoneInfo,
        interval: timedelta,
        deadline_s: float,
        gap: float,
        quote_gap: float,
        on_plan: Callable[[DispatchPlan, int], None],
        levels: DayLevels,
    ) -> None:
        self._clock = clock
        self._store = store
        self._feed = feed
        self._builder = builder
        self._solver = solver
        self._load_profiles = load_profiles
        self._expected_sessions = expected_sessions
        self._zone = zone
        self._interval = interval
        self._deadline_s = deadline_s
        self._gap = gap
        self._quote_gap = quote_gap
        self._on_plan = on_plan
        self.levels = levels
        self.days: dict[date, DayPlan] = {}
        self.inputs: dict[date, DayInputs] = {}

    def grid_of(self, market_day: date) -> IntervalGrid:
        """The market day and six hours more, whatever events will come: the structure stays when one is declared."""
        day = IntervalGrid.market_day(market_day, self._zone, self._interval)
        return IntervalGrid.market_day(market_day, self._zone, self._interval, until=day.end + AFTER_EVENT)

    async def make(self, market_day: date) -> DayPlan:
        """The baseline table and the price-only plan of a market day (once; a second call returns the first)."""
        if market_day in self.days:
            return self.days[market_day]
        now, grid = self._clock.now(), self.grid_of(market_day)
        inputs = DayInputs(
            grid=grid,
            city=self._feed.forecast(now, grid),
            load_profiles=await asyncio.to_thread(self._load_profiles, now, grid),
            expected=await asyncio.to_thread(self._expected_sessions, now, grid),
            decided_at=now,
        )
        blind = self._problem(inputs, baseline=None)
        plan = await self._solved_blind(blind, market_day)
        table = BaselineTable(market_day, grid, plan.resource_ids, plan.baseline_kw, plan.baseline_hash)
        problem = self._problem(inputs, baseline=table)
        if self._limits_bind(problem, plan):
            plan = await self._solved(problem, self._gap)
        self.inputs[market_day] = inputs
        await self._publish(market_day, table, plan, problem, check_bound=True)
        left_out = sorted(set(self._builder.everyone()) - set(plan.resource_ids))
        if left_out:  # no like days measured yet, or the shape of a run was never sent
            log.warning("not in the day plan", market_day=str(market_day), count=len(left_out), first=left_out[:5])
        return self.days[market_day]

    async def restore(self, market_day: date) -> DayPlan | None:
        """Take up what an earlier run stored for a market day, None if there is nothing.

        The table and the plan are the stored ones; inputs are made again, as of the moment of the first plan: the
        loads' profiles from the table, the cars from what was known then.  Where the city's forecast no longer reaches
        back so far, the day can be carried out and judged, but not planned anew.
        """
        table = await asyncio.to_thread(self._store.baseline, market_day)
        plan = await asyncio.to_thread(self._store.plan_of_day, market_day)
        decided_at = await asyncio.to_thread(self._store.first_planned_at, market_day)
        await asyncio.to_thread(self.levels.restore, market_day)
        if table is None or plan is None or decided_at is None:
            return None
        problem = None
        try:
            expected = await asyncio.to_thread(self._expected_sessions, decided_at, table.grid)
            city = self._feed.forecast(decided_at, table.grid)
            profiles = self._builder.profiles_of(table)
            inputs = DayInputs(table.grid, city, profiles, expected, decided_at)
            problem = self._problem(inputs, baseline=table)
            self.inputs[market_day] = inputs
        except InputError as error:
            log.warning("the day's inputs cannot be made again", market_day=str(market_day), error=str(error))
        self.days[market_day] = DayPlan(market_day, table, plan, problem)
        return self.days[market_day]

    def inputs_of(self, market_day: date) -> DayInputs:
        """What the day's plans are made from; ``InputError`` if that was lost in a restart."""
        if market_day not in self.inputs:
            rule = "its inputs could not be made again after a restart: the city's forecast does not reach back"
            raise InputError([InputFault("day plan", "market_day", str(market_day), rule)])
        return self.inputs[market_day]

    async def prepare(self, market_day: date, busiest_day: Mapping[str, int]) -> None:
        """Let the solver get ready for plans of that day before its data are there."""
        grid = self.grid_of(market_day)
        city = self._feed.forecast(self._clock.now(), grid)
        await self._solver.prepare(self._builder.shape(grid, city, busiest_day, real_time=False))

    async def replan(
        self, market_day: date, events: Sequence[Event], commitments: Sequence[Commitment] = ()
    ) -> DayPlan:
        """The plan of the day with events: same inputs, same baseline table."""
        day = await self.make(market_day)
        problem = self._problem(
            self.inputs_of(market_day), baseline=day.baseline, events=events, commitments=commitments
        )
        plan = await self._solved(problem, self._gap)
        try:
            await self._publish(market_day, day.baseline, plan, problem, check_bound=False)
        except PlanCheckError as error:
            if plan.source in NO_SOLVER:
                raise
            log.error("plan not published", step=plan.step.value, violations=[str(e) for e in error.violations[:5]])
            ruled = await asyncio.to_thread(merit_order, problem)
            await self._publish(market_day, day.baseline, ruled, problem, check_bound=False)
        return self.days[market_day]

    async def callable_kw(
        self, market_day: date, wanted: Sequence[Event], standing: Sequence[Event] = ()
    ) -> dict[str, float]:
        """The greatest level power that each of ``wanted`` could count on, up to what it asks, beside ``standing``.

        The plan that leaves the least of the asked energy unserved is made; the smallest interval of it can
        be held
        throughout.  Asking for just that once more shows whether energy that was spent elsewhere lifts it.
        """
        day = await self.make(market_day)
        asked = list(wanted)
        best = dict.fromkeys((event.event_id for event in wanted), 0.0)
        for _ in range(3):
            problem = self._problem(self.inputs_of(market_day), baseline=day.baseline, events=[*standing, *asked])
            plan = await self._solved(problem, self._quote_gap)
            level = {event.event_id: level_kw(problem, plan, event) for event in asked}
            mean = {event.event_id: mean_kw(problem, plan, event) for event in asked}
            for name, value in level.items():
                best[name] = max(best[name], value)
            if all(level[event.event_id] >= 0.985 * event.target_kw for event in asked):
                break
            asked = [
                event.model_copy(
                    update={
                        "target_kw": event.target_kw
                        if level[event.event_id] >= 0.985 * event.target_kw
                        else max(best[event.event_id], min(mean[event.event_id], event.target_kw))
                    }
                )
                for event in asked
            ]
        return {event.event_id: min(best[event.event_id], event.target_kw) for event in wanted}

    async def _solved(self, problem: DispatchProblem, gap: float) -> DispatchPlan:
        """The solver's plan, else that of merit order, which says so."""
        try:
            return await self._solver.solve(problem, deadline_s=self._deadline_s, gap=gap)
        except SolverError as error:
            log.error("no plan from the solver, the day is planned by rule", error=str(error))
            return await asyncio.to_thread(merit_order, problem)

    async def _solved_blind(self, blind: DispatchProblem, market_day: date) -> DispatchPlan:
        """The plan that the day's baseline comes from.

        A baseline stands for its whole day: as long as there is time a solver that fails is asked again (the error is
        raised, and the runtime comes back).  A day without any is worse than one that nobody has optimised.
        """
        begins = IntervalGrid.market_day(market_day, self._zone, self._interval).start
        try:
            return await self._solver.solve(blind, deadline_s=self._deadline_s, gap=self._gap)
        except SolverError as error:
            if self._clock.now() < begins - BASELINE_BY:
                raise
            log.error("the day's baseline is made by rule: undisturbed devices", day=str(market_day), error=str(error))
            return await asyncio.to_thread(merit_order, blind)

    def _problem(
        self,
        inputs: DayInputs,
        *,
        baseline: BaselineTable | None,
        events: Sequence[Event] = (),
        commitments: Sequence[Commitment] = (),
    ) -> DispatchProblem:
        return self._builder.day_ahead(
            inputs.grid,
            inputs.decided_at,
            inputs.city,
            load_profiles=inputs.load_profiles,
            expected=inputs.expected,
            events=events,
            commitments=commitments,
            baseline=baseline,
        )

    @staticmethod
    def _limits_bind(problem: DispatchProblem, plan: DispatchPlan) -> bool:
        load = problem.zone_load_kw.copy()
        zone_of = {zone: index for index, zone in enumerate(problem.zones)}
        zone = np.array([zone_of[problem.attributes[name].zone_id] for name in plan.resource_ids], dtype=np.int64)
        np.add.at(load, zone, plan.power_kw)
        return bool((load > problem.zone_limit_kw).any())

    async def _publish(
        self,
        market_day: date,
        table: BaselineTable,
        plan: DispatchPlan,
        problem: DispatchProblem,
        *,
        check_bound: bool,
    ) -> None:
        checked = problem if plan.baseline_hash == table.baseline_hash else replace(problem, baseline_kw=None)
        report = await asyncio.to_thread(check_plan, checked, plan, bound=check_bound, baseline=check_bound)
        self._on_plan(plan, len(report.violations))
        if report.violations:
            raise PlanCheckError(report.violations)
        if plan.source in NO_SOLVER:
            plan = replace(plan, objective_cny=report.objective_cny)  # the rule knows no cost: what the checker finds
        plan = replace(plan, made_at=self._clock.now())
        await asyncio.to_thread(self._save, table, plan)
        self.days[market_day] = DayPlan(market_day, table, plan, problem)
        log.info(
            "day plan",
            market_day=str(market_day),
            step=plan.step.value,
            status=plan.status,
            gap=plan.gap,
            wall_s=plan.wall_s,
        )

    def _save(self, table: BaselineTable, plan: DispatchPlan) -> None:
        """Table and plan together: neither is of use alone (a table that is there already stays)."""
        with self._store.transaction():
            self._store.save_baseline(
                table.market_day, table.grid, table.resource_ids, table.baseline_kw, table.baseline_hash
            )
            self._store.save_plan(PlanKind.DAY_AHEAD, table.market_day, plan)


def delivered_kw(problem: DispatchProblem, plan: DispatchPlan, event: Event) -> FloatArray:
    """Expected change that counts for an event, Σ ρ (b - p) over its scope (p - b for fill), (T,)."""
    names = problem.in_scope(event)
    rows = np.array([plan.row_of[name] for name in names], dtype=np.int64)
    reliability = np.array([problem.attributes[name].reliability_fraction for name in names], dtype=np.float64)
    total: FloatArray = reliability @ (plan.baseline_kw[rows] - plan.power_kw[rows])
    return total if event.direction is Direction.SHAVE else -total


def level_kw(problem: DispatchProblem, plan: DispatchPlan, event: Event) -> float:
    """What the plan holds throughout the window of an event, at least 0."""
    inside = plan.grid.inside(event.start, event.end)
    return max(0.0, float(delivered_kw(problem, plan, event)[inside].min(initial=np.inf)))


def mean_kw(problem: DispatchProblem, plan: DispatchPlan, event: Event) -> float:
    """The mean of what the plan delivers over the window of an event."""
    inside = plan.grid.inside(event.start, event.end)
    hours = plan.grid.hours[inside]
    return float((delivered_kw(problem, plan, event)[inside] * hours).sum() / hours.sum())
