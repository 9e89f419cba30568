"""The gateway over real sockets: an embedded broker and a stand-in platform of plain aiomqtt and json."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
import pytest

from models.errors import BrokerError
from simulations.clock import VirtualClock
from simulations.wire import codec
from simulations.wire.gateway import AggregatorGateway, Answer
from simulations.wire.orders import Outcome

START = datetime(2025, 7, 16, 5, tzinfo=UTC)


class Switchboard:
    """Devices that remember what they were told; names say how they behave."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float | None]] = []
        self.until: list[datetime] = []

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        if "refusing" in resource_id:
            return Outcome("refused", "does not want to")
        if "silent" in resource_id:
            return Outcome("silent")
        self.told.append((resource_id, power_kw))
        self.until.append(valid_until)
        return Outcome("taken", late_s=30.0 if "late" in resource_id else 0.0)


def stamp(minutes: float) -> str:
    return codec.stamp(START + timedelta(minutes=minutes))


def batch(sequence: int, *setpoints: tuple[str, float | None], until: float = 10, command: str = "") -> dict[str, Any]:
    return {
        "command_id": command or f"c-{sequence}",
        "aggregator_id": "industry",
        "sequence": sequence,
        "plan_hash": "h",
        "valid_from": stamp(0),
        "valid_until": stamp(until),
        "setpoints": [{"resource_id": name, "power_kw": power} for name, power in setpoints],
    }


