"""Read-only mode, a broker that is not there, input that is wrong: the service says so and goes on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from adapters.mqtt.broker import BrokerSettings
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import free_port
from adapters.mqtt.credentials import FileCredentialStore
from models.errors import BrokerError
from simulations.wire import codec
from tests.flow.conftest import MakeWorld, ThreadSolver, World, really
from tests.flow.small_city import CYCLE, EVENT_START, MINUTE, START
from vpp.api.facade import CapacityGroup


class Probe:
    """A second client with an aggregator's credentials, for messages that no decent gateway would send."""

    def __init__(self, name: str, client: aiomqtt.Client, world: World) -> None:
        self._name, self._client, self._world = name, client, world
        self._count = 0
        self.answers: list[tuple[str, dict[str, Any]]] = []

    async def listen(self) -> None:
        async for message in self._client.messages:
            self.answers.append((str(message.topic).rsplit("/", 1)[-1], json.loads(message.payload)))

    async def send(self, last: str, fields: dict[str, Any] | bytes, message_id: str | None = None) -> dict[str, Any]:
        """Send, and return the receipt."""
        self._count += 1
        name = message_id or f"probe-{self._count}"
        payload = fields
        if not isinstance(payload, bytes):
            envelope = {"schema_version": 1, "message_id": name, "sent_at": codec.stamp(self._world.clock.now())}
            payload = json.dumps({**envelope, **payload}).encode()
        before = len(self.receipts())
        await self._client.publish(f"vpp/v1/{self._name}/up/{last}", payload, qos=1)
        await really(lambda: len(self.receipts()) > before)
        return self.receipts()[-1]

    def receipts(self) -> list[dict[str, Any]]:
        return [content for topic, content in self.answers if topic == "receipt"]

    def reading(self, resource_id: str, **changes: Any) -> dict[str, Any]:
        now = self._world.clock.now()
        return {**codec.reading(resource_id, now, 1.0, 7, energy_kwh=100.0), **changes}


@contextlib.asynccontextmanager
async def probe(world: World, name: str) -> AsyncIterator[Probe]:
    place = world.broker
    password = world.aggregators[name].password
    async with aiomqtt.Client(place.host, place.port, username=name, password=password, identifier="probe") as client:
        made = Probe(name, client, world)
        await client.subscribe(f"vpp/v1/{name}/down/#", qos=1)
        listening = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def test_read_only_mode_sends_nothing(make_world: MakeWorld) -> None:
    world = await make_world(service={"read_only": True})
    await world.order(300.0)
    await world.until(EVENT_START + 3 * CYCLE)
    assert world.service.link.counters.setpoint_batches_sent == 0
    assert world.service.link.counters.events_sent == 0
    assert world.service.store.setpoints_since(START) == []
    for each in world.aggregators.values():
        assert each.heard == []
        assert each.gateway.state.notices == []
    assert world.metric("vpp_setpoints_withheld_total") > 0
    assert world.metric("vpp_setpoints_sent_total") == 0
    assert world.service.runtime.plan_in_force() is not None  # it watches and plans all the same
    assert world.service.store.reading_count() > 0


async def test_a_broker_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path, solver: ThreadSolver) -> None:
    settings = BrokerSettings(broker="embedded", folder=tmp_path / "broker", port=free_port("127.0.0.1"))
    broker = EmbeddedBroker(settings, FileCredentialStore(tmp_path / "credentials.json"))
    world = World(tmp_path, broker, solver, {"mqtt": {"broker": f"mqtt://127.0.0.1:{settings.port}"}}, with_loads=False)
    await world.start_service()
    try:
        with pytest.raises(BrokerError):
            await world.service.link.wait_connected(0.5)
        reason = world.service.ready()["broker"]
        assert reason is not None
        assert "does not answer" in reason
        assert world.service.ready()["store"] is None
        await world.until(START + timedelta(minutes=20))  # it lives on
        await broker.start()
        await world.service.link.wait_connected(10)
        assert world.service.ready()["broker"] is None
        await world.start_aggregators()
        assert len(world.service.state) == len(world.devices)
    finally:
        await world.close()
        await broker.stop()


