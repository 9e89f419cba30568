"""Fixtures: a fleet standing before the event day, and a platform as small as can be on an embedded broker."""

import asyncio
import contextlib
import gc
import json
import socket
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import aiomqtt
import pytest
from amqtt.broker import Broker

from simulations.devices.bank import DeviceBank
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import GeneratedFleet, generate_fleet


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def broker_on(port: int) -> AsyncIterator[Broker]:
    """An amqtt broker in this process; anonymous, for tests of the gateway only."""
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    try:
        yield broker
    finally:
        with contextlib.suppress(
            TimeoutError
        ):  # it waits for clients that are still there; they learn it by the socket
            await asyncio.wait_for(broker.shutdown(), 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # amqtt forgets the sockets of those who left
            await asyncio.sleep(0.02)
            gc.collect()


class StandIn:
    """Answers registrations and gives receipts; remembers everything it was sent."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.silent_for: int = 0  # so many messages get no receipt
        self.refuse_whole: set[str] = set()  # topic ends refused outright
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ids = 0

    async def __aenter__(self) -> Self:
        self._ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(), name="stand-in platform")
        await asyncio.wait_for(self._ready.wait(), 10)
        return self

    async def __aexit__(self, *args: object) -> None:
        assert self._task is not None
        while not self._task.done():  # asyncio.wait_for of 3.11 may swallow one cancellation while it publishes
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)
        with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
            await self._task

    async def down(self, aggregator: str, topic_end: str, /, **fields: Any) -> None:
        assert self._client is not None
        self._ids += 1
        body = {"schema_version": 1, "message_id": f"p-{self._ids}", "sent_at": "2025-07-15T16:00:00Z"}
        await self._client.publish(f"vpp/v1/{aggregator}/down/{topic_end}", json.dumps(body | fields), qos=1)

    async def _listen(self) -> None:
        async with aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier="platform",
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        ) as client:
            self._client = client
            await client.subscribe("vpp/v1/+/up/#", qos=1)
            self._ready.set()
            async for message in client.messages:
                _, _, aggregator, _, end = str(message.topic).split("/")
                assert isinstance(message.payload, bytes)
                content = json.loads(message.payload)
                self.messages[end].append(content | {"_aggregator": aggregator, "_retain": message.retain})
                await self._answer(aggregator, end, content)

    async def _answer(self, aggregator: str, end: str, content: dict[str, Any]) -> None:
        if end == "status":
            return
        if self.silent_for > 0:
            self.silent_for -= 1
            return
        name = content["message_id"]
        if end in self.refuse_whole:
            refusal = {"message_id": name, "index": None, "field": end, "rule": "is refused", "value": None}
            await self.down(aggregator, "receipt", message_ids=[name], refused=[refusal])
            return
        await self.down(aggregator, "receipt", message_ids=[name], refused=[])
        if end == "register":
            results = [
                {"index": k, "resource_id": change["resource_id"], "accepted": "bad" not in change["resource_id"],
                 "field": None, "rule": None, "value": None, "further": []}
                for k, change in enumerate(content["changes"])
            ]  # fmt: skip
            await self.down(aggregator, "register-result", register_message_id=name, results=results)


@pytest.fixture
async def platform() -> AsyncIterator[StandIn]:
    """The stand-in on a broker of its own, both running."""
    port = free_port()
    async with broker_on(port), StandIn(port) as standin:
        yield standin


class Cable:
    """A stretch of TCP between a gateway and its broker that can be cut and mended."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        for source, sink in ((reader, broker_writer), (broker_reader, writer)):
            task = asyncio.create_task(self._pipe(source, sink), name="cable")
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._open.add(sink)
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # cut
        finally:
            self._open.discard(sink)
            sink.close()


@pytest.fixture
async def cable(platform: StandIn) -> AsyncIterator[Cable]:
    """A mended cable to the broker of ``platform``."""
    made = Cable(platform.port)
    await made.mend()
    yield made
    await made.cut()


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return load_scenario("chengdu-2025-07-16")


@pytest.fixture(scope="session")
def standing_fleet(scenario: Scenario) -> GeneratedFleet:
    """300 devices at the midnight before the event day; take copies of its bank, never step it."""
    fleet = generate_fleet(scenario, start=scenario.midnight(scenario.earlier_days[-2]))
    fleet.bank.advance(scenario.midnight(scenario.day), 300.0)
    return fleet


@pytest.fixture
def bank(standing_fleet: GeneratedFleet) -> DeviceBank:
    return standing_fleet.bank.copy()


@pytest.fixture
def ids_of(standing_fleet: GeneratedFleet) -> Callable[[str], list[str]]:
    """Ids of a class."""
    bank = standing_fleet.bank
    return lambda name: [each for each in bank.resource_ids if bank.class_of(each) == name]
