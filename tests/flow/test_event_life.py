"""An event from declaration to evaluation, over the real wire."""

import itertools
from datetime import date, timedelta

import pytest

from models.errors import AccessError, EventStateError, StoreError
from models.events import EventOrder
from models.life_cycle import EventStatus
from simulations.wire.gateway import Answer
from tests.flow.conftest import MakeWorld, World, both_databases
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE, PLANNED

DAY = date(2025, 7, 16)


@both_databases
async def test_the_share_of_the_peak_is_ordered_as_far_as_it_can_be_held(
    make_world: MakeWorld,
) -> None:
    """A city whose portfolio is still small: 5 % of 60 MW are wanted, and nobody is promised what is not there."""
    world = await make_world(service={"reference_peak_kw": 60_000.0})
    order = EventOrder(event_id="night", start=EVENT_START, end=EVENT_END)
    (record,) = await world.service.declare([order], "operator-li")
    assert record.five_percent_kw == pytest.approx(3_000)
    assert record.callable_kw is not None
    assert 300 < record.callable_kw < 1_000
    assert record.event.target_kw == pytest.approx(record.callable_kw, rel=1e-3)


@both_databases
async def test_an_order_is_declared_approved_by_a_second_person_and_delivered(make_world: MakeWorld) -> None:
    world = await make_world()
    record = await world.declare(300.0)
    assert record.status is EventStatus.DECLARED
    assert record.callable_kw == pytest.approx(300)  # with its margin: more was not asked for
    with pytest.raises(AccessError, match="second person"):
        await world.service.approve(["night"], "operator-li")
    assert world.event().status is EventStatus.DECLARED

    await world.service.approve(["night"], "approver-wang")
    await world.clock.settle()
    record = world.event()
    assert record.status is EventStatus.PREPARING  # all have said yes, and it begins within six hours
    assert record.baseline_hash is not None
    assert sum(record.share_kw.values()) == pytest.approx(300, rel=0.02)
    assert record.accepted_kw == pytest.approx(record.share_kw, abs=0.01)
    for name, each in world.aggregators.items():
        assert [notice.status for notice in each.gateway.state.notices] == ["notified"]
        assert each.gateway.state.notices[0].share_kw == pytest.approx(record.share_kw[name], abs=0.01)

    await world.until(EVENT_START + CYCLE)
    assert world.event().status is EventStatus.EXECUTING
    await world.until(EVENT_END + CYCLE)
    assert world.event().status is EventStatus.ENDED
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE, EVENT_END) == pytest.approx(300, rel=0.1)

    await world.until(EVENT_END + timedelta(hours=6, minutes=31))
    record = world.event()
    assert record.status is EventStatus.EVALUATED
    assert record.evaluation is not None
    ratios = record.evaluation["ratio_by_hour"]
    assert isinstance(ratios, list)
    assert ratios == pytest.approx([1.0], abs=0.1)
    assert [step.status.value for step in record.steps] == [
        "declared", "approved", "notified", "acknowledged", "preparing", "executing", "ended", "evaluated",
    ]  # fmt: skip
    assert world.metric("vpp_plan_violations_total") == 0


@both_databases
async def test_what_is_declined_goes_to_the_others(make_world: MakeWorld) -> None:
    world = await make_world()
    world.aggregators["alpha"].policy = lambda _: Answer("decline")
    world.aggregators["beta"].policy = lambda _: Answer("accept_part", accepted_kw=20.0)
    await world.order(150.0)
    first = {name: each.gateway.state.notices[0].share_kw for name, each in world.aggregators.items()}
    record = world.event()
    assert record.accepted_kw["alpha"] == 0
    assert record.accepted_kw["beta"] == pytest.approx(20)
    assert record.accepted_kw["gamma"] == pytest.approx(130, rel=0.02)
    assert record.accepted_kw["gamma"] > first["gamma"]  # type: ignore[operator]
    told = [(notice.status, notice.share_kw) for notice in world.aggregators["gamma"].gateway.state.notices]
    assert [status for status, _ in told] == ["notified", "changed"]
    assert told[1][1] == pytest.approx(record.accepted_kw["gamma"], abs=0.01)

    await world.until(EVENT_END)  # by the mean: how it is spread over the hour is the planner's affair
    mean_kw = {name: -each.mean_kw(EVENT_START, EVENT_END) for name, each in world.aggregators.items()}
    assert mean_kw["alpha"] == pytest.approx(0, abs=2)
    assert mean_kw["beta"] == pytest.approx(20, abs=6)
    assert mean_kw["gamma"] == pytest.approx(130, abs=15)