async def test_wrong_input_is_refused_counted_and_hurts_nobody_else(make_world: MakeWorld) -> None:
    world = await make_world()
    state, store = world.service.state, world.service.store
    fields = world.devices["a0"].fields
    async with probe(world, "alpha") as alpha:
        for broken in (b"\xff\xfe no json", b"{}", b'{"message_id": "x", "changes": 1}'):
            receipt = await alpha.send("register", broken)
            assert receipt["refused"]
        wrong = {
            "W for kW": {**fields, "resource_id": "w", "charge_limit_kw": 60_000.0},
            "a foreign sender": {**fields, "resource_id": "f", "aggregator_id": "beta"},
            "no such zone": {**fields, "resource_id": "z", "zone_id": "nowhere"},
            "no such tariff": {**fields, "resource_id": "t", "tariff_id": "free"},
            "a negative limit": {**fields, "resource_id": "n", "discharge_limit_kw": -1.0},
            "an unknown field": {**fields, "resource_id": "u", "colour": "red"},
            "somebody else's id": {**fields, "resource_id": "b0"},
        }
        good = {**fields, "resource_id": "good", "meter_id": "meter-good"}
        receipt = await alpha.send("register", {"changes": [*wrong.values(), good], "profiles": {}})
        assert sorted(item["index"] for item in receipt["refused"]) == list(range(len(wrong)))
        for item in receipt["refused"]:
            assert item["field"]
            assert item["rule"]
        assert state.get("good") is not None
        assert not any(state.get(name) for name in "wfztnu")
        owner = state.get("b0")
        assert owner is not None
        assert owner.record.aggregator_id == "beta"

        readings, kept = world.metric("vpp_readings_received_total"), store.reading_count()
        now = world.clock.now()
        items = [
            alpha.reading("good"),
            alpha.reading("b0"),
            alpha.reading("nobody"),
            alpha.reading("a0", power_kw=60_000.0),
            alpha.reading("a1", measured_at=codec.stamp(now + timedelta(hours=1))),
            alpha.reading("a2", power_kw="high"),
            alpha.reading("a3", measured_at=codec.stamp(now - timedelta(hours=3) - MINUTE)),
        ]
        receipt = await alpha.send("telemetry", {"readings": items})
        assert sorted(item["index"] for item in receipt["refused"]) == [1, 2, 3, 4, 5]
        nan = json.dumps({"schema_version": 1, "message_id": "nan", "sent_at": codec.stamp(now)})[:-1]
        poisoned = json.dumps(alpha.reading("a0")).replace("1.0", "NaN")
        receipt = await alpha.send("telemetry", f'{nan}, "readings": [{poisoned}]}}'.encode())
        assert receipt["refused"]
        assert store.reading_count() == kept + 2
        assert world.metric("vpp_readings_received_total") == readings + 2
        assert world.metric("vpp_readings_stale_total", aggregator="alpha") == 1
        latest = state.get("a3")
        assert latest is not None
        assert latest.latest is not None
        assert latest.latest.measured_at == now  # an old reading is kept, and changes nothing now
    assert world.metric("vpp_dead_letters_total") >= 6
    assert len(store.dead_letters()) >= 6

    await world.order(300.0)
    await world.until(EVENT_START + 4 * CYCLE)
    assert -world.fleet_kw(EVENT_START + 2 * CYCLE, EVENT_START + 4 * CYCLE) == pytest.approx(300, rel=0.1)
    assert world.metric("vpp_step_failures_total") == 0


