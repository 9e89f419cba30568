"""The ladder: what stands where nothing better can be had, one step below the other, and every step says what it is.

    optimal      the solver's plan, proven                                      最优计划
    incumbent    the best it found by the deadline, with its gap                可行计划（附最优性差距）
    last good    the plan before, as far as every device can still follow it    沿用上一次有效计划
    rule         merit order: cheapest first from the measured state            按成本排序的规则计划
    hold         no orders: setpoints end, and devices fall back by themselves  不下发指令，设备回落自有控制

A plan is taken only if the independent checker finds nothing; else the next step is tried.  The last good plan stands
for ``LAST_GOOD_FOR`` at most, and only for the events it was made for: an order that is new, changed or over is none
of its business.  Climbing needs nothing: every cycle begins at the top.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import structlog

from models.dispatch.check import check_plan
from models.dispatch.merit_order import merit_order
from models.dispatch.problem import DispatchProblem
from models.errors import SolverError
from models.events import Event
from models.plan import NO_SOLVER, DispatchPlan, LadderStep, PlanSource
from models.ports import Clock, Solver

log = structlog.get_logger(__name__)

LAST_GOOD_FOR = timedelta(hours=1)

_NAN = math.nan

STEPS = tuple(LadderStep)
"""From the top down: the metric counts them from 0."""

Noted = Callable[[DispatchPlan, int], None]
"""Hears of every plan that was checked, with the number of violations found."""


@dataclass(frozen=True)
class Standing:
    """A plan that was published, when, and for which events (those of the operator, feedback left out)."""

    plan: DispatchPlan
    since: datetime
    events: tuple[Event, ...]

    def serves(self, events: Sequence[Event], now: datetime) -> bool:
        """Whether it is young enough, reaches beyond now, and was made for these events."""
        young = now - self.since <= LAST_GOOD_FOR and self.plan.grid.index_at(now) is not None
        return young and _asked(self.events, now) == _asked(events, now)


def _asked(events: Sequence[Event], now: datetime) -> set[tuple[object, ...]]:
    """What is ordered from now on; the event whose rebound is watched asks for nothing."""
    return {
        (event.direction, event.scope_kind, event.scope_id, max(event.start, now), event.end, event.target_kw)
        for event in events
        if event.end > now and event.target_kw > 0
    }


class Ladder:
    """Goes down the ladder for one stage until a plan passes the checker."""

    def __init__(self, *, clock: Clock, solver: Solver, on_plan: Noted) -> None:
        self._clock = clock
        self._solver = solver
        self._on_plan = on_plan
        self.last_good: Standing | None = None
        """The newest plan of a solver."""
        self.in_force: Standing | None = None
        """The newest plan of any step but the last."""

    async def plan(
        self,
        problem: DispatchProblem,
        events: Sequence[Event],
        *,
        deadline_s: float,
        gap: float,
        bound: bool = False,
        baseline: bool = False,
    ) -> DispatchPlan:
        """The best plan that can be had, of which the checker finds nothing; if none can, that of holding.

        ``events``: what the operator asks for.  ``bound``, ``baseline``: what is checked beside the schedule.
        """
        async for plan in self._downwards(problem, events, deadline_s, gap):
            taken = await self._checked(problem, plan, bound=bound, baseline=baseline)
            if taken is not None:
                self.published(taken, events)
                return taken
        return self.hold(problem)

    async def another(self, problem: DispatchProblem, *, deadline_s: float, gap: float) -> DispatchPlan | None:
        """The solver's plan of another problem where one stands already; None if there is none that passes the checker.

        Nothing is published and no step down is taken: what stands is better than a rule.
        """
        try:
            plan = await self._solver.solve(problem, deadline_s=deadline_s, gap=gap)
        except SolverError as error:
            log.warning("what was asked otherwise has no plan, the one before stands", error=str(error))
            return None
        return await self._checked(problem, plan)

    async def _checked(
        self, problem: DispatchProblem, plan: DispatchPlan, *, bound: bool = False, baseline: bool = False
    ) -> DispatchPlan | None:
        """The plan as it may be published; None if the checker finds anything."""
        proven = plan.source not in NO_SOLVER
        report = await asyncio.to_thread(
            check_plan, problem, plan, bound=bound and proven, baseline=baseline and proven
        )
        self._on_plan(plan, len(report.violations))
        if report.violations:
            violations = [str(each) for each in report.violations[:5]]
            log.error("plan not published", step=plan.step.value, violations=violations)
            return None
        # what a rule costs is what the checker found it to cost
        taken = plan if proven else replace(plan, objective_cny=report.objective_cny)
        return taken if taken.made_at is not None else replace(taken, made_at=self._clock.now())

    def published(self, plan: DispatchPlan, events: Sequence[Event]) -> None:
        """Remember a plan as the one in force."""
        self.in_force = Standing(plan, self._clock.now(), tuple(events))
        if plan.source not in NO_SOLVER:
            self.last_good = self.in_force

    def as_it_is(self, events: Sequence[Event]) -> DispatchPlan | None:
        """Where not even a problem can be put together: the plan in force, unchanged, or that of holding.

        None if there was never a plan.
        """
        if self.in_force is None:
            return None
        if not self.in_force.serves(events, self._clock.now()):
            return self._holding(self.in_force.plan)
        plan = self.in_force.plan
        if plan.source is not PlanSource.RULE:
            plan = replace(plan, source=PlanSource.LAST_GOOD, status="fallback", made_at=self.in_force.since)
        self._on_plan(plan, 0)
        return plan

    def hold(self, problem: DispatchProblem) -> DispatchPlan:
        """Nobody is told anything: everybody as in the baseline, which is what is expected then."""
        shape = (len(problem.fleet.resource_ids), len(problem.grid))
        baseline = np.zeros(shape) if problem.baseline_kw is None else problem.baseline_kw
        nothing = np.full(shape, np.nan)
        return self._holding(
            DispatchPlan(
                grid=problem.grid,
                resource_ids=problem.fleet.resource_ids,
                power_kw=baseline,
                energy_kwh=nothing,
                baseline_kw=baseline,
                baseline_energy_kwh=nothing,
                status="hold",
                source=PlanSource.HOLD,
                objective_cny=_NAN,
                baseline_cost_cny=_NAN,
                lower_bound_cny=-math.inf,
                iterations=0,
                wall_s=0.0,
                penalties=problem.penalties.as_dict(),
            )
        )

    def _holding(self, plan: DispatchPlan) -> DispatchPlan:
        held = replace(
            plan,
            power_kw=plan.baseline_kw,
            energy_kwh=np.full(plan.power_kw.shape, np.nan),
            source=PlanSource.HOLD,
            status="hold",
            objective_cny=_NAN,
            lower_bound_cny=-math.inf,
            unmet=(),
            prices=(),
        )
        self._on_plan(held, 0)
        log.error("no plan can be had, nothing is sent: devices fall back by themselves")
        return held

    async def _downwards(
        self, problem: DispatchProblem, events: Sequence[Event], deadline_s: float, gap: float
    ) -> AsyncIterator[DispatchPlan]:
        """One plan from every step that gives one."""
        try:
            yield await self._solver.solve(problem, deadline_s=deadline_s, gap=gap)
        except SolverError as error:
            log.error("no plan from the solver", error=str(error))
        last = self.last_good
        if last is not None and last.serves(events, self._clock.now()):
            async for plan in self._by_rule(problem, last.plan):
                yield replace(plan, made_at=last.since)  # as old as what it follows
        async for plan in self._by_rule(problem, None):
            yield plan

    @staticmethod
    async def _by_rule(problem: DispatchProblem, near: DispatchPlan | None) -> AsyncIterator[DispatchPlan]:
        try:
            yield await asyncio.to_thread(merit_order, problem, near)
        except (ArithmeticError, LookupError, ValueError) as error:  # below it nothing is left that could catch a fault
            log.error("the rule gave no plan", error=f"{type(error).__name__}: {error}")
