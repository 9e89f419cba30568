"""An emergency: from the second person's approval to setpoints at the gateways, without asking and without waiting."""

import asyncio
import time
from datetime import datetime, timedelta

import pytest

from models.dispatch.problem import DispatchProblem
from models.errors import AccessError, InputError
from models.events import EventRecord, NoticeType, ScopeKind
from models.life_cycle import EventStatus
from models.plan import DispatchPlan, PlanSource
from models.records import PlanKind
from simulations.wire.gateway import Answer
from tests.flow.conftest import MakeWorld, ThreadSolver, World, really
from tests.flow.small_city import CYCLE, EVENT_START, MINUTE, PLANNED, START

OPEN = {"event_id": "night", "start": EVENT_START - 3 * CYCLE, "end": EVENT_START + 12 * CYCLE}


async def called(world: World, ordered_kw: float, **changes: object) -> EventRecord:
    record = await world.declare(ordered_kw, **{**OPEN, **changes})
    assert record.notice_type is NoticeType.EMERGENCY
    (record,) = await world.service.approve(["night"], "approver-wang")
    return record


async def test_a_call_with_its_window_open_reaches_the_gateways_at_once_and_asks_nobody(make_world: MakeWorld) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    heard = {name: len(each.heard) for name, each in world.aggregators.items()}
    record = await world.declare(240.0, **OPEN)
    assert record.notice_type is NoticeType.EMERGENCY
    assert record.callable_kw is not None
    assert record.callable_kw > 240
    with pytest.raises(AccessError, match="second person"):
        await world.service.approve(["night"], "operator-li")
    (record,) = await world.service.approve(["night"], "approver-wang")
    at, plan = world.clock.now(), world.service.store.latest_plan(PlanKind.REAL_TIME)
    shown = await world.service.current_plan()
    assert shown is not None
    assert shown.plan_hash == world.service.runtime.delivery.executed_hash  # until the next cycle
    assert shown.status == "direct_call"
    assert [step.status.value for step in record.steps] == ["declared", "approved", "notified", "executing"]
    assert sum(record.share_kw.values()) == pytest.approx(240, rel=0.01)
    assert record.accepted_kw == {}
    await world.clock.settle()
    ordered = {}
    for name, each in world.aggregators.items():
        for moment, resource_id, kw, valid_from, valid_until in each.heard[heard[name] :]:
            assert moment == at
            if valid_from == at:  # a cycle follows at once, from its boundary on, and knows the same
                assert valid_until > EVENT_START
                ordered[resource_id] = kw
        (notice,) = each.gateway.state.notices if name in record.share_kw else [None]
        if notice is not None:
            assert (notice.status, notice.notice_type, notice.respond_by) == ("notified", "emergency", None)
            assert each.gateway.state.counts["answers"] == 0
    assert -sum(kw or 0.0 for kw in ordered.values()) == pytest.approx(240, rel=0.01)

    # it was kept before it left, under the name of the rule; the next cycle plans it with the solver
    assert plan is not None
    assert (plan.source, plan.status) == (PlanSource.RULE, "direct_call")
    kept = dict(zip(plan.resource_ids, plan.power_kw[:, 0], strict=True))
    assert kept.keys() <= ordered.keys()
    assert {name: ordered[name] for name in kept} == pytest.approx(kept, abs=1e-6)
    await world.until(EVENT_START + MINUTE)
    assert world.service.runtime.current is not None
    assert world.service.runtime.current[1].source is PlanSource.FAST
    await world.until(EVENT_START + 12 * CYCLE)
    cycles = [EVENT_START + k * CYCLE for k in range(12)]
    by_cycle_kw = [-world.fleet_kw(each, each + CYCLE) for each in cycles]
    assert by_cycle_kw == pytest.approx([240] * 12, rel=0.25)  # a call in mid-cycle was once bought half again after it
    assert by_cycle_kw[1] == pytest.approx(240, rel=0.15)
    assert -world.fleet_kw(EVENT_START + MINUTE, EVENT_START + 12 * CYCLE) == pytest.approx(240, rel=0.1)
    await world.until(EVENT_START + 12 * CYCLE + timedelta(hours=6, minutes=31))
    record = world.event()
    assert record.status is EventStatus.EVALUATED
    assert record.evaluation is not None
    assert record.evaluation["ratio_by_hour"] == pytest.approx([1.0], abs=0.1)
    assert world.metric("vpp_plan_violations_total") == 0


