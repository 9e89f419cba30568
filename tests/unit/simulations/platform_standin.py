"""A platform as small as can be: an embedded broker and a listener that answers, with aiomqtt and json alone."""

import asyncio
import contextlib
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, Self

import aiomqtt
from amqtt.broker import Broker


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
        await broker.shutdown()


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
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
            await self._task

    async def down(self, aggregator: str, end: str, **fields: Any) -> None:
        assert self._client is not None
        self._ids += 1
        body = {"schema_version": 1, "message_id": f"p-{self._ids}", "sent_at": "2025-07-15T16:00:00Z"}
        await self._client.publish(f"vpp/v1/{aggregator}/down/{end}", json.dumps(body | fields), qos=1)

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
