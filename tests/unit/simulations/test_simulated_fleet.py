"""A fleet of 300 devices on virtual time over real sockets, against the stand-in platform."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulations.clock import VirtualClock
from simulations.faults import Fault, FaultKind, FaultPlan
from simulations.fleet import SimulatedFleet, accept_what_is_declared, attach
from simulations.given_orders import GivenOrder
from simulations.scenarios import Scenario
from simulations.scenarios.generator import generate_fleet
from simulations.wire import codec


@pytest.fixture
def fleet(scenario: Scenario) -> SimulatedFleet:
    generated = generate_fleet(scenario, resources=120, start=scenario.midnight(scenario.day))
    faults = FaultPlan.none(generated.bank.resource_ids)
    return SimulatedFleet(generated, VirtualClock(scenario.midnight(scenario.day)), faults)


def clock_of(fleet: SimulatedFleet) -> VirtualClock:
    assert isinstance(fleet._clock, VirtualClock)
    return fleet._clock


@pytest.fixture
async def live(fleet: SimulatedFleet, platform: Any) -> AsyncIterator[SimulatedFleet]:
    """Connected, registered, and living on its virtual clock."""
    passwords = dict.fromkeys(fleet.generated.registrations, "secret")
    await fleet.start(f"mqtt://127.0.0.1:{platform.port}", passwords)
    task = attach(fleet, clock_of(fleet))
    await asyncio.sleep(0)
    yield fleet
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await fleet.stop()


def readings(platform: Any) -> list[dict[str, Any]]:
    return [row for message in platform.messages["telemetry"] for row in message["readings"]]


async def down(platform: Any, aggregator: str, sequence: int, start: datetime, names: dict[str, float | None]) -> None:
    await platform.down(
        aggregator,
        "setpoints",
        command_id=f"{aggregator}-{sequence}",
        aggregator_id=aggregator,
        sequence=sequence,
        plan_hash="h",
        valid_from=codec.stamp(start),
        valid_until=codec.stamp(start + timedelta(minutes=10)),
        setpoints=[{"resource_id": name, "power_kw": power} for name, power in names.items()],
    )


async def test_all_resources_are_registered_and_all_report_every_period(
    platform: Any, live: SimulatedFleet, scenario: Scenario
) -> None:
    assert all(answer.accepted for gateway in live.gateways.values() for answer in gateway.state.registered.values())
    await clock_of(live).advance_to(scenario.local(0.5))
    got = readings(platform)
    assert {row["resource_id"] for row in got} == set(live.bank.resource_ids)
    assert len(got) == 6 * 120
    assert {row["measured_at"] for row in got} == {
        codec.stamp(scenario.midnight(scenario.day) + timedelta(minutes=5 * k)) for k in range(1, 7)
    }


async def test_reported_means_agree_with_the_truth_to_the_meters_error(
    platform: Any, live: SimulatedFleet, scenario: Scenario
) -> None:
    await clock_of(live).advance_to(scenario.local(1))
    _, true = live.true_power(scenario.local(0), scenario.local(1))
    for name in live.bank.resource_ids:
        told = [row["power_kw"] for row in readings(platform) if row["resource_id"] == name]
        assert np.mean(told) == pytest.approx(true[name].mean(), rel=0.03, abs=0.01)


async def test_a_setpoint_moves_a_real_device_and_expires(
    platform: Any, live: SimulatedFleet, scenario: Scenario
) -> None:
    name = next(each for each in live.bank.resource_ids if live.bank.class_of(each) == "grid-storage")
    await clock_of(live).advance_to(scenario.local(9))
    await down(platform, "storage-stations", 1, scenario.local(9), {name: -40.0})
    await live.gateways["storage-stations"].seen(1)
    await clock_of(live).advance_to(scenario.local(9.5))
    _, true = live.true_power(scenario.local(9), scenario.local(9.5))
    assert true[name] == pytest.approx([-40.0, -40.0, 0.0, 0.0, 0.0, 0.0])
    assert platform.messages["ack"][0]["acks"][0]["status"] == "taken"
    assert live.given == [GivenOrder(name, -40.0, scenario.local(9), scenario.local(9) + timedelta(minutes=10))]


async def test_a_silent_device_neither_reports_nor_obeys_nor_answers(
    platform: Any, live: SimulatedFleet, scenario: Scenario
) -> None:
    names = [each for each in live.bank.resource_ids if live.bank.class_of(each) == "grid-storage"][:2]
    live.faults.add([Fault(names[0], FaultKind.SILENT, scenario.local(9), scenario.local(10))])
    await clock_of(live).advance_to(scenario.local(9))
    await down(platform, "storage-stations", 1, scenario.local(9), dict.fromkeys(names, -40.0))
    await live.gateways["storage-stations"].seen(1)
    await clock_of(live).advance_to(scenario.local(10) + timedelta(minutes=5))
    _, true = live.true_power(scenario.local(9), scenario.local(9) + timedelta(minutes=10))
    assert true[names[0]] == pytest.approx([0.0, 0.0])
    assert true[names[1]] == pytest.approx([-40.0, -40.0])
    assert [row["resource_id"] for ack in platform.messages["ack"] for row in ack["acks"]] == [names[1]]
    times = {row["measured_at"] for row in readings(platform) if row["resource_id"] == names[0]}
    quiet = {codec.stamp(scenario.local(9) + timedelta(minutes=5 * k)) for k in range(12)}
    assert not quiet & times
    assert codec.stamp(scenario.local(10)) in times


async def test_cars_are_announced_once_and_their_leaving_with_null(
    platform: Any, live: SimulatedFleet, scenario: Scenario
) -> None:
    await clock_of(live).advance_to(scenario.local(18))
    said: dict[str, list[Any]] = {}
    for row in readings(platform):
        if "session" in row:
            said.setdefault(row["resource_id"], []).append(row["session"])
    assert set(said) == set(live.bank.charger_ids)
    assert all(sessions[0] is None for sessions in said.values())
    changes = [sessions for sessions in said.values() if len(sessions) > 1]
    assert changes
    for sessions in said.values():
        for before, after in pairwise(sessions):
            assert (before or {}).get("session_id") != (after or {}).get("session_id")
    stays = [session for sessions in said.values() for session in sessions if session is not None]
    assert all(stay["battery_start_kwh"] + stay["energy_needed_kwh"] <= stay["battery_capacity_kwh"] for stay in stays)


async def test_late_readings_come_within_a_minute_of_their_time(platform: Any, scenario: Scenario) -> None:
    generated = generate_fleet(scenario, resources=120, start=scenario.midnight(scenario.day))
    clock = VirtualClock(scenario.midnight(scenario.day))
    faults = FaultPlan(generated.bank.resource_ids, 1, late_share=0.3, mute_share=0, refuse_share=0)
    fleet = SimulatedFleet(generated, clock, faults)
    await fleet.start(f"mqtt://127.0.0.1:{platform.port}", dict.fromkeys(generated.registrations, "x"))
    task = attach(fleet, clock)
    await asyncio.sleep(0)
    await clock.advance_to(scenario.local(1.02))
    task.cancel()
    await fleet.stop()
    delays = [
        (datetime.fromisoformat(message["sent_at"]) - datetime.fromisoformat(row["measured_at"])).total_seconds()
        for message in platform.messages["telemetry"]
        for row in message["readings"]
    ]
    assert len(delays) == 12 * 120
    assert min(delays) == 0
    assert max(delays) <= 60
    assert 0.15 < np.mean([delay > 0 for delay in delays]) < 0.45


async def test_a_past_day_is_published_in_quarter_hours_as_backfill(platform: Any, scenario: Scenario) -> None:
    day = scenario.earlier_days[-1]
    generated = generate_fleet(scenario, resources=110, start=scenario.midnight(day))
    fleet = SimulatedFleet(generated, VirtualClock(scenario.midnight(scenario.day)))
    await fleet.start(f"mqtt://127.0.0.1:{platform.port}", dict.fromkeys(generated.registrations, "x"))
    count = await fleet.history_day(day)
    await fleet.settled(30)
    await fleet.stop()
    got = readings(platform)
    assert len(got) == count == 96 * 110
    assert len({(row["resource_id"], row["measured_at"]) for row in got}) == count
    assert max(row["measured_at"] for row in got) == codec.stamp(scenario.midnight(scenario.day))
    assert fleet.bank.now == scenario.midnight(scenario.day)
    with pytest.raises(ValueError, match="stand at"):
        await fleet.history_day(day)


def test_the_counterfactual_without_orders_is_the_day_itself(fleet: SimulatedFleet, scenario: Scenario) -> None:
    fleet.mark()
    end = scenario.local(15)
    asyncio.run(fleet.step_to(end))
    world = fleet.counterfactual(end)
    start = scenario.midnight(scenario.day)
    assert np.array_equal(world.true_power_kw(start, end)[1], fleet.bank.true_power_kw(start, end)[1])


def test_a_counterfactual_with_the_orders_given_repeats_what_happened(
    fleet: SimulatedFleet, scenario: Scenario
) -> None:
    fleet.mark()
    names = [each for each in fleet.bank.resource_ids if fleet.bank.class_of(each) in {"hvac", "depot", "telecom"}]

    async def day() -> None:
        await fleet.step_to(scenario.local(13))
        clock = clock_of(fleet)
        await clock.advance_to(scenario.local(13))
        for name in names:
            fleet.command(name, 0.0, scenario.local(13), scenario.local(14))
        await fleet.step_to(scenario.local(15))

    asyncio.run(day())
    start, end = scenario.midnight(scenario.day), scenario.local(15)
    again = fleet.counterfactual(end, fleet.given).true_power_kw(start, end)[1]
    without = fleet.counterfactual(end).true_power_kw(start, end)[1]
    really = fleet.bank.true_power_kw(start, end)[1]
    assert np.allclose(again, really)
    assert np.abs(without - really).sum() > 100


def test_no_order_is_followed_before_it_has_come(fleet: SimulatedFleet, scenario: Scenario) -> None:
    """Valid from 13:00 and come 20 s later: devices that look at their orders every minute follow it from 13:01 on."""
    fleet.mark()
    names = [each for each in fleet.bank.resource_ids if fleet.bank.class_of(each) == "telecom"]
    one, end, over = scenario.local(13), scenario.local(13) + timedelta(minutes=5), scenario.local(14)

    async def day() -> None:
        await fleet.step_to(one)
        await clock_of(fleet).advance_to(one + timedelta(seconds=20))
        for name in names:
            assert fleet.command(name, -1.0, one, over).status == "taken"
        await fleet.step_to(end)

    asyncio.run(day())
    at_once = fleet.counterfactual(end, [GivenOrder(name, -1.0, one, over) for name in names])
    without = fleet.counterfactual(end).true_power_kw(one, end)[1].sum()
    moved_kw = fleet.bank.true_power_kw(one, end)[1].sum() - without
    moved_at_once_kw = at_once.true_power_kw(one, end)[1].sum() - without
    assert moved_at_once_kw < -1.0
    assert moved_kw / moved_at_once_kw == pytest.approx(0.8, abs=0.02)


def test_a_counterfactual_needs_a_mark(fleet: SimulatedFleet, scenario: Scenario) -> None:
    with pytest.raises(ValueError, match="mark"):
        fleet.counterfactual(scenario.local(1))


def test_commands_are_refused_at_about_the_stated_rate(scenario: Scenario) -> None:
    generated = generate_fleet(scenario, resources=1000, start=scenario.midnight(scenario.day))
    fleet = SimulatedFleet(generated, VirtualClock(scenario.midnight(scenario.day)))
    outcomes = [
        fleet.command(name, 1.0, scenario.local(0), scenario.local(1)).status
        for name in fleet.bank.resource_ids
        if fleet.bank.class_of(name) in {"home-ac", "telecom"}
    ]
    assert outcomes.count("refused") / len(outcomes) == pytest.approx(0.03, abs=0.025)
    assert "silent" not in outcomes


def test_an_honest_aggregator_accepts_what_it_declared_and_no_more(scenario: Scenario) -> None:
    policy = accept_what_is_declared(100.0)

    def notice(share_kw: float) -> codec.ReceivedEvent:
        return codec.ReceivedEvent("e", "notified", "shave", scenario.local(13), scenario.local(14), share_kw, None, "")

    assert policy(notice(90.0)).answer == "accept"
    assert (policy(notice(120.0)).answer, policy(notice(120.0)).accepted_kw) == ("accept_part", 100.0)