class SlowSolver:
    """Solves as usual, but only when it is let."""

    def __init__(self, solver: ThreadSolver) -> None:
        self._solver = solver
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = False

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        self.waiting = not self.free.is_set()
        await self.free.wait()
        self.waiting = False
        return await self._solver.solve(problem, deadline_s=deadline_s, gap=gap)

    async def prepare(self, problem: DispatchProblem) -> None:
        await self._solver.prepare(problem)


async def test_a_call_waits_for_no_solve_and_what_that_comes_to_is_not_sent(
    make_world: MakeWorld, solver: ThreadSolver
) -> None:
    slow = SlowSolver(solver)
    world = await make_world(solver=slow, until=EVENT_START - CYCLE + MINUTE)
    await world.declare(240.0, **OPEN)
    slow.free.clear()
    boundary = world.clock.now().replace(minute=30, second=0) if world.clock.now().minute < 30 else None
    moving = asyncio.create_task(world.until((boundary or EVENT_START) + timedelta(seconds=20)))
    await really(lambda: slow.waiting)  # a cycle holds the runtime's lock
    began = time.monotonic()
    (record,) = await asyncio.wait_for(world.service.approve(["night"], "approver-wang"), 5)
    assert time.monotonic() - began < 5
    assert record.status is EventStatus.EXECUTING
    assert slow.waiting
    await really(lambda: sum(-(kw or 0) for kw in newest(world).values()) > 230)
    sequences = dict(world.service.runtime.delivery.last_sequence)
    slow.free.set()
    await moving
    assert -sum(kw or 0 for kw in newest(world).values()) == pytest.approx(240, rel=0.05)  # planned anew with it
    after = world.service.runtime.delivery.last_sequence
    assert all(after[name] >= sequence for name, sequence in sequences.items())
    await world.until(EVENT_START + 6 * CYCLE)
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE, EVENT_START + 6 * CYCLE) == pytest.approx(240, rel=0.1)


def newest(world: World) -> dict[str, float | None]:
    """The newest order to every battery that is in force."""
    now = world.clock.now()
    return {
        name: kw
        for each in world.aggregators.values()
        for _, name, kw, valid_from, valid_until in each.heard
        if valid_from <= now < valid_until and not name.startswith("c")
    }


async def test_without_a_day_plan_it_is_called_from_what_devices_do_and_goes_on(make_world: MakeWorld) -> None:
    world = await make_world(until=START + MINUTE, day_ahead={"at": "23:30:00"})
    assert not world.service.runtime.day_ahead.days
    window = {"start": START, "end": START + 12 * CYCLE}
    record = await called(world, 200.0, scope_kind=ScopeKind.ZONE, scope_id="west", **window)
    await world.clock.settle()
    assert record.status is EventStatus.EXECUTING
    assert -sum(kw or 0.0 for kw in newest(world).values()) == pytest.approx(200, rel=0.01)
    assert not any(name.startswith("a") for name in newest(world))  # alpha is in the east
    await world.until(START + 5 * CYCLE)
    given = -world.fleet_kw(START + CYCLE, START + 5 * CYCLE)
    assert given == pytest.approx(200, rel=0.1)


async def test_who_opts_out_of_a_call_is_left_alone_from_the_next_cycle_on(make_world: MakeWorld) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    world.aggregators["alpha"].policy = lambda _: Answer("accept", opted_out_resource_ids=("a0",))
    await called(world, 400.0)
    await world.clock.settle()
    assert world.event().opted_out_resource_ids == ("a0",)
    await world.until(EVENT_START + 6 * CYCLE)
    last: tuple[datetime, float | None] = next(
        (at, kw) for at, name, kw, _, _ in reversed(world.aggregators["alpha"].heard) if name == "a0"
    )
    assert last[0] < EVENT_START
    assert -world.fleet_kw(EVENT_START + 3 * CYCLE, EVENT_START + 6 * CYCLE) == pytest.approx(400, rel=0.1)


async def test_a_call_that_nobody_approves_lapses_with_its_window_and_one_cannot_be_mixed(
    make_world: MakeWorld,
) -> None:
    world = await make_world(until=PLANNED)
    now = world.clock.now()
    await world.declare(100.0, event_id="night", start=now, end=now + 2 * CYCLE)
    await world.declare(100.0, event_id="later")
    with pytest.raises(InputError, match="approved by themselves"):
        await world.service.approve(["night", "later"], "approver-wang")
    await world.until(now + CYCLE)
    assert world.event().status is EventStatus.DECLARED
    await world.until(now + 3 * CYCLE)
    assert world.event().status is EventStatus.CANCELLED
