"""A bench, not a test: ``python tests/wire/mqtt_throughput.py [mosquitto|embedded]`` prints readings a second.

Readings go from one client over a real broker through link and decoder to a handler that keeps them in memory, and the
clock stops when the last receipt is back.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
from numpy.typing import NDArray

from adapters.mqtt.broker import BrokerSettings, open_broker
from adapters.mqtt.credentials import new_password
from adapters.mqtt.envelope import UpTopic
from adapters.mqtt.link import NO_DELAY, MqttLink
from adapters.mqtt.uplink import Answer, Received

START = datetime(2025, 7, 16, tzinfo=UTC)


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    async def sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep((moment - self.now()).total_seconds())


class Counter:
    """Counts readings."""

    def __init__(self) -> None:
        self.readings = 0

    def capability_kw(self, aggregator_id: str, resource_id: str) -> float | None:
        return 100.0

    def capabilities_kw(self, aggregator_id: str, resource_ids: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self.capability_kw(aggregator_id, name) for name in resource_ids], dtype=np.float64)

    async def already_answered(self, aggregator_id: str, message_id: str) -> bytes | None:
        return None

    async def telemetry(self, aggregator_id: str, received: Received[Any]) -> Answer:
        self.readings += len(received.message.readings)
        return received.answer()

    register = capability = event_response = ack = telemetry

    async def status(self, aggregator_id: str, received: Received[Any]) -> None:
        raise NotImplementedError

    async def dead_letter(self, aggregator_id: str, topic: str, payload: bytes, refusals: Any) -> None:
        raise AssertionError(refusals)


def payloads(messages: int, per_message: int) -> list[bytes]:
    made = []
    for k in range(messages):
        moment = (START + timedelta(seconds=k)).isoformat()
        readings = [
            {
                "resource_id": f"device-{j:06}",
                "measured_at": moment,
                "power_kw": 3.5,
                "energy_kwh": 12.25,
                "sequence": k,
            }
            for j in range(per_message)
        ]
        envelope = {"schema_version": 1, "message_id": f"m{k}", "sent_at": moment, "readings": readings}
        made.append(json.dumps(envelope).encode())
    return made


async def bench(kind: str, messages: int, per_message: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_broker(BrokerSettings(broker=kind, folder=Path(folder) / "b")) as broker:
            handler = Counter()
            link = MqttLink(broker.platform, handler, WallClock())
            running = asyncio.create_task(link.run())
            await link.wait_connected()
            password = new_password()
            await broker.add_aggregator("alpha", password)
            to_send = payloads(messages, per_message)
            way_in: dict[str, Any] = {"username": "alpha", "password": password, "socket_options": [NO_DELAY]}
            async with aiomqtt.Client(broker.host, broker.port, max_inflight_messages=100, **way_in) as client:
                client.pending_calls_threshold = 10**6
                await client.subscribe("vpp/v1/alpha/down/receipt", qos=1)
                start = time.perf_counter()

                async def send() -> None:
                    for first in range(0, messages, 50):
                        part = to_send[first : first + 50]
                        topic = f"vpp/v1/alpha/up/{UpTopic.TELEMETRY.value}"
                        await asyncio.gather(*(client.publish(topic, each, qos=1, timeout=60) for each in part))

                sending = asyncio.create_task(send())
                receipts = 0
                async for _ in client.messages:
                    receipts += 1
                    if receipts == messages:
                        break
                await sending
                wall_s = time.perf_counter() - start
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    case = {
        "broker": kind,
        "messages": messages,
        "readings": handler.readings,
        "kilobytes_a_message": round(len(to_send[0]) / 1000, 1),
        "messages_per_s": round(messages / wall_s),
        "readings_per_s": round(handler.readings / wall_s),
    }
    sys.stdout.write(json.dumps(case) + "\n")


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["mosquitto", "embedded"]:
        for messages, per_message in ((1000, 1), (300, 200), (40, 5000)):
            asyncio.run(bench(kind, messages, per_message))