async def test_who_says_nothing_until_the_deadline_does_not_take_part(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.aggregators["alpha"].gateway.stop()
    world.cut.add("alpha")
    record = await world.order(150.0)
    assert record.accepted_kw["alpha"] is None
    await world.until(PLANNED + timedelta(minutes=20))  # it has ten
    record = world.event()
    assert record.accepted_kw["alpha"] == 0
    assert sum(kw or 0 for kw in record.accepted_kw.values()) == pytest.approx(150, rel=0.02)


def planned_kw(world: World) -> float:
    """What the batteries do in the window of the event, by the plan of the day."""
    plan = world.service.runtime.day_ahead.days[DAY].plan
    inside = plan.grid.inside(EVENT_START, EVENT_END)
    rows = [row for name, row in plan.row_of.items() if not name.startswith("c")]
    return float(plan.power_kw[rows][:, inside].sum(axis=0).mean())


@both_databases
async def test_a_cancelled_event_leaves_no_order_behind(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0)
    assert planned_kw(world) == pytest.approx(-300, rel=0.02)
    record = await world.service.cancel("night", "operator-li", "the heat breaks")
    assert record.status is EventStatus.CANCELLED
    assert planned_kw(world) == pytest.approx(0, abs=1)
    await world.until(EVENT_START + 3 * CYCLE)
    for each in world.aggregators.values():
        assert [notice.status for notice in each.gateway.state.notices] == ["notified", "cancelled"]
        assert each.gateway.state.notices[-1].reason == "the heat breaks"
        assert all(abs(kw or 0) < 1 for _, name, kw, _, _ in each.heard if not name.startswith("c"))
    with pytest.raises(EventStateError):
        await world.service.cancel("night", "operator-li", "again")
    with pytest.raises(EventStateError):
        await world.service.terminate("night", "operator-li", "it never ran")


@both_databases
async def test_an_approved_event_whose_plan_could_not_be_kept_is_planned_later(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    await world.declare(200.0)
    await world.declare(50.0, event_id="other")

    def away(*_: object) -> None:
        raise StoreError("the database is away")

    monkeypatch.setattr(world.service.store, "save_plan", away)
    await world.service.approve(["night"], "approver-wang")
    await world.service.approve(["other"], "approver-wang")
    await world.clock.settle()
    assert world.event().status is EventStatus.APPROVED
    assert not any(each.gateway.state.notices for each in world.aggregators.values())
    await world.service.cancel("other", "operator-li", "not needed")
    assert world.event("other").status is EventStatus.CANCELLED

    monkeypatch.undo()
    await world.until(PLANNED + timedelta(minutes=30))
    assert world.event().status is EventStatus.PREPARING
    assert sum(world.event().share_kw.values()) == pytest.approx(200, rel=0.02)
    assert [notice.event_id for notice in world.aggregators["beta"].gateway.state.notices] == ["night"]


async def test_an_event_is_terminated_at_an_odd_time_with_a_safe_ramp(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0)
    stopped_at = EVENT_START + timedelta(minutes=22, seconds=7)
    await world.until(stopped_at)
    record = await world.service.terminate("night", "operator-li", "grid is well again")
    assert record.status is EventStatus.TERMINATED
    await world.until(EVENT_START + timedelta(minutes=70))
    for each in world.aggregators.values():
        assert [notice.status for notice in each.gateway.state.notices] == ["notified", "terminated"]
    begin = EVENT_START + 5 * CYCLE
    steps = [-world.fleet_kw(begin + k * CYCLE + MINUTE, begin + (k + 1) * CYCLE) for k in range(-1, 8)]
    assert steps[:4] == pytest.approx([300, 225, 150, 75], abs=45)  # held, then 75, 50, 25 %
    assert steps[4] < 45
    (after,) = world.service.runtime.events.planned(world.clock.now())  # what comes back stays under the cap
    assert (after.end, after.rebound_cap_kw is not None) == (begin + 3 * CYCLE, True)
    for earlier, later in itertools.pairwise(steps):
        assert abs(later - earlier) <= 300 * 0.36
    assert world.metric("vpp_plan_violations_total") == 0
    with pytest.raises(EventStateError):
        await world.service.terminate("night", "operator-li", "again")
    with pytest.raises(EventStateError):
        await world.service.cancel("night", "operator-li", "too late")


async def test_a_termination_in_the_seconds_after_a_boundary_and_one_in_the_last_cycle(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0, event_id="early", end=EVENT_START + 6 * CYCLE)
    await world.until(EVENT_START + 2 * CYCLE + timedelta(seconds=5))  # the cycle of the boundary is yet to run
    await world.service.terminate("early", "operator-li", "enough")
    await world.until(EVENT_START + 5 * CYCLE)
    held = -world.fleet_kw(EVENT_START + 2 * CYCLE + MINUTE, EVENT_START + 3 * CYCLE)
    first = -world.fleet_kw(EVENT_START + 3 * CYCLE + MINUTE, EVENT_START + 4 * CYCLE)
    assert held == pytest.approx(300, abs=45)
    assert first == pytest.approx(225, abs=45)

    start = EVENT_START + 12 * CYCLE
    await world.order(200.0, event_id="late", start=start, end=start + 3 * CYCLE)
    await world.until(start + 2 * CYCLE + timedelta(minutes=3))
    await world.service.terminate("late", "operator-li", "nearly over anyway")
    await world.until(start + 8 * CYCLE)
    assert world.event("late").status is EventStatus.TERMINATED
    assert -world.fleet_kw(start + 2 * CYCLE + MINUTE, start + 3 * CYCLE) == pytest.approx(200, abs=30)
    assert -world.fleet_kw(start + 4 * CYCLE, start + 8 * CYCLE) < 30


async def test_a_resource_may_opt_out_and_is_left_alone(make_world: MakeWorld) -> None:
    world = await make_world()
    world.aggregators["alpha"].policy = lambda _: Answer("accept", opted_out_resource_ids=("a0",))
    await world.order(200.0)
    assert world.event().opted_out_resource_ids == ("a0",)
    await world.until(EVENT_START + 4 * CYCLE)
    asked = [at for at, name, kw, _, _ in world.aggregators["alpha"].heard if name == "a0" and abs(kw or 0) > 0.5]
    assert asked == []
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE + MINUTE, EVENT_START + 4 * CYCLE) == pytest.approx(200, rel=0.12)
