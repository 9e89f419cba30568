"""The simulated gateway and our link, written apart from the same contract, understand each other on both brokers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from models.events import Direction, EventNotice
from models.plan import Setpoint, SetpointBatch
from simulations.wire.gateway import AggregatorGateway
from simulations.wire.orders import Outcome

pytestmark = pytest.mark.wire
Make = Callable[..., dict[str, Any]]


class Devices:
    """Two devices: one obeys, one refuses."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, float | None, datetime]] = []

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        self.orders.append((resource_id, power_kw, valid_until))
        return Outcome("taken") if resource_id == "one" else Outcome("refused", "busy")


async def test_the_simulated_gateway_and_the_link_understand_each_other(
    platform: Any, battery: Make, reading: Make, until: Any
) -> None:
    clock, handler = platform.link._clock, platform.handler
    devices = Devices()
    gateway = AggregatorGateway("alpha", clock, devices, ["one", "two"])
    await gateway.start(platform.broker.url, await platform.add("alpha"))
    try:
        await until(lambda: ("alpha", "online") in handler.statuses)
        answers = await gateway.register([battery("one"), battery("two"), battery("three", energy_start_kwh=99.0)])
        assert {name: answer.accepted for name, answer in answers.items()} == {
            "one": True,
            "two": True,
            "three": False,
        }
        gateway.publish_readings([reading("one", 1), reading("two", 1), reading("stranger", 1)])
        await gateway.settled()
        assert len(handler.readings) == 2
        assert [index for _, index, _ in gateway.state.refused] == [2, 2]  # the third battery, the third reading

        start = clock.now()
        setpoints = (Setpoint(resource_id="one", power_kw=-2.0), Setpoint(resource_id="two", power_kw=None))
        batch = SetpointBatch(
            command_id="command-1",
            aggregator_id="alpha",
            sequence=1,
            plan_hash="f" * 64,
            valid_from=start,
            valid_until=start + timedelta(minutes=5),
            setpoints=setpoints,
        )
        await platform.link.send_setpoints(batch)
        await gateway.seen(1)
        assert devices.orders == [("one", -2.0, batch.valid_until), ("two", None, batch.valid_until)]
        await platform.link.send_setpoints(batch)  # the same command again
        notice = EventNotice(
            event_id="event-1",
            status="notified",
            direction=Direction.SHAVE,
            start=start,
            end=start + timedelta(hours=1),
            share_kw=4.0,
            respond_by=start + timedelta(minutes=10),
        )
        await platform.link.send_event("alpha", notice)
        await until(lambda: len(handler.others) == 3)
        await gateway.settled()
        ack, again, response = handler.others
        assert again.acks == ack.acks  # done once, and acknowledged as often as it comes
        assert len(devices.orders) == 2
        assert [(each.resource_id, each.status) for each in ack.acks] == [("one", "taken"), ("two", "refused")]
        assert (response.event_id, response.answer) == ("event-1", "accept")
        assert gateway.state.counts["duplicates"] == 1
        assert gateway.state.counts["malformed"] == 0
    finally:
        await gateway.stop()
    await until(lambda: handler.statuses[-1] == ("alpha", "offline"))
    assert handler.dead == []
