"""Solver and clock fail while an event runs: the ladder holds, says so, and the service recovers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from models.dispatch.problem import DispatchProblem
from models.plan import DispatchPlan, LadderStep
from models.ports import Clock
from simulations.clock import VirtualClock
from tests.flow.conftest import FlakySolver, MakeWorld, World, really
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE
from tests.odd_solvers import Troubled
from vpp.solver_pool import SolverPool

ORDER_KW = 300.0
OFFSET = timedelta(seconds=15)
STOPPED = EVENT_START + 3 * CYCLE
"""The cycle in which things go wrong."""


async def at_work(make_world: MakeWorld, **options: object) -> World:
    """A world whose event has been running for nearly a quarter of an hour."""
    world = await make_world("embedded", **options)
    await world.order(ORDER_KW)
    await world.until(STOPPED - MINUTE)
    return world


def mean_kw(world: World, first: int, last: int) -> float:
    """Mean reduction from cycle ``first`` to the end of cycle ``last`` of the event."""
    return -world.fleet_kw(EVENT_START + first * CYCLE, EVENT_START + (last + 1) * CYCLE)


async def step(world: World) -> LadderStep:
    """The step of the ladder that the doors show; the gauge must say the same."""
    plan = await world.service.current_plan()
    assert plan is not None
    assert world.metric("vpp_ladder_step", kind="real_time") == list(LadderStep).index(plan.step)
    return plan.step


TOP = (LadderStep.OPTIMAL, LadderStep.INCUMBENT)


# ---- the solver


class TroubledPool(SolverPool):
    """The service's own pool, with a short deadline while its worker hangs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Troubled(folder), grace_s=0.2)
        self.folder, self.hung_s = folder, 60.0

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        hangs = (self.folder / "stall").exists()
        return await super().solve(problem, deadline_s=self.hung_s if hangs else 60.0, gap=gap)


@contextmanager
def stalled(pool: TroubledPool) -> Iterator[None]:
    (pool.folder / "stall").touch()
    try:
        yield
    finally:
        (pool.folder / "stall").unlink(missing_ok=True)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[TroubledPool]:
    made = TroubledPool(tmp_path)
    yield made
    await made.close()


@pytest.mark.slow
async def test_the_solver_is_killed_in_mid_solve_and_the_last_good_plan_goes_on(
    make_world: MakeWorld, pool: TroubledPool
) -> None:
    world = await at_work(make_world, solver=pool)
    assert await step(world) in TOP
    sequence = dict(world.service.runtime.delivery.last_sequence)
    with stalled(pool):
        passing = asyncio.create_task(world.until(STOPPED + MINUTE))
        await really((pool.folder / "solving").exists)
        worker = pool.worker_pid
        assert worker is not None
    os.kill(worker, signal.SIGKILL)
    await passing
    assert await step(world) is LadderStep.LAST_GOOD
    assert world.metric("vpp_ladder_steps_total", kind="real_time", step="last_good") == 1
    assert all(world.service.runtime.delivery.last_sequence[name] > sequence[name] for name in sequence)
    await world.until(STOPPED + CYCLE + MINUTE)
    assert await step(world) in TOP
    assert pool.worker_pid not in (None, worker)
    assert mean_kw(world, 3, 3) == pytest.approx(ORDER_KW, rel=0.1)
    assert world.metric("vpp_plan_violations_total") == 0


@pytest.mark.slow
async def test_a_solver_that_never_answers_costs_its_deadline_and_merit_order_serves_what_is_new(
    make_world: MakeWorld, pool: TroubledPool
) -> None:
    world = await at_work(make_world, solver=pool)
    pool.hung_s = 0.5
    with stalled(pool):
        await world.until(STOPPED + CYCLE + MINUTE)
        assert await step(world) is LadderStep.LAST_GOOD
        await world.service.terminate("night", "operator-li", "enough")
        await world.until(STOPPED + 2 * CYCLE + MINUTE)
        assert await step(world) is LadderStep.RULE
        await world.until(STOPPED + 4 * CYCLE + MINUTE)
    assert mean_kw(world, 3, 4) == pytest.approx(ORDER_KW, rel=0.1)
    shares = [mean_kw(world, k, k) / ORDER_KW for k in (5, 6)]
    assert shares == pytest.approx([0.75, 0.5], abs=0.1)  # down the ramp, by rule
    assert world.metric("vpp_ladder_steps_total", kind="day_ahead", step="rule") == 1
    await world.until(STOPPED + 5 * CYCLE + MINUTE)
    assert await step(world) in TOP