async def test_the_same_message_twice_changes_nothing(make_world: MakeWorld) -> None:
    world = await make_world()
    store = world.service.store
    async with probe(world, "alpha") as alpha:
        change = {**world.devices["a0"].fields, "resource_id": "new", "meter_id": "meter-new"}
        first = await alpha.send("register", {"changes": [change], "profiles": {}}, "same-1")
        count = len(world.service.state)
        assert await alpha.send("register", {"changes": [change], "profiles": {}}, "same-1") == first
        assert len(world.service.state) == count
        first = await alpha.send("telemetry", {"readings": [alpha.reading("new")]}, "same-2")
        kept = store.reading_count()
        again = await alpha.send("telemetry", {"readings": [alpha.reading("new")]}, "same-2")
        assert [each[name] for each in (first, again) for name in ("message_ids", "refused")] == [["same-2"], []] * 2
        assert await alpha.send("telemetry", {"readings": [alpha.reading("new")]}, "same-3") != first
        assert store.reading_count() == kept
        assert world.metric("vpp_readings_duplicate_total", aggregator="alpha") == 1

        world.aggregators["alpha"].policy = lambda _: pytest.fail("the gateway is not asked")
        await world.aggregators["alpha"].gateway.stop()
        world.cut.add("alpha")
        await world.order(200.0)
        answer: dict[str, Any] = {
            "event_id": "night",
            "answer": "decline",
            "accepted_kw": None,
            "opted_out_resource_ids": [],
        }
        first = await alpha.send("event-response", answer, "same-4")
        await world.clock.settle()  # what was declined goes to the others
        accepted = world.event().accepted_kw
        assert accepted["alpha"] == 0
        assert await alpha.send("event-response", answer, "same-4") == first
        assert world.event().accepted_kw == accepted
        refused = await alpha.send("event-response", {**answer, "event_id": "unknown"}, "other")
        assert refused["refused"][0]["field"] == "event_id"
    assert world.service.link.counters.answered_again == 3


async def test_a_meter_account_belongs_to_one_aggregator_at_a_time(make_world: MakeWorld) -> None:
    world = await make_world()
    async with probe(world, "alpha") as alpha, probe(world, "beta") as beta:
        claimed = {**world.devices["b0"].fields, "resource_id": "mine", "meter_id": "meter-a0"}
        receipt = await beta.send("register", {"changes": [claimed], "profiles": {}})
        (fault,) = receipt["refused"]
        assert (fault["field"], fault["value"]) == ("meter_id", "meter-a0")
        assert "alpha" in fault["rule"]
        assert not (await alpha.send("register", _withdraw("a0")))["refused"]
        assert world.service.state.get("a0") is None
        assert (await alpha.send("register", _withdraw("b1")))["refused"]
        assert not (await beta.send("register", {"changes": [claimed], "profiles": {}}))["refused"]
        assert world.service.state.get("mine") is not None


def _withdraw(name: str) -> dict[str, Any]:
    return {"changes": [{"action": "withdraw", "resource_id": name}], "profiles": {}}


async def test_four_capacities_are_kept_apart(make_world: MakeWorld) -> None:
    world = await make_world()
    store, state = world.service.store, world.service.state
    async with probe(world, "alpha") as alpha:
        changed = {**world.devices["a0"].fields, "connected_kw": 75.0, "declared_kw": 50.0}
        assert not (await alpha.send("register", {"changes": [changed], "profiles": {}}))["refused"]
    record = store.record_test("a0", 45.0, world.clock.now())
    assert record is not None
    state.put(record)
    world.devices["a1"].is_silent = True
    await world.until(world.clock.now() + 2 * CYCLE)
    rows = {row.group: row for row in await world.service.capacity(CapacityGroup.AGGREGATOR)}
    row = rows["alpha"]
    assert (row.resources, row.connected_kw, row.declared_kw, row.tested_kw) == (4, 75 + 180, 50 + 180, 45)
    assert row.callable_kw == pytest.approx(180)  # a1 is silent
    (city,) = await world.service.capacity(CapacityGroup.CITY)
    assert city.connected_kw == sum(each.connected_kw for each in rows.values())
    assert city.callable_kw == pytest.approx(sum(each.callable_kw for each in rows.values()))


async def test_who_was_removed_registers_nothing_any_more(make_world: MakeWorld) -> None:
    world = await make_world()
    world.service.store.remove_aggregator("alpha", world.clock.now())
    async with probe(world, "alpha") as alpha:  # the broker of others does not know yet
        again = {**world.devices["a0"].fields, "resource_id": "again"}
        receipt = await alpha.send("register", {"changes": [again], "profiles": {}})
        assert "no aggregator" in receipt["refused"][0]["rule"]
    assert world.service.state.get("again") is None
