"""A listening process (``simulations.wire.setpoint_ear``) from the bench's side: when did setpoints arrive?"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from adapters.mqtt.settings import MqttSettings
from models.errors import VppError

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class HeardBatch:
    """A batch of setpoints: the second of the machine's monotonic clock at which it came, its plan, how many."""

    at_s: float
    plan_hash: str
    aggregator_id: str
    setpoints: int


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the ear says, line by line."""

    lines: asyncio.StreamReader

    async def batch(self, limit_s: float) -> HeardBatch | None:
        """The next batch; none if none comes in time."""
        try:
            line = await asyncio.wait_for(self.lines.readline(), limit_s)
        except TimeoutError:
            return None
        if not line:
            raise VppError("the listener has ended")
        at_s, plan_hash, aggregator_id, setpoints = line.decode().split()
        return HeardBatch(float(at_s), plan_hash, aggregator_id, int(setpoints))


@asynccontextmanager
async def hearing(broker: MqttSettings, passwords: Mapping[str, str]) -> AsyncIterator[Hearing]:
    """Every aggregator's ear at that broker, once all of them listen; ``VppError`` if they cannot."""
    ear = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulations.wire.setpoint_ear",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if ear.stdin is None or ear.stdout is None:
        raise VppError("the listener has no pipes")
    try:
        order = {"host": broker.host, "port": broker.port, "prefix": broker.prefix, "credentials": dict(passwords)}
        ear.stdin.write(json.dumps(order).encode() + b"\n")
        await ear.stdin.drain()
        if not await asyncio.wait_for(ear.stdout.readline(), PATIENCE_S):
            raise VppError("the listener could not subscribe")
        yield Hearing(ear.stdout)
    finally:
        with suppress(ProcessLookupError):
            ear.terminate()
        await ear.wait()