async def until(condition: Any, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - whatever it is, it has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def devices() -> Switchboard:
    return Switchboard()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


NAMES = ["a", "b", "refusing-1", "silent-1", "late-1"]


@pytest.fixture
async def gateway(platform: Any, devices: Switchboard, clock: VirtualClock) -> AsyncIterator[AggregatorGateway]:
    made = AggregatorGateway("industry", clock, devices, NAMES, answer_timeout_s=0.2)
    await made.start(f"mqtt://127.0.0.1:{platform.port}", "secret")
    yield made
    await made.stop()


async def test_it_announces_itself_retained_and_says_goodbye(platform: Any, gateway: AggregatorGateway) -> None:
    await until(lambda: platform.messages["status"])
    assert platform.messages["status"][0]["status"] == "online"
    await gateway.stop()
    await until(lambda: len(platform.messages["status"]) > 1)
    assert platform.messages["status"][-1]["status"] == "offline"
    async with aiomqtt.Client("127.0.0.1", platform.port, identifier="late-comer") as client:
        await client.subscribe("vpp/v1/industry/up/status")
        message = await asyncio.wait_for(anext(aiter(client.messages)), 5)
        assert message.retain
        assert json.loads(message.payload)["status"] == "offline"


async def test_registration_comes_back_with_a_yes_or_no_for_each(platform: Any, gateway: AggregatorGateway) -> None:
    answers = await gateway.register([{"action": "update", "resource_id": name} for name in ("a", "bad-1")])
    assert answers["a"].accepted
    assert not answers["bad-1"].accepted
    await gateway.settled(5)


async def test_many_resources_are_registered_in_batches_with_the_profiles_once(
    platform: Any, gateway: AggregatorGateway
) -> None:
    changes = [{"action": "update", "resource_id": f"r{k}"} for k in range(4100)]
    answers = await gateway.register(changes, {"p": {"interval_start": [], "values": []}})
    assert len(answers) == 4100
    sizes = [len(message["changes"]) for message in platform.messages["register"]]
    assert sizes == [2000, 2000, 100]
    assert [sorted(message["profiles"]) for message in platform.messages["register"]] == [["p"], [], []]


async def test_what_is_not_answered_is_sent_again_under_the_same_id(platform: Any, gateway: AggregatorGateway) -> None:
    platform.silent_for = 2
    gateway.publish_readings([codec.reading("a", START, 1.0, 1)])
    await gateway.settled(10)
    sent = platform.messages["telemetry"]
    assert len(sent) == 3
    assert len({message["message_id"] for message in sent}) == 1
    assert gateway.state.counts["resent"] == 2


async def test_what_was_refused_is_never_sent_again(platform: Any, gateway: AggregatorGateway) -> None:
    platform.refuse_whole.add("telemetry")
    gateway.publish_readings([codec.reading("a", START, 1.0, 1)])
    await gateway.settled(10)
    await asyncio.sleep(0.5)
    assert len(platform.messages["telemetry"]) == 1
    assert gateway.state.refused


async def test_a_platform_that_never_answers_is_reported(platform: Any, gateway: AggregatorGateway) -> None:
    platform.silent_for = 10_000
    gateway.publish_readings([codec.reading("a", START, 1.0, 1)])
    with pytest.raises(BrokerError, match="unanswered"):
        await gateway.settled(0.3)


async def test_setpoints_reach_the_devices_and_each_is_acknowledged(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard
) -> None:
    await platform.down(
        "industry",
        "setpoints",
        **batch(1, ("a", -5.0), ("b", None), ("refusing-1", 1.0), ("silent-1", 2.0), ("x", 1.0)),
    )
    await gateway.seen(1)
    await gateway.settled(5)
    assert devices.told == [("a", -5.0), ("b", None)]
    (ack,) = platform.messages["ack"]
    rows = {row["resource_id"]: (row["status"], row["reason"]) for row in ack["acks"]}
    assert rows == {
        "a": ("taken", ""),
        "b": ("taken", ""),
        "refusing-1": ("refused", "does not want to"),
        "x": ("refused", "is not ours"),
    }


async def test_late_devices_are_acknowledged_late_on_the_clock(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    await platform.down("industry", "setpoints", **batch(1, ("late-1", 1.0)))
    await gateway.seen(1)
    assert gateway.next_due == START + timedelta(seconds=30)
    gateway.flush(START + timedelta(seconds=29))
    assert not platform.messages["ack"]
    gateway.flush(START + timedelta(seconds=30))
    await gateway.settled(5)
    assert platform.messages["ack"][0]["sent_at"] == "2025-07-16T05:00:30Z"
    assert gateway.next_due is None


async def test_the_same_command_twice_moves_a_device_once(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard
) -> None:
    for _ in range(2):
        await platform.down("industry", "setpoints", **batch(1, ("a", 3.0)))
    await platform.down("industry", "setpoints", **batch(2, ("a", 4.0)))
    await gateway.seen(2)
    assert devices.told == [("a", 3.0), ("a", 4.0)]
    assert gateway.state.counts["duplicates"] == 1


async def test_the_same_command_again_is_answered_again(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard
) -> None:
    for _ in range(2):
        await platform.down("industry", "setpoints", **batch(1, ("a", 3.0), ("refusing-1", 1.0)))
    await platform.down("industry", "setpoints", **batch(2, ("b", 4.0)))
    await gateway.seen(2)
    await gateway.settled(5)
    first, again, _ = platform.messages["ack"]
    assert first["acks"] == again["acks"]
    assert first["message_id"] != again["message_id"]
    assert devices.told == [("a", 3.0), ("b", 4.0)]


async def test_what_comes_behind_a_newer_order_holds_until_that_begins(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard
) -> None:
    await platform.down("industry", "setpoints", **batch(2, ("a", 5.0)) | {"valid_from": stamp(5)})
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0), ("b", 1.0)))
    await platform.down("industry", "setpoints", **batch(3, ("late-1", 1.0)))
    await gateway.seen(3)
    assert devices.told[:3] == [("a", 5.0), ("a", 3.0), ("b", 1.0)]
    assert devices.until[:3] == [START + timedelta(minutes=minutes) for minutes in (10, 5, 10)]
    assert gateway.state.counts["out_of_order"] == 0


