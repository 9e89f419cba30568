"""The ladder: every step is tried in its turn, says what it is, and is taken only if the checker finds nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

import vpp.ladder
from models.dispatch.check import check_plan
from models.dispatch.merit_order import merit_order, undisturbed_kw
from models.dispatch.problem import DispatchProblem
from models.errors import DeadlineError, SolverError
from models.events import Event
from models.plan import LADDER_EN, LADDER_ZH, DispatchPlan, LadderStep, PlanSource
from simulations.clock import VirtualClock
from tests.fleets import random_problem
from vpp.ladder import LAST_GOOD_FOR, STEPS, Ladder

MADE = random_problem(2, resources=8, intervals=12)
PROBLEM = replace(MADE, baseline_kw=undisturbed_kw(MADE))
(EVENT,) = PROBLEM.events
MINUTE = timedelta(minutes=1)


class Scripted:
    """A solver that gives what the test says."""

    def __init__(self) -> None:
        self.gives: Callable[[DispatchProblem], DispatchPlan] = solved

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        return self.gives(problem)

    async def prepare(self, problem: DispatchProblem) -> None: ...


def solved(problem: DispatchProblem) -> DispatchPlan:
    plan = merit_order(problem)
    objective = check_plan(problem, plan, bound=False, baseline=False).objective_cny
    return replace(plan, source=PlanSource.REFERENCE, status="optimal", objective_cny=objective)


def nothing(problem: DispatchProblem) -> DispatchPlan:
    raise DeadlineError(1.0)


def crashed(problem: DispatchProblem) -> DispatchPlan:
    raise SolverError("crashed", "the solver's process ended")


def spoilt(problem: DispatchProblem) -> DispatchPlan:
    plan = solved(problem)
    return replace(plan, power_kw=plan.power_kw - 500.0)


class Descent:
    """A ladder whose solver a test scripts, and what it has told."""

    def __init__(self) -> None:
        self.clock = VirtualClock(PROBLEM.grid.start)
        self.solver = Scripted()
        self.told: list[tuple[LadderStep, int]] = []
        self.ladder = Ladder(
            clock=self.clock, solver=self.solver, on_plan=lambda plan, bad: self.told.append((plan.step, bad))
        )

    async def plan(self, events: tuple[Event, ...] = (EVENT,)) -> DispatchPlan:
        problem = replace(PROBLEM, events=events)
        plan = await self.ladder.plan(problem, events, deadline_s=1.0, gap=1e-3)
        if plan.step is not LadderStep.HOLD:
            assert not check_plan(problem, plan, bound=False, baseline=False).violations
        return plan

    async def later(self, moment: datetime) -> None:
        await self.clock.advance_to(moment)


@pytest.fixture
def descent() -> Descent:
    return Descent()


async def test_a_proven_plan_is_optimal_and_one_cut_off_by_the_deadline_an_incumbent(descent: Descent) -> None:
    assert (await descent.plan()).step is LadderStep.OPTIMAL
    descent.solver.gives = lambda problem: replace(solved(problem), status="feasible")
    plan = await descent.plan()
    assert plan.step is LadderStep.INCUMBENT
    assert plan.made_at == descent.clock.now()


@pytest.mark.parametrize("gives", [solved, nothing, crashed, spoilt])
async def test_another_plan_is_checked_takes_no_step_down_and_nobody_s_place(
    descent: Descent, gives: Callable[[DispatchProblem], DispatchPlan]
) -> None:
    standing = await descent.plan()
    descent.solver.gives = gives
    plan = await descent.ladder.another(PROBLEM, deadline_s=1.0, gap=1e-3)
    assert (plan is not None) == (gives is solved)
    for known in (descent.ladder.in_force, descent.ladder.last_good):
        assert known is not None
        assert known.plan is standing
    assert {step for step, _ in descent.told} == {LadderStep.OPTIMAL}


@pytest.mark.parametrize("gives", [nothing, crashed, spoilt])
async def test_without_a_plan_from_the_solver_the_last_good_one_stands_as_old_as_it_is(
    descent: Descent, gives: Callable[[DispatchProblem], DispatchPlan]
) -> None:
    good = await descent.plan()
    await descent.later(PROBLEM.grid.start + 10 * MINUTE)
    descent.solver.gives = gives
    plan = await descent.plan()
    assert plan.step is LadderStep.LAST_GOOD
    assert plan.made_at == PROBLEM.grid.start
    assert math.isnan(plan.gap)  # it has no certificate, and claims none
    assert math.isfinite(plan.objective_cny)  # what the checker found it to cost
    assert plan.power_kw == pytest.approx(good.power_kw, abs=1e-6)
    violations = {bad for step, bad in descent.told if step is LadderStep.OPTIMAL}
    assert (max(violations) > 0) == (gives is spoilt)


async def test_the_last_good_plan_is_too_old_after_an_hour(descent: Descent) -> None:
    await descent.plan()
    descent.solver.gives = nothing
    await descent.later(PROBLEM.grid.start + LAST_GOOD_FOR)
    assert (await descent.plan()).step is LadderStep.LAST_GOOD
    await descent.later(PROBLEM.grid.start + LAST_GOOD_FOR + MINUTE)
    assert (await descent.plan()).step is LadderStep.RULE


async def test_the_last_good_plan_does_not_serve_an_order_it_was_not_made_for(descent: Descent) -> None:
    await descent.plan()
    descent.solver.gives = nothing
    larger = EVENT.model_copy(update={"target_kw": 2 * EVENT.target_kw})
    assert (await descent.plan((larger,))).step is LadderStep.RULE
    assert (await descent.plan(())).step is LadderStep.RULE  # taken back
    assert (await descent.plan()).step is LadderStep.LAST_GOOD


async def test_merit_order_serves_the_order_where_there_was_never_a_plan(descent: Descent) -> None:
    descent.solver.gives = nothing
    plan = await descent.plan()
    assert plan.step is LadderStep.RULE
    assert np.array_equal(plan.power_kw, merit_order(PROBLEM).power_kw)


async def test_nothing_is_told_where_the_rule_fails_too(descent: Descent, monkeypatch: pytest.MonkeyPatch) -> None:
    descent.solver.gives = nothing

    def broken(problem: DispatchProblem, near: DispatchPlan | None = None) -> DispatchPlan:
        raise ValueError("a fault of our own")

    monkeypatch.setattr(vpp.ladder, "merit_order", broken)
    plan = await descent.plan()
    assert plan.step is LadderStep.HOLD
    assert plan.power_kw == pytest.approx(PROBLEM.baseline_kw)
    assert descent.told == [(LadderStep.HOLD, 0)]
    assert descent.ladder.in_force is None  # nobody follows it


async def test_nothing_is_told_where_every_step_breaks_a_limit(
    descent: Descent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await descent.plan()
    descent.solver.gives = spoilt

    def wrong(problem: DispatchProblem, near: DispatchPlan | None = None) -> DispatchPlan:
        plan = merit_order(problem, near)
        return replace(plan, power_kw=plan.power_kw - 500.0)

    monkeypatch.setattr(vpp.ladder, "merit_order", wrong)
    assert (await descent.plan()).step is LadderStep.HOLD
    assert [step for step, bad in descent.told if bad] == [LadderStep.OPTIMAL, LadderStep.LAST_GOOD, LadderStep.RULE]


async def test_without_a_problem_the_plan_in_force_stands_for_its_events_and_its_time(descent: Descent) -> None:
    assert descent.ladder.as_it_is((EVENT,)) is None
    good = await descent.plan()
    plan = descent.ladder.as_it_is((EVENT,))
    assert plan is not None
    assert (plan.step, plan.plan_hash) == (LadderStep.LAST_GOOD, good.plan_hash)
    gone = descent.ladder.as_it_is(())
    assert gone is not None
    assert gone.step is LadderStep.HOLD
    await descent.later(PROBLEM.grid.start + LAST_GOOD_FOR + MINUTE)
    old = descent.ladder.as_it_is((EVENT,))
    assert old is not None
    assert old.step is LadderStep.HOLD


async def test_the_next_plan_of_the_solver_is_at_the_top_again(descent: Descent) -> None:
    descent.solver.gives = nothing
    await descent.plan()
    descent.solver.gives = solved
    assert (await descent.plan()).step is LadderStep.OPTIMAL


def test_every_step_has_a_name_in_both_languages() -> None:
    assert set(LADDER_ZH) == set(LADDER_EN) == set(LadderStep) == set(STEPS)