async def test_without_a_solver_at_midnight_the_day_has_a_baseline_and_its_event_is_served_by_rule(
    make_world: MakeWorld, flaky: FlakySolver
) -> None:
    world = await make_world("embedded", solver=flaky, until=None)
    flaky.failing = True
    await world.until(EVENT_START - timedelta(hours=1, minutes=40))  # 23:20 local
    assert world.service.runtime.day_ahead.days == {}, "the solver is asked again while there is time"
    await world.until(EVENT_START - timedelta(hours=1, minutes=20))
    (day,) = world.service.runtime.day_ahead.days.values()
    assert day.plan.step is LadderStep.RULE
    assert world.metric("vpp_ladder_step", kind="day_ahead") == 3
    record = await world.order(ORDER_KW)
    assert record.callable_kw is not None
    assert record.callable_kw >= ORDER_KW - 1e-6
    await world.until(EVENT_START + 4 * CYCLE)
    assert await step(world) is LadderStep.RULE
    assert mean_kw(world, 1, 3) == pytest.approx(ORDER_KW, rel=0.1)
    flaky.failing = False
    await world.until(EVENT_START + 5 * CYCLE)
    assert await step(world) in TOP


# ---- the clock


class SteppedClock:
    """A wall clock that somebody sets; answers to ``models.ports.Clock`` as the service's own does."""

    def __init__(self, true: VirtualClock) -> None:
        self._true, self.off = true, timedelta(0)
        self._set = asyncio.Event()

    def now(self) -> datetime:
        return self._true.now() + self.off

    def set_off(self, off: timedelta) -> None:
        self.off = off

    async def sleep_until(self, moment: datetime) -> None:
        while self.now() < moment:
            off = self.off
            await self._true.sleep_until(min(moment - off, self._true.now() + timedelta(seconds=30)))
            if self.off < off:
                return


@pytest.mark.parametrize("minutes", [4, -4, 40, -40])
async def test_a_clock_that_is_set_wrong_and_right_again_neither_stops_nor_doubles_cycles(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    clocks: list[SteppedClock] = []

    def stepped(world: World) -> Clock:
        clocks.append(SteppedClock(world.clock))
        return clocks[-1]

    world = await make_world("embedded", service_clock=stepped)
    await world.order(ORDER_KW, end=EVENT_END + timedelta(hours=1))
    await world.until(STOPPED - MINUTE)
    (clock,) = clocks
    cycles = world.metric("vpp_cycle_seconds_count", kind="real_time")
    world.cut.update(world.aggregators)
    clock.set_off(minutes * MINUTE)
    await world.until(STOPPED + 2 * CYCLE - MINUTE)
    clock.set_off(timedelta(0))
    await world.until(STOPPED + 2 * CYCLE + MINUTE)
    world.cut.clear()
    async with asyncio.timeout(20):
        for each in world.aggregators.values():
            await each.gateway.settled()
    await world.until(STOPPED + 5 * CYCLE + MINUTE)
    assert world.metric("vpp_clock_steps_total", direction="back") == 1
    run = world.metric("vpp_cycle_seconds_count", kind="real_time") - cycles
    assert 6 <= run <= 9  # one for each of six boundaries, and one more where a time came twice
    assert await step(world) in TOP
    await world.until(EVENT_START + 12 * CYCLE)
    given = mean_kw(world, 0, 11) / ORDER_KW
    assert 0.85 <= given <= 1.15  # the hour makes good what it was heard to miss; two cycles were not heard
    assert world.service.runtime.conduct.in_quarantine() == []
    for name, each in world.aggregators.items():
        assert each.gateway.state.counts["out_of_order"] == 0, name
        batches = [row for row in each.heard if row[0] >= STOPPED]
        stands_until = EVENT_END + timedelta(hours=1)
        assert all(begin < end <= begin + 4 * CYCLE or end >= stands_until for _, _, _, begin, end in batches)