async def test_an_older_sequence_is_refused(platform: Any, gateway: AggregatorGateway, devices: Switchboard) -> None:
    await platform.down("industry", "setpoints", **batch(5, ("a", 3.0)))
    await platform.down("industry", "setpoints", **batch(4, ("a", 9.0)))
    await platform.down("industry", "setpoints", **batch(6, ("b", 1.0)))
    await gateway.seen(6)
    await gateway.settled(5)
    assert devices.told == [("a", 3.0), ("b", 1.0)]
    refused = [row for ack in platform.messages["ack"] for row in ack["acks"] if row["status"] == "refused"]
    assert [row["command_id"] for row in refused] == ["c-4"]
    assert "sequence" in refused[0]["reason"]


async def test_an_expired_command_is_refused(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock, devices: Switchboard
) -> None:
    await clock.advance_to(START + timedelta(minutes=11))
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0), until=10))
    await gateway.seen(1)
    await gateway.settled(5)
    assert devices.told == []
    assert platform.messages["ack"][0]["acks"][0]["status"] == "refused"
    assert "expired" in platform.messages["ack"][0]["acks"][0]["reason"]


async def test_nonsense_is_counted_and_the_stream_goes_on(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard
) -> None:
    await platform.down("industry", "setpoints", setpoints="all")
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0)))
    await gateway.seen(1)
    assert gateway.state.counts["malformed"] == 1
    assert devices.told == [("a", 3.0)]


NOTICE = {
    "event_id": "e-1",
    "status": "notified",
    "direction": "shave",
    "start": "2025-07-16T05:00:00Z",
    "end": "2025-07-16T06:00:00Z",
    "share_kw": 100.0,
    "respond_by": None,
    "reason": "",
}


async def test_an_event_is_answered_once_by_policy_and_its_end_only_noted(
    platform: Any, clock: VirtualClock, devices: Switchboard
) -> None:
    gateway = AggregatorGateway(
        "telecom", clock, devices, ["a"], policy=lambda notice: Answer("accept_part", notice.share_kw / 2, ("a",))
    )
    await gateway.start(f"mqtt://127.0.0.1:{platform.port}", "secret")
    await platform.down("telecom", "event", **NOTICE)
    await platform.down("telecom", "event", **NOTICE)
    await platform.down("telecom", "event", **(NOTICE | {"status": "ended"}))
    await until(lambda: len(gateway.state.notices) == 2)
    await gateway.settled(5)
    (answer,) = platform.messages["event-response"]
    assert (answer["event_id"], answer["answer"], answer["accepted_kw"]) == ("e-1", "accept_part", 50.0)
    assert answer["opted_out_resource_ids"] == ["a"]
    await gateway.stop()


async def test_a_dead_broker_is_said_so(clock: VirtualClock, devices: Switchboard, port: int) -> None:
    gateway = AggregatorGateway("industry", clock, devices, ["a"])
    with pytest.raises(BrokerError, match="not connected"):
        await gateway.start(f"mqtt://127.0.0.1:{port}", "secret", timeout_s=0.5)


async def test_it_comes_back_after_a_lost_connection_and_loses_nothing(
    platform: Any, cable: Any, clock: VirtualClock, devices: Switchboard
) -> None:
    gateway = AggregatorGateway("industry", clock, devices, ["a"], answer_timeout_s=0.5)
    await gateway.start(f"mqtt://127.0.0.1:{cable.port}", "secret")
    await cable.cut()
    for k in range(5):
        gateway.publish_readings([codec.reading("a", START + timedelta(minutes=k), float(k), k)])
    await until(lambda: not gateway.is_online)
    await platform.down("industry", "setpoints", **batch(1, ("a", 1.0)))
    await cable.mend()
    await gateway.settled(20)
    times = {row["measured_at"] for message in platform.messages["telemetry"] for row in message["readings"]}
    assert len(times) == 5
    await platform.down("industry", "setpoints", **batch(2, ("a", 2.0)))
    await gateway.seen(2)
    assert devices.told[-1] == ("a", 2.0)
    assert gateway.state.counts["reconnects"] >= 1
    await gateway.stop()
