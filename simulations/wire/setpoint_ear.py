"""A process that only listens: when did the first setpoints of a plan arrive?  ``python -m`` this module.

It reads one JSON line from its standard input, ``{"host", "port", "prefix", "credentials": {aggregator: password}}``,
says ``ready`` once every aggregator is subscribed, and then a line ``seconds plan_hash aggregator count`` for every
batch of setpoints: seconds of the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import socket
import sys
import time
from typing import Any

import aiomqtt

_NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _listen(order: dict[str, Any], aggregator_id: str, password: str, ready: asyncio.Semaphore) -> None:
    topic = f"{order['prefix']}/{aggregator_id}/down/setpoints"
    async with aiomqtt.Client(
        order["host"],
        order["port"],
        username=aggregator_id,
        password=password,
        identifier=f"ear-{aggregator_id}",
        socket_options=_NO_DELAY,
    ) as client:
        await client.subscribe(topic, qos=1)
        ready.release()
        async for message in client.messages:
            at = time.monotonic()
            said = json.loads(bytes(message.payload))
            _say(f"{at:.6f} {said['plan_hash']} {aggregator_id} {len(said['setpoints'])}")


async def _main() -> None:
    order = json.loads(sys.stdin.readline())
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for name, password in order["credentials"].items():
            tasks.create_task(_listen(order, name, password, ready), name=f"ear {name}")
        for _ in order["credentials"]:
            await ready.acquire()
        _say("ready")


if __name__ == "__main__":
    asyncio.run(_main())
