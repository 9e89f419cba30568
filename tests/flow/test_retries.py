"""Gateways lose commands and answers: the same command goes again, saves the megawatts, and moves no device twice."""

from datetime import datetime, timedelta

import pytest

from models.records import CommandRecord
from simulations.wire.gateway import AggregatorGateway
from simulations.wire_faults import AT_ONCE, WireFaults, WireShares
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_START, MINUTE, START

ORDER_KW = 300.0
SENT_AT = timedelta(seconds=15)
"""A cycle sends so long after its boundary."""


def lose(world: World, shares: WireShares) -> None:
    """Everything or a part gets lost at alpha and beta from before the event until after its first sending."""
    for name in ("alpha", "beta"):
        span = EVENT_START - 4 * CYCLE, EVENT_START + SENT_AT + timedelta(seconds=20)
        world.aggregators[name].gateway.transit.wire = WireFaults(name, 7, [span], shares)


def deafen(world: World) -> AggregatorGateway:
    """The gateway of alpha, to which no setpoints come in the first cycle of the event."""
    gateway = world.aggregators["alpha"].gateway
    gateway.transit.wire = WireFaults("alpha", 1, [(EVENT_START, EVENT_START + CYCLE)], WireShares(lost_command=1.0))
    return gateway


def commands(world: World, name: str) -> list[CommandRecord]:
    """Everything that was sent to an aggregator, oldest first."""
    return [record for _, record in reversed(world.service.store.commands(name, START, limit=1000))]


def told_once(world: World, name: str, *, answered: bool) -> bool:
    """True if an aggregator's devices were told every setpoint once: of all commands, or of those it answered."""
    told = [each for each in commands(world, name) if each.answered or not answered]
    return len(world.aggregators[name].heard) == sum(each.setpoints for each in told)


@pytest.mark.parametrize(("most_tries", "is_saved"), [(4, True), (1, False)])
async def test_commands_that_were_lost_go_again_and_save_the_megawatts(
    make_world: MakeWorld, most_tries: int, is_saved: bool
) -> None:
    world = await make_world(delivery={"most_tries": most_tries})
    await world.order(ORDER_KW)
    lose(world, WireShares(lost_command=1.0))
    await world.until(EVENT_START + CYCLE)
    delivered_kw = -world.fleet_kw(EVENT_START + 2 * MINUTE, EVENT_START + CYCLE)
    assert (delivered_kw == pytest.approx(ORDER_KW, rel=0.05)) == is_saved
    assert delivered_kw > 0.95 * ORDER_KW or not is_saved
    assert (world.metric("vpp_commands_retried_total") > 0) == is_saved
    for name in ("alpha", "beta"):
        assert world.aggregators[name].gateway.state.counts["lost_batches"] > 0
        assert told_once(world, name, answered=True)
    if is_saved:
        last = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
        assert [each.tries for each in last] == [2, 2]
        assert all(each.answered and each.given_up_at is None for each in last)


async def test_answers_that_were_lost_come_again_and_nothing_is_done_twice(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    lose(world, WireShares(lost_ack=1.0))
    await world.until(EVENT_START + 2 * CYCLE)
    for name in ("alpha", "beta"):
        counts = world.aggregators[name].gateway.state.counts
        assert counts["lost_acks"] > 0
        assert counts["duplicates"] > 0
        assert counts["out_of_order"] == 0
        assert told_once(world, name, answered=False)
    last = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
    assert [each.tries for each in last] == [2, 2]
    assert all(sum(each.answered.values()) == each.setpoints for each in last)
    assert -world.fleet_kw(EVENT_START + MINUTE, EVENT_START + 2 * CYCLE) == pytest.approx(ORDER_KW, rel=0.1)


async def test_one_of_two_commands_of_a_cycle_is_lost_and_still_counts_when_it_comes_behind_the_other(
    make_world: MakeWorld,
) -> None:
    class Every(WireFaults):
        """Loses the first of every two messages that come; what is sent again comes through."""

        def down(self, number: int, now: datetime) -> tuple[timedelta, ...]:
            lost = now < EVENT_START + SENT_AT + timedelta(seconds=20) and number % 2 == 1
            return () if lost else (AT_ONCE,)

    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START - MINUTE)
    alpha = world.aggregators["alpha"].gateway
    alpha.state.counts["batches"] = 0
    alpha.transit.wire = Every("alpha", 0, (), WireShares())
    await world.until(EVENT_START + CYCLE)
    now_on, later = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
    assert (now_on.tries, later.tries) == (2, 1)
    assert now_on.valid_from < later.valid_from
    assert alpha.state.counts["out_of_order"] == 0
    assert set(now_on.answered) == {"taken"}
    # what came late ends where the later one begins
    late = [each for each in world.aggregators["alpha"].heard if each[3] == now_on.valid_from]
    assert {each[4] for each in late if each[0] > EVENT_START + timedelta(seconds=30)} == {later.valid_from}


async def test_after_so_many_tries_a_command_is_given_up_and_the_audit_log_says_so(make_world: MakeWorld) -> None:
    world = await make_world(delivery={"most_tries": 3, "answer_within_s": 30.0})
    await world.order(ORDER_KW)
    await world.until(EVENT_START - MINUTE)
    gateway = deafen(world)
    await world.until(EVENT_START + SENT_AT + timedelta(seconds=89))
    sent = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
    assert [(each.tries, each.given_up_at) for each in sent] == [(3, None), (3, None)]
    await world.until(EVENT_START + SENT_AT + timedelta(seconds=90))
    sent = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
    assert [each.given_up_at for each in sent] == [EVENT_START + SENT_AT + timedelta(seconds=90)] * 2
    assert gateway.state.counts["lost_batches"] == 6
    assert world.metric("vpp_commands_given_up_total", aggregator="alpha") == 2
    assert world.metric("vpp_commands_given_up_total") == 2
    (line,) = [each for each in world.service.store.audit_log() if each.action == "command.given_up"]
    assert line.subject == "alpha"
    assert [each["command_id"] for each in line.details["commands"]] == [each.command_id for each in sent]
    await world.until(EVENT_START + CYCLE + 2 * MINUTE)  # a new delivery, and the gateway hears again
    assert all(each.answered for each in commands(world, "alpha") if each.sent_at == EVENT_START + CYCLE + SENT_AT)
    assert gateway.state.counts["lost_batches"] == 6


async def test_after_a_kill_the_tries_that_are_left_are_made_and_no_more(make_world: MakeWorld) -> None:
    world = await make_world(delivery={"most_tries": 3})
    await world.order(ORDER_KW)
    await world.until(EVENT_START - MINUTE)
    gateway = deafen(world)
    await world.until(EVENT_START + SENT_AT + MINUTE)  # sent twice by now
    assert gateway.state.counts["lost_batches"] == 4
    await world.kill_service()
    await world.until(EVENT_START + SENT_AT + 2 * MINUTE)
    await world.start_service()
    await world.service.link.wait_connected()
    await world.until(EVENT_START + CYCLE - MINUTE)
    assert gateway.state.counts["lost_batches"] == 6
    sent = [each for each in commands(world, "alpha") if each.sent_at == EVENT_START + SENT_AT]
    assert [each.tries for each in sent] == [3, 3]
    assert all(each.given_up_at is not None for each in sent)
    assert world.metric("vpp_commands_given_up_total") == 2
    others = [each for each in commands(world, "gamma") if each.sent_at == EVENT_START + SENT_AT]
    assert {each.tries for each in others} == {1}  # they had answered before
