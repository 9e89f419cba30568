"""The gateway where the wire loses, holds back and doubles: over real sockets, an embedded broker and a stand-in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from models.errors import BrokerError
from simulations.clock import VirtualClock
from simulations.far_side import broken_orders
from simulations.wire import codec
from simulations.wire.gateway import AggregatorGateway
from simulations.wire.transit import SEND_AGAIN_AFTER
from simulations.wire_faults import AT_ONCE, WireFaults, WireShares
from tests.unit.simulations.test_gateway_on_the_wire import START, Switchboard, batch, stamp, until

NAMES = ["a", "b", "late-1"]
SPAN = (START, START + timedelta(hours=1))
SECOND = timedelta(seconds=1)


def faulty(**shares: float) -> WireFaults:
    return WireFaults("industry", 3, [SPAN], WireShares(**shares))


class Scripted(WireFaults):
    """Does with the n-th message what it is told, and nothing to those behind."""

    def __init__(self, down: list[tuple[float, ...]] | None = None, up: list[tuple[float, ...]] | None = None) -> None:
        super().__init__("industry", 0, [], WireShares())
        self.__dict__["fates"] = {"down": down or [], "up": up or []}

    def _of(self, way: str, number: int) -> tuple[timedelta, ...]:
        fates = self.__dict__["fates"][way]
        return tuple(each * SECOND for each in fates[number - 1]) if number <= len(fates) else (AT_ONCE,)

    def down(self, number: int, now: Any) -> tuple[timedelta, ...]:
        return self._of("down", number)

    def up(self, number: int, now: Any) -> tuple[timedelta, ...]:
        return self._of("up", number)


@pytest.fixture
def devices() -> Switchboard:
    return Switchboard()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
async def gateway(platform: Any, devices: Switchboard, clock: VirtualClock) -> AsyncIterator[AggregatorGateway]:
    made = AggregatorGateway("industry", clock, devices, NAMES, answer_timeout_s=5.0)
    clock.add_barrier(made.settled)
    await made.start(f"mqtt://127.0.0.1:{platform.port}", "secret")
    yield made
    await made.stop()


def say(gateway: AggregatorGateway, *sequences: int) -> None:
    for each in sequences:
        gateway.publish_readings([codec.reading("a", START + each * SECOND, float(each), each)])


def heard(platform: Any) -> list[int]:
    """Sequences of the readings, as they came."""
    return [row["sequence"] for message in platform.messages["telemetry"] for row in message["readings"]]


# ---- down


async def test_it_loses_what_the_dice_say_and_only_then(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard, clock: VirtualClock
) -> None:
    gateway.transit.wire = faulty(lost_command=0.5, lost_ack=0.5)
    for sequence in range(1, 41):
        await platform.down("industry", "setpoints", **batch(sequence, ("a", float(sequence))))
    await gateway.seen(40)
    await gateway.settled(5)
    counts = gateway.state.counts
    assert 10 < counts["lost_batches"] < 30
    assert len(devices.told) == 40 - counts["lost_batches"] == counts["ack_messages"]
    assert 0 < counts["lost_acks"] < counts["ack_messages"]
    assert len(platform.messages["ack"]) == counts["ack_messages"] - counts["lost_acks"]
    lost = counts["lost_batches"]
    await clock.advance_to(SPAN[1])
    await platform.down("industry", "setpoints", **batch(41, ("a", 41.0), until=90))
    await gateway.seen(41)
    assert (devices.told[-1], counts["lost_batches"]) == (("a", 41.0), lost)


async def test_a_command_that_is_held_back_is_taken_late_while_it_holds(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(down=[(100.0,)])
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0)))
    await gateway.seen(1)
    await clock.advance_to(START + 99 * SECOND)
    assert devices.told == []
    await clock.advance_to(START + 100 * SECOND)
    assert devices.told == [("a", 3.0)]
    await until(lambda: platform.messages["ack"])
    assert platform.messages["ack"][0]["sent_at"] == codec.stamp(START + 100 * SECOND)


async def test_a_command_that_is_held_back_too_long_has_expired(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(down=[(240.0,)])
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0), until=4))
    await gateway.seen(1)
    await clock.advance_to(START + 240 * SECOND)
    assert devices.told == []
    assert gateway.state.counts["expired"] == 1
    await until(lambda: platform.messages["ack"])
    assert "expired" in platform.messages["ack"][0]["acks"][0]["reason"]


async def test_a_newer_command_overtakes_one_that_is_held_back_and_stays(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard, clock: VirtualClock
) -> None:
    record = gateway.keep_record()
    gateway.transit.wire = Scripted(down=[(100.0,), (0.0,)])
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0), ("b", 1.0)))
    await platform.down("industry", "setpoints", **batch(2, ("a", 5.0)))
    await gateway.seen(2)
    await clock.advance_to(START + 100 * SECOND)
    assert devices.told == [("a", 5.0), ("b", 1.0)], "what the newer one does not name is still good"
    assert [(each.resource_id, each.sequence) for each in record.told] == [("a", 2), ("b", 1)]
    await platform.down("industry", "setpoints", **batch(3, ("late-1", 1.0)) | {"valid_from": stamp(1)})
    await gateway.seen(3)
    assert record.told[-1].sequence == 3


async def test_a_command_that_comes_twice_moves_a_device_once_and_is_answered_twice(
    platform: Any, gateway: AggregatorGateway, devices: Switchboard, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(down=[(0.0, 0.0), (0.0, 30.0)])
    await platform.down("industry", "setpoints", **batch(1, ("a", 3.0)))
    await platform.down("industry", "setpoints", **batch(2, ("b", 4.0)))
    await gateway.seen(2)
    await clock.advance_to(START + 30 * SECOND)
    assert devices.told == [("a", 3.0), ("b", 4.0)]
    await until(lambda: len(platform.messages["ack"]) == 4)
    counts = gateway.state.counts
    assert (counts["duplicates"], counts["doubled_batches"], counts["held_batches"]) == (2, 2, 1)


async def test_a_gateway_that_forgets_what_has_come_is_found_out(
    platform: Any, gateway: AggregatorGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(dict[str, Any]):
        def get(self, *_: object) -> None:
            return None

    record = gateway.keep_record()
    gateway.transit.wire = Scripted(down=[(0.0, 0.0)])
    gateway._orders._known = Forgetful()
    monkeypatch.setattr(gateway._orders, "_holds_until", lambda _, batch: batch.valid_until)
    await platform.down("industry", "setpoints", **batch(2, ("a", 3.0)))
    await platform.down("industry", "setpoints", **batch(1, ("a", 9.0)))
    await gateway.seen(2)
    await until(lambda: gateway.state.counts["batches"] == 2)
    await gateway.settled(5)
    assert broken_orders(record.told) == (
        "sequence 2 at a carried out twice",
        "sequence 1 at a in the place of 2",
    )


# ---- up


async def test_what_is_lost_on_the_way_up_is_sent_again_and_nobody_waits_for_it(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(up=[(), (0.0,)])
    say(gateway, 1, 2)
    await clock.advance_to(START + SEND_AGAIN_AFTER - SECOND)
    assert heard(platform) == [2]
    await clock.advance_to(START + SEND_AGAIN_AFTER)
    assert heard(platform) == [2, 1]
    counts = gateway.state.counts
    assert (counts["lost_ups"], counts["sent"], counts["resent"]) == (1, 2, 1)
    assert gateway.waiting_bytes == 0


async def test_what_is_lost_again_and_again_comes_in_the_end(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = faulty(lost_up=1.0)
    say(gateway, 1)
    await clock.advance_to(SPAN[1] - SECOND)
    assert heard(platform) == []
    assert gateway.state.counts["lost_ups"] == 60
    await clock.advance_to(SPAN[1])
    assert heard(platform) == [1]


async def test_what_is_held_back_is_overtaken(platform: Any, gateway: AggregatorGateway, clock: VirtualClock) -> None:
    gateway.transit.wire = Scripted(up=[(40.0,), (20.0,), (0.0,)])
    say(gateway, 1, 2, 3)
    await clock.advance_to(START + timedelta(minutes=5))
    assert heard(platform) == [3, 2, 1]
    assert gateway.state.counts["resent"] == 0, "the receipts came in time"
    assert gateway.waiting_bytes == 0


async def test_what_is_held_back_for_long_has_been_sent_again_and_comes_as_a_copy(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(up=[(200.0,)])
    say(gateway, 1)
    await clock.advance_to(START + SEND_AGAIN_AFTER)
    say(gateway, 2)
    await clock.advance_to(START + 200 * SECOND)
    assert heard(platform) == [1, 2, 1]
    first, _, copy = platform.messages["telemetry"]
    assert first == copy, "the same bytes"


async def test_what_goes_up_twice_is_the_same_message(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(up=[(0.0, 0.0), (0.0, 25.0)])
    say(gateway, 1, 2)
    await clock.advance_to(START + 25 * SECOND)
    await until(lambda: sorted(heard(platform)) == [1, 1, 2, 2])
    assert len({message["message_id"] for message in platform.messages["telemetry"]}) == 2
    assert gateway.state.counts["doubled_ups"] == 2
    assert gateway.waiting_bytes == 0


async def test_a_lost_receipt_has_the_message_sent_again(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = WireFaults("industry", 3, [(START, START + SECOND)], WireShares(lost_receipt=1.0))
    say(gateway, 1)
    await clock.advance_to(START + SEND_AGAIN_AFTER - SECOND)
    assert heard(platform) == [1]
    assert gateway.waiting_bytes > 0
    await clock.advance_to(START + SEND_AGAIN_AFTER)
    assert heard(platform) == [1, 1]
    assert gateway.waiting_bytes == 0
    assert gateway.state.counts["lost_receipts"] == 1


async def test_a_lost_refusal_is_asked_for_again(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    platform.refuse_whole.add("telemetry")
    gateway.transit.wire = WireFaults("industry", 3, [(START, START + SECOND)], WireShares(lost_receipt=1.0))
    say(gateway, 1)
    await clock.advance_to(START + SECOND)
    assert gateway.state.refused == []
    await clock.advance_to(START + SEND_AGAIN_AFTER)
    assert len(gateway.state.refused) == 1
    await clock.advance_to(START + 5 * SEND_AGAIN_AFTER)
    assert heard(platform) == [1, 1]


async def test_a_registration_that_is_lost_on_the_way_comes_through(
    platform: Any, gateway: AggregatorGateway, clock: VirtualClock
) -> None:
    gateway.transit.wire = Scripted(up=[()])

    async def wait() -> None:
        await until(lambda: gateway.state.counts["lost_ups"])
        await clock.advance_to(START + SEND_AGAIN_AFTER)

    answers, _ = await asyncio.gather(gateway.register([{"action": "update", "resource_id": "a"}]), wait())
    assert answers["a"].accepted


async def test_who_waits_is_told_of_what_the_platform_does_not_answer_and_not_of_what_the_wire_ate(
    platform: Any, gateway: AggregatorGateway
) -> None:
    platform.silent_for = 10_000
    gateway.transit.wire = Scripted(up=[(), (50.0,)])
    say(gateway, 1, 2)
    await until(lambda: gateway.state.counts["sent"] == 2)
    await gateway.settled(0.2)
    say(gateway, 3)
    with pytest.raises(BrokerError, match="1 messages unanswered"):
        await gateway.settled(0.2)


async def test_a_new_connection_sends_at_once_what_has_no_receipt(
    platform: Any, cable: Any, clock: VirtualClock, devices: Switchboard
) -> None:
    gateway = AggregatorGateway("industry", clock, devices, ["a"])
    await gateway.start(f"mqtt://127.0.0.1:{cable.port}", "secret")
    gateway.transit.wire = Scripted(up=[(), (100.0,)])
    say(gateway, 1, 2)
    await until(lambda: gateway.state.counts["sent"] == 2)
    await cable.cut()
    await until(lambda: not gateway.is_online)
    await cable.mend()
    await until(lambda: sorted(heard(platform)) == [1, 2])
    await gateway.settled(5)
    await gateway.stop()
