"""A fifth of all messages is lost, held back or doubled, both ways: the order is kept, and nothing is mixed up."""

import sqlite3
from contextlib import closing
from datetime import timedelta

from simulations.far_side import Watch, broken_sequences
from simulations.wire_faults import WireFaults, WireShares
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE

ORDER_KW = 300.0
SPAN = (EVENT_START - 10 * MINUTE, EVENT_END + 20 * MINUTE)


def spoil_wires(world: World, shares: WireShares, seed: int) -> Watch:
    """The same faults on every gateway's wire around the event, and somebody who writes down what comes through."""
    for name, each in world.aggregators.items():
        each.gateway.transit.wire = WireFaults(name, seed, [SPAN], shares)
    return Watch({name: each.gateway for name, each in world.aggregators.items()}, world.clock.now())


async def test_an_event_is_delivered_in_band_over_a_wire_that_spoils_a_fifth_of_everything(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    watch = spoil_wires(world, WireShares.of_everything(0.2), 1)
    await world.order(ORDER_KW)
    end = SPAN[1] + 2 * CYCLE + timedelta(minutes=10)
    await world.until(end)
    delivered_kw = -world.fleet_kw(EVENT_START, EVENT_END)
    assert 0.9 * ORDER_KW < delivered_kw < 1.1 * ORDER_KW
    counts = watch.counts()
    for what in ("batches", "ups"):
        for fate in ("lost", "held", "doubled"):
            assert counts[f"{fate}_{what}"] > 0
    assert counts["lost_receipts"] > 0
    assert counts["lost_acks"] > 0
    assert counts["duplicates"] > 0
    store = world.service.store
    assert watch.broken(store, end) == ()
    assert broken_sequences(store.sequences_sent()) == ()
    # the same watch, had the platform lost a reading, an answer and a plan, or a gateway let a copy through to a device
    kept = world.folder / "service" / "vpp.db"
    with closing(sqlite3.connect(kept)) as database, database:
        database.execute(
            "DELETE FROM readings WHERE measured_at = (SELECT max(measured_at) FROM readings) - 1200000000"
        )
        database.execute(
            "UPDATE setpoints SET outcome = NULL, answered_at = NULL WHERE (batch_key, resource_key) ="
            " (SELECT batch_key, resource_key FROM setpoints WHERE outcome = 'taken' ORDER BY batch_key LIMIT 1)"
        )
        database.execute("DELETE FROM plan_parts")
        database.execute("DELETE FROM plans WHERE plan_hash = (SELECT plan_hash FROM setpoint_batches LIMIT 1)")
    record = world.aggregators["alpha"].gateway.record
    assert record is not None
    record.told.append(record.told[-1])
    lost, twice, plan, answer = watch.broken(store, end)
    assert (lost.endswith("lost"), twice.endswith("carried out twice")) == (True, True)
    assert (plan.startswith("plans: "), answer.endswith("is not kept")) == (True, True)


async def test_commands_that_are_overtaken_replace_no_newer_ones_and_cost_no_device(make_world: MakeWorld) -> None:
    world = await make_world(delivery={"most_tries": 1})  # nothing comes again: what is held back is all there is
    watch = spoil_wires(world, WireShares(held_command=0.7), 2)
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 8 * CYCLE)
    counts = watch.counts()
    assert counts["held_batches"] > 20
    assert counts["out_of_order"] > 0
    refused = [each.resource_id for each in world.service.state if each.refused_until is not None]
    assert refused == []
    assert watch.broken(world.service.store, world.clock.now()) == ()


async def test_who_refuses_a_command_because_a_newer_one_has_come_is_asked_again(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START + CYCLE + MINUTE)
    sent = [record for _, record in reversed(world.service.store.commands("alpha", EVENT_START, limit=100))]
    overtaken, *_, in_force, later = sent
    assert overtaken.valid_from < in_force.valid_from <= world.clock.now() < later.valid_from
    gateway = world.aggregators["alpha"].gateway

    async def refuse(command_id: str, resource_id: str) -> bool:
        said = {"command_id": command_id, "status": "refused", "resource_id": resource_id, "reason": "of some kind"}
        gateway._put_acks([said])
        await world.clock.settle()
        live = world.service.state.get(resource_id)
        assert live is not None
        return live.refused_until is not None

    assert not await refuse(overtaken.command_id, "a0")
    assert await refuse(in_force.command_id, "a1")
    assert await refuse(later.command_id, "a2")
    await world.kill_service()
    await world.start_service()
    await world.service.link.wait_connected()
    await world.until(EVENT_START + CYCLE + 2 * MINUTE)
    asked = {name: live.refused_until is None for name in ("a0", "a1", "a2") if (live := world.service.state.get(name))}
    assert asked == {"a0": True, "a1": False, "a2": False}
