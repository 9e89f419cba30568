"""A platform and its gateways on real brokers: every test here runs on Mosquitto and on the embedded one."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.mqtt.broker import BrokerSettings, RunningBroker, open_broker
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import MosquittoBroker, find_mosquitto
from adapters.mqtt.credentials import new_password
from adapters.mqtt.envelope import Fault, Refusal
from adapters.mqtt.link import NO_DELAY
from adapters.mqtt.order_link import MqttLink
from adapters.mqtt.uplink import TAKEN, Answer, Received, TelemetryGroup
from models.errors import StoreError
from models.ports import MarketHandler

GOLDEN = Path(__file__).parents[2] / "adapters/mqtt/golden"


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    async def sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep(max(0.0, (moment - self.now()).total_seconds()))


class MemoryHandler:
    """A service of two dictionaries that keeps the rule: effects and answer in one step, or neither."""

    def __init__(self) -> None:
        self.resources: dict[str, tuple[str, Any]] = {}
        self.readings: dict[tuple[str, datetime], float] = {}
        self.applied: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], bytes] = {}
        self.others: list[Any] = []
        self.statuses: list[tuple[str, str]] = []
        self.dead: list[tuple[str, str, bytes, tuple[Refusal, ...]]] = []
        self.failures_to_come: list[Exception] = []
        self.gate: asyncio.Event | None = None

    def capability_kw(self, aggregator_id: str, resource_id: str) -> float | None:
        owner, change = self.resources.get(resource_id, ("", None))
        return None if owner != aggregator_id else change.connected_kw

    def capabilities_kw(self, aggregator_id: str, resource_ids: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self.capability_kw(aggregator_id, name) for name in resource_ids], dtype=np.float64)

    async def already_answered(self, aggregator_id: str, message_id: str) -> bytes | None:
        return self.answers.get((aggregator_id, message_id))

    async def _commit(self, received: Received[Any], answer: Answer, effects: Callable[[], None]) -> Answer:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures_to_come:
            raise self.failures_to_come.pop(0)
        key = (received.aggregator_id, received.message_id)
        assert key not in self.answers, "applied twice"
        effects()
        self.applied.append(key)
        self.answers[key] = answer.to_bytes()
        return answer

    async def register(self, aggregator_id: str, received: Received[Any]) -> Answer:
        faults: list[list[Fault]] = []
        accepted: dict[str, tuple[str, Any]] = {}
        meters = {change.meter_id: owner for owner, change in self.resources.values()}
        for change in received.message.changes:
            owner = meters.get(getattr(change, "meter_id", ""), aggregator_id)
            if owner != aggregator_id:
                rule = f"belongs to aggregator {owner} already"
                faults.append([Fault(field="meter_id", rule=rule, value=change.meter_id)])
            else:
                faults.append([])
                accepted[change.resource_id] = (aggregator_id, change)

        def effects() -> None:
            for name, (owner, change) in accepted.items():
                if change.action == "withdraw":
                    self.resources.pop(name, None)
                else:
                    self.resources[name] = (owner, change)

        return await self._commit(received, received.answer_registration(faults), effects)

    async def telemetry(self, aggregator_id: str, received: Received[Any]) -> Answer:
        refusals, taken = [], {}
        for position, reading in enumerate(received.message.readings):
            if self.resources.get(reading.resource_id, ("", None))[0] != aggregator_id:
                rule = f"is not registered by {aggregator_id}"
                refusals.append(received.refuse("resource_id", rule, reading.resource_id, position))
            else:
                taken[reading.resource_id, reading.measured_at] = reading.power_kw
        return await self._commit(received, received.answer(refusals), lambda: self.readings.update(taken))

    async def telemetry_group(self, group: TelemetryGroup) -> dict[str, bytes]:
        before = {
            name: self.answers[key]
            for name in group.message_ids
            if (key := (group.aggregator_id, name)) in self.answers
        }
        own = group.without(before)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures_to_come:
            raise self.failures_to_come.pop(0)
        self.readings.update({(each.resource_id, each.measured_at): each.power_kw for each in own.readings})
        self.applied += [(group.aggregator_id, name) for name in own.message_ids]
        self.answers |= {(group.aggregator_id, name): TAKEN for name in own.message_ids}
        return before

    async def _keep(self, aggregator_id: str, received: Received[Any]) -> Answer:
        return await self._commit(received, received.answer(), lambda: self.others.append(received.message))

    capability = event_response = ack = _keep

    async def status(self, aggregator_id: str, received: Received[Any]) -> None:
        self.statuses.append((aggregator_id, received.message.status))

    async def dead_letter(self, aggregator_id: str, topic: str, payload: bytes, refusals: tuple[Refusal, ...]) -> None:
        if self.failures_to_come and isinstance(self.failures_to_come[0], StoreError):
            raise self.failures_to_come.pop(0)
        self.dead.append((aggregator_id, topic, payload, refusals))


class GatewayUnderTest:
    """A client with an aggregator's credentials that remembers what it was sent, and speaks plain JSON."""

    def __init__(self, name: str, client: aiomqtt.Client) -> None:
        self.name = name
        self.client = client
        self.inbox: list[tuple[str, dict[str, Any], bool]] = []
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for message in self.client.messages:
            last = str(message.topic).rsplit("/", 1)[-1]
            self.inbox.append((last, json.loads(message.payload), message.retain))
            self._news.set()

    async def send(self, last: str, content: Mapping[str, Any] | bytes, **options: Any) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content)
        await self.client.publish(f"vpp/v1/{self.name}/up/{last}", payload, qos=1, **options)

    async def expect(
        self, last: str, test: Callable[[dict[str, Any]], bool] = lambda _: True, timeout_s: float = 8.0
    ) -> dict[str, Any]:
        """The first message on a topic, arrived or yet to come, that passes the test."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._news.clear()
                for topic, content, _ in self.inbox:
                    if topic == last and test(content):
                        return content
                await self._news.wait()

    async def receipt(self, message_id: str, timeout_s: float = 8.0) -> dict[str, Any]:
        return await self.expect("receipt", lambda content: message_id in content["message_ids"], timeout_s)

    def count(self, last: str, message_id: str) -> int:
        return sum(topic == last and message_id in content["message_ids"] for topic, content, _ in self.inbox)


class Platform:
    """A broker, a link and a handler, and a way to make gateways."""

    def __init__(self, broker: RunningBroker) -> None:
        self.broker, self.handler = broker, MemoryHandler()
        self.market: MarketHandler | None = None
        self.passwords: dict[str, str] = {}

    async def start_link(self, **changed: Any) -> None:
        """Start the service's side; the handler, like a database, outlives it."""
        settings = self.broker.platform.model_copy(update=changed)
        self.link = MqttLink(settings, self.handler, WallClock(), self.market)
        self._running = asyncio.create_task(self.link.run())
        await self.link.wait_connected(10)

    async def stop_link(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def add(self, name: str) -> str:
        self.passwords[name] = new_password()
        await self.broker.add_aggregator(name, self.passwords[name])
        return self.passwords[name]

    def client(self, name: str, **options: Any) -> aiomqtt.Client:
        options = {
            "username": name,
            "password": self.passwords.get(name),
            "timeout": 5,
            "socket_options": [NO_DELAY],
            **options,
        }
        return aiomqtt.Client(self.broker.host, self.broker.port, **options)

    @contextlib.asynccontextmanager
    async def gateway(self, name: str, **options: Any) -> AsyncIterator[GatewayUnderTest]:
        if name not in self.passwords:
            await self.add(name)
        async with self.client(name, **options) as client:
            gateway = GatewayUnderTest(name, client)
            await client.subscribe(f"vpp/v1/{name}/down/#", qos=1)
            listening = asyncio.create_task(gateway.listen())
            try:
                yield gateway
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def restart_broker(self, *, hard: bool = False) -> None:
        """Let the broker die and come back at the same address."""
        if isinstance(self.broker, MosquittoBroker):
            child = self.broker
            pid = child.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
            await until(lambda: child.pid not in (None, pid))
        else:
            assert isinstance(self.broker, EmbeddedBroker)
            await self.broker.stop()
            await asyncio.sleep(0.3)
            await self.broker.start()


async def until(test: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    return until


@pytest.fixture
def golden() -> Callable[[str], dict[str, Any]]:
    return lambda last: json.loads((GOLDEN / f"{last}.json").read_bytes())


@pytest.fixture(params=["mosquitto", "embedded"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    return str(request.param)


@pytest.fixture
async def platform(broker_kind: str, tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_broker(BrokerSettings(broker=broker_kind, folder=tmp_path / "broker")) as broker:
        made = Platform(broker)
        await made.start_link()
        try:
            yield made
        finally:
            await made.stop_link()


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """Make an envelope around some fields."""
    count = iter(range(10**6))

    def made(message_id: str | None = None, **fields: Any) -> dict[str, Any]:
        name = message_id or f"message-{next(count)}"
        return {"schema_version": 1, "message_id": name, "sent_at": "2025-07-16T05:00:00Z", **fields}

    return made


@pytest.fixture
def battery() -> Callable[..., dict[str, Any]]:
    """A registration of a battery."""

    def made(name: str, aggregator_id: str = "alpha", **changed: Any) -> dict[str, Any]:
        return {
            "action": "update",
            "kind": "storage",
            "resource_id": name,
            "aggregator_id": aggregator_id,
            "zone_id": "jinjiang",
            "meter_id": f"meter-{name}",
            "pillar": "source",
            "tariff_id": "flat",
            "charge_limit_kw": 5.0,
            "discharge_limit_kw": 5.0,
            "energy_min_kwh": 0.0,
            "energy_max_kwh": 10.0,
            "energy_start_kwh": 5.0,
            "energy_end_min_kwh": 0.0,
            "charge_efficiency": 0.95,
            "discharge_efficiency": 0.95,
            "wear_cost_per_kwh": 0.1,
            "connected_kw": 5.0,
            **changed,
        }

    return made


@pytest.fixture
def reading() -> Callable[..., dict[str, Any]]:
    """A reading, ``minute`` minutes after 05:00."""

    def made(name: str, minute: int = 0, power_kw: float = 1.0, **changed: Any) -> dict[str, Any]:
        moment = f"2025-07-16T{5 + minute // 60:02}:{minute % 60:02}:00Z"
        return {"resource_id": name, "measured_at": moment, "power_kw": power_kw, **changed}

    return made
