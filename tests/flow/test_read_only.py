"""Read-only mode publishes no order: seen by somebody who hears everything that goes over a real broker."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import aiomqtt
import pytest

from adapters.mqtt.broker_mosquitto import find_mosquitto
from adapters.mqtt.envelope import DownTopic
from adapters.mqtt.link import AnsweringLink
from adapters.mqtt.order_link import MqttLink
from models.errors import AccessError
from models.life_cycle import EventStatus
from tests.flow.conftest import MakeWorld, World, really
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE, START
from vpp.day_ahead import AFTER_EVENT

BROKER = "mosquitto" if find_mosquitto() is not None else "embedded"


class Eavesdropper:
    """Counts every message below the prefix by the last two levels of its topic (``down/setpoints``)."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.plan_hashes: set[str] = set()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            way = "/".join(str(message.topic).split("/")[-2:])
            self.heard[way] += 1
            if way == "down/setpoints" and isinstance(message.payload, bytes):
                self.plan_hashes.add(json.loads(message.payload)["plan_hash"])

    @property
    def downwards(self) -> set[str]:
        return {way for way in self.heard if way.startswith("down/")}


@contextlib.asynccontextmanager
async def eavesdropping(world: World) -> AsyncIterator[Eavesdropper]:
    """Somebody with the platform's own credentials, subscribed to everything."""
    ours = world.broker.platform
    password = None if ours.password is None else ours.password.get_secret_value()
    async with aiomqtt.Client(
        ours.host, ours.port, username=ours.username, password=password, identifier="eavesdropper"
    ) as client:
        made = Eavesdropper()
        await client.subscribe(f"{ours.prefix}/#", qos=1)
        listening = asyncio.create_task(made.listen(client), name="eavesdropper")
        try:
            yield made
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def whole_event(world: World) -> Eavesdropper:
    """Order, cycles before, during and after the event; what went over the wire meanwhile."""
    async with eavesdropping(world) as ear:
        await world.order(300.0)
        await world.until(EVENT_END + AFTER_EVENT + 2 * CYCLE)
        await world.aggregators["alpha"].register()  # and somebody registers once more
        await really(lambda: ear.heard["down/register-result"] > 0)
        await asyncio.sleep(0.5)  # whatever may still be on its way
    return ear


async def test_in_read_only_mode_not_one_order_or_notice_goes_over_the_wire(make_world: MakeWorld) -> None:
    world = await make_world(BROKER, service={"read_only": True})
    ear = await whole_event(world)
    assert ear.downwards == {"down/receipt", "down/register-result"}
    assert ear.heard["up/telemetry"] > 50
    assert ear.heard["down/receipt"] >= ear.heard["up/telemetry"]
    assert world.event().status is EventStatus.EVALUATED  # the event went its whole way
    assert world.metric("vpp_plans_made_total", kind="real_time") > 12
    assert world.metric("vpp_setpoints_withheld_total") > 100
    assert world.service.store.commands() == []
    assert world.service.store.setpoints_since(START) == []
    assert all(each.heard == [] and each.gateway.state.notices == [] for each in world.aggregators.values())


async def test_outside_read_only_mode_the_same_ear_hears_orders(make_world: MakeWorld) -> None:
    world = await make_world(BROKER)
    async with eavesdropping(world) as ear:
        await world.order(300.0)
        await world.until(EVENT_START + CYCLE)
    assert ear.downwards == {"down/receipt", "down/event", "down/setpoints"}
    assert ear.heard["down/setpoints"] == len(world.service.store.commands())


async def test_a_read_only_service_holds_no_link_that_could_order(make_world: MakeWorld) -> None:
    world = await make_world(service={"read_only": True})
    service = world.service
    assert type(service.link) is AnsweringLink
    assert not isinstance(service.link, MqttLink)
    assert not hasattr(service.link, "send_setpoints")
    assert not hasattr(service.link, "send_event")
    assert service.runtime.delivery.outgoing is None
    for topic in DownTopic:
        if topic in (DownTopic.RECEIPT, DownTopic.REGISTER_RESULT):
            continue
        with pytest.raises(AccessError, match="answers"):
            await service.link._publish("alpha", topic, b"{}")


async def test_what_was_open_before_a_restart_into_read_only_mode_stays_unsent(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0)
    await world.until(EVENT_START - MINUTE)
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    world.cut.update(world.aggregators)
    await world.until(EVENT_START + timedelta(seconds=20))  # orders are made, and nobody takes them
    assert len(world.service.store.open_commands(world.clock.now())) > 0
    await world.kill_service()
    world.overrides = {**world.overrides, "service": {"read_only": True}}
    await world.start_service()
    heard = {name: len(each.heard) for name, each in world.aggregators.items()}
    await world.broker_is_back()
    world.cut.clear()
    async with eavesdropping(world) as ear:
        await world.until(EVENT_START + 3 * CYCLE)
    assert "down/setpoints" not in ear.heard
    assert "down/event" not in ear.heard
    assert ear.heard["down/receipt"] > 0
    assert {name: len(each.heard) for name, each in world.aggregators.items()} == heard
