"""Aggregators hear of an event and of what becomes of it, though the broker is away or the service is killed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from models.errors import BrokerError, StoreError
from models.events import EventNotice
from models.life_cycle import EventStatus
from tests.flow.conftest import MakeWorld, World, really
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE, PLANNED
from vpp.event_outbox import FIRST_PAUSE

WITHIN = timedelta(minutes=10)
"""So long aggregators may think (``respond_within_s`` in the tests' settings)."""
ALL = ("alpha", "beta", "gamma")


def told(world: World, name: str) -> list[str]:
    """What an aggregator has heard, in order."""
    return [notice.status for notice in world.aggregators[name].gateway.state.notices]


def all_heard(world: World, *statuses: str) -> bool:
    return all(told(world, name) == list(statuses) for name in ALL)


def nothing_came_twice(world: World) -> bool:
    counts = [each.gateway.state.counts for each in world.aggregators.values()]
    return all(each["duplicates"] == 0 for each in counts)


async def lose_broker(world: World) -> None:
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    await really(lambda: world.service.runtime.events.outbox.is_held)
    world.cut.update(world.aggregators)


async def find_broker(world: World) -> None:
    """The broker is back, and everybody has heard what waited."""
    await world.broker_is_back()
    await really(lambda: world.metric("vpp_event_notices_waiting") == 0)
    assert not world.service.runtime.events.outbox.is_held
    world.cut.clear()
    await asyncio.sleep(0.2)  # from the broker to the gateways
    await world.clock.settle()


def deaf(world: World, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """To these aggregators no notice goes out."""
    send: Callable[[str, EventNotice], Awaitable[None]] = world.service.link.send_event  # type: ignore[attr-defined]

    async def send_event(aggregator_id: str, notice: EventNotice) -> None:
        if aggregator_id in names:
            raise BrokerError("it does not take this one")
        await send(aggregator_id, notice)

    monkeypatch.setattr(world.service.link, "send_event", send_event)


async def killed_while_telling(world: World, monkeypatch: pytest.MonkeyPatch, doing: Awaitable[Any]) -> None:
    """What is done is kept; the service is killed before the first notice leaves the house."""
    reached = asyncio.Event()

    async def send_event(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.service.link, "send_event", send_event)
    task = asyncio.ensure_future(doing)
    await asyncio.wait_for(reached.wait(), 20)
    await world.kill_service()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.undo()


async def restart(world: World) -> None:
    await world.start_service()
    await world.service.link.wait_connected()


async def test_who_could_not_be_told_while_the_broker_was_away_is_asked_when_it_is_back(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.declare(300.0)
    await lose_broker(world)
    await world.service.approve(["night"], "approver-wang")
    await world.until(PLANNED + 3 * WITHIN)  # nobody has declined because nobody was asked
    assert world.event().status is EventStatus.NOTIFIED
    assert world.event().accepted_kw == dict.fromkeys(ALL)
    assert world.metric("vpp_event_notices_waiting") == 3
    await find_broker(world)
    record = world.event()
    assert record.accepted_kw == pytest.approx(record.share_kw, abs=0.01)
    for each in world.aggregators.values():
        (notice,) = each.gateway.state.notices
        assert (notice.status, notice.respond_by) == ("notified", PLANNED + 3 * WITHIN + WITHIN)
    await world.until(EVENT_END + CYCLE)
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE, EVENT_END) == pytest.approx(300, rel=0.1)
    assert all_heard(world, "notified", "ended")
    assert nothing_came_twice(world)


async def test_a_broker_that_dies_and_starts_again_while_an_event_is_approved_loses_no_notice(
    make_world: MakeWorld,
) -> None:
    world = await make_world("mosquitto")  # it is back by itself, within seconds
    await world.declare(300.0)
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    world.cut.update(world.aggregators)
    await world.service.approve(["night"], "approver-wang")
    await find_broker(world)
    record = world.event()
    assert record.accepted_kw == pytest.approx(record.share_kw, abs=0.01)
    assert all_heard(world, "notified")


async def test_a_service_that_is_killed_before_it_has_told_anybody_tells_them_after_the_restart(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    await world.declare(300.0)
    await killed_while_telling(world, monkeypatch, world.service.approve(["night"], "approver-wang"))
    assert all_heard(world)
    await restart(world)
    await world.until(PLANNED + FIRST_PAUSE)
    record = world.event()
    assert record.accepted_kw == pytest.approx(record.share_kw, abs=0.01)
    assert all_heard(world, "notified")
    await world.kill_service()
    await restart(world)
    await world.until(PLANNED + 2 * WITHIN)
    assert all_heard(world, "notified")
    assert nothing_came_twice(world)


async def test_a_broker_without_sessions_that_was_away_with_the_service_loses_no_notice(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service may be connected before the gateways are: what is told then is lost."""
    world = await make_world()
    await world.declare(300.0)
    await killed_while_telling(world, monkeypatch, world.service.approve(["night"], "approver-wang"))
    await world.kill_broker()
    world.cut.update(world.aggregators)
    await world.start_service()
    await find_broker(world)
    assert all_heard(world, "notified")


async def test_of_an_event_that_is_cancelled_before_anybody_was_told_only_the_cancellation_is_told(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    await world.order(100.0, event_id="known", end=EVENT_START + 6 * CYCLE)
    await world.declare(300.0)
    await lose_broker(world)
    await world.service.approve(["night"], "approver-wang")
    await world.service.cancel("night", "operator-li", "the heat breaks")
    await world.service.cancel("known", "operator-li", "the heat breaks")
    await world.until(PLANNED + MINUTE)
    await find_broker(world)
    await world.until(EVENT_START + CYCLE)
    for name in ALL:
        heard = [(each.event_id, each.status) for each in world.aggregators[name].gateway.state.notices]
        assert heard == [("known", "notified"), ("night", "cancelled"), ("known", "cancelled")]
    lines = [line for line in world.service.store.audit_log() if line.action == "notice.given_up"]
    assert [(line.subject, line.details["notices"][0]["status"]) for line in lines] == [
        (name, "notified") for name in ALL
    ]


async def test_who_could_not_be_asked_before_it_begins_takes_no_part_and_has_not_declined(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    deaf(world, monkeypatch, "alpha")
    await world.order(150.0)
    await world.until(EVENT_START - MINUTE)
    assert world.event().status is EventStatus.NOTIFIED
    assert world.event().accepted_kw["alpha"] is None
    assert world.event().share_kw["alpha"] > 0
    await world.until(EVENT_START)
    record = world.event()
    assert record.status is EventStatus.EXECUTING
    assert (record.share_kw["alpha"], record.accepted_kw["alpha"]) == (0.0, None)
    assert sum(kw or 0 for kw in record.accepted_kw.values()) == pytest.approx(150, rel=0.1)
    assert told(world, "alpha") == []
    monkeypatch.undo()
    await world.until(EVENT_START + 2 * MINUTE)
    (notice,) = world.aggregators["alpha"].gateway.state.notices  # how things stand, not the question of before
    assert (notice.status, notice.share_kw, notice.respond_by) == ("changed", 0.0, None)
    await world.until(EVENT_END)
    assert -world.aggregators["alpha"].mean_kw(EVENT_START, EVENT_END) == pytest.approx(0, abs=3)
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE, EVENT_END) == pytest.approx(150, rel=0.1)


async def test_a_deadline_that_was_put_off_for_one_holds_for_all_and_across_a_restart(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    deaf(world, monkeypatch, "alpha")
    await world.aggregators["alpha"].gateway.stop()  # and so it will not answer either
    world.cut.add("alpha")
    await world.order(150.0)
    await world.until(PLANNED + 8 * MINUTE)
    monkeypatch.undo()
    await really(lambda: world.metric("vpp_event_notices_waiting") == 1)
    await world.until(PLANNED + 13 * MINUTE)
    assert world.metric("vpp_event_notices_waiting") == 0
    assert world.event().accepted_kw["alpha"] is None
    (kept,) = [each for each in world.service.store.notices_of("night") if each.aggregator_id == "alpha"]
    assert kept.told_at is not None
    assert kept.tries > 3
    due = world.service.runtime.events.next_due(world.clock.now())
    assert due == kept.told_at + WITHIN
    await world.kill_service()
    await restart(world)
    assert world.service.runtime.events.next_due(world.clock.now()) == due
    await world.until(due - MINUTE)
    assert world.event().accepted_kw["alpha"] is None
    await world.until(due)
    assert world.event().accepted_kw["alpha"] == 0
    assert sum(kw or 0 for kw in world.event().accepted_kw.values()) == pytest.approx(150, rel=0.02)


async def test_a_change_that_is_made_and_not_planned_when_the_service_is_killed_is_told_after_the_restart(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    before = await world.order(200.0)
    reached = asyncio.Event()

    async def replan(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.service.runtime.day_ahead, "replan", replan)
    task = asyncio.create_task(world.service.change("night", 100.0, "operator-li", "half will do"))
    await asyncio.wait_for(reached.wait(), 20)
    await world.kill_service()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.undo()
    await restart(world)
    await world.until(PLANNED + 2 * MINUTE)
    record = world.event()
    assert record.event.target_kw == 100
    for name, each in world.aggregators.items():
        assert told(world, name) == ["notified", "changed"]
        assert record.share_kw[name] == pytest.approx(before.share_kw[name] / 2, abs=0.01)
        assert each.gateway.state.notices[-1].share_kw == pytest.approx(record.share_kw[name], abs=0.01)
    assert record.accepted_kw == pytest.approx(record.share_kw, abs=0.01)


async def test_setpoints_of_a_call_wait_for_no_notice_and_both_survive_a_kill(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    heard = {name: len(each.heard) for name, each in world.aggregators.items()}
    window = {"start": EVENT_START - 3 * CYCLE, "end": EVENT_START + 12 * CYCLE}
    await world.declare(240.0, **window)
    await killed_while_telling(world, monkeypatch, world.service.approve(["night"], "approver-wang"))
    await really(lambda: any(len(each.heard) > heard[name] for name, each in world.aggregators.items()))
    asked = set(world.service.store.event("night").record.share_kw)  # type: ignore[union-attr]
    assert not any(told(world, name) for name in ALL)
    await restart(world)
    await world.until(world.clock.now() + 2 * MINUTE)
    assert world.event().status is EventStatus.EXECUTING
    assert {name for name in ALL if told(world, name) == ["notified"]} == asked
    assert nothing_came_twice(world)


async def test_a_call_whose_orders_could_not_be_kept_is_told_all_the_same(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    await world.declare(240.0, start=EVENT_START - 3 * CYCLE)

    def away(*_: object) -> None:
        raise StoreError("the database is away")

    monkeypatch.setattr(world.service.store, "save_batch", away)
    with pytest.raises(StoreError):
        await world.service.approve(["night"], "approver-wang")
    monkeypatch.undo()
    await world.clock.settle()
    assert {name for name in ALL if told(world, name) == ["notified"]} == world.event().share_kw.keys()


@pytest.mark.parametrize("minutes", [0, 3])
async def test_what_was_told_and_not_noted_is_told_again_and_does_no_harm(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    world = await make_world()

    def away(*_: object) -> None:
        raise StoreError("the database is away")

    monkeypatch.setattr(world.service.store, "note_told", away)
    before = await world.order(150.0)
    await world.kill_service()
    monkeypatch.undo()
    await world.until(PLANNED + minutes * MINUTE)
    await restart(world)
    await world.until(world.clock.now() + FIRST_PAUSE)
    states = [each.gateway.state for each in world.aggregators.values()]
    await really(lambda: all(len(state.notices) + state.counts["duplicates"] > 1 for state in states))
    assert world.event().accepted_kw == pytest.approx(before.accepted_kw)
    for each in world.aggregators.values():
        first, *more = each.gateway.state.notices
        if minutes:  # so much later there is more time to answer, and it is answered again
            (again,) = more
            assert first.respond_by is not None
            assert again == replace(first, respond_by=first.respond_by + minutes * MINUTE + FIRST_PAUSE)
        else:
            assert more == []
            assert each.gateway.state.counts["duplicates"] == 1


async def test_an_event_without_faults_is_told_once_at_every_turn(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(200.0)
    await world.service.change("night", 150.0, "operator-li", "less will do")
    await world.clock.settle()
    await world.until(EVENT_START + 2 * CYCLE)
    await world.service.change("night", 100.0, "operator-li", "still less")
    await world.until(EVENT_START + 4 * CYCLE)
    await world.service.terminate("night", "operator-li", "none will do")
    await world.until(EVENT_END)
    turns = ["notified", "changed", "changed", "terminated"]
    for name, each in world.aggregators.items():
        assert told(world, name) == turns
        assert each.gateway.state.counts["events"] == len(turns)
    kept = world.service.store.notices_of("night")
    assert {each.tries for each in kept if each.told_at is not None} == {1}
    assert all(each.told_at == each.made_at for each in kept if each.told_at is not None)
    assert world.metric("vpp_event_notices_waiting") == 0
    assert not [line for line in world.service.store.audit_log() if line.action == "notice.given_up"]
