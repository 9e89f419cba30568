"""What is under way between a gateway and its broker, where the wire is not what it should be.

A message that the wire loses or holds back is not known to be: the gateway sees no receipt, and after
``SEND_AGAIN_AFTER`` on its clock it sends the same bytes again.  What was held back then comes as a copy, behind newer
messages.  Nobody waits meanwhile (``Outbox.wait_empty``): on virtual time the world goes on without the message.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

import aiomqtt

from models.ports import Clock
from simulations.wire.outbox import Outbox, Waiting

SEND_AGAIN_AFTER = timedelta(seconds=60)
"""A gateway misses a receipt after so long.  The contract asks for 10 s; slow gateways are the harder case."""
COPY_ANSWERED_WITHIN_S = 5.0
"""Real time: virtual time stands still until the platform has answered a message that was held back."""
AT_ONCE = (timedelta(0),)


class Wire(Protocol):
    """What happens to messages on their way (``simulations.wire_faults.WireFaults``)."""

    def down(self, number: int, now: datetime) -> tuple[timedelta, ...]:
        """After how long each copy of the ``number``-th setpoint message gets through; none: it is lost."""

    def up(self, number: int, now: datetime) -> tuple[timedelta, ...]:
        """The same of the ``number``-th message that is sent upwards."""

    def loses_ack(self, number: int, now: datetime) -> bool:
        """True if the gateway loses its ``number``-th acknowledgement message."""

    def loses_receipt(self, number: int, now: datetime) -> bool:
        """True if the ``number``-th receipt does not come."""


Publish = Callable[[str, bytes], Awaitable[None]]


class Transit:
    """Takes messages over the ``wire``, which may be set at any time; None: everything gets through at once.

    Counts lost, held and doubled ``…_batches`` and ``…_ups``, ``lost_acks``, ``lost_receipts``, and ``crossings``:
    everything that was sent upwards.
    """

    def __init__(self, clock: Clock, outbox: Outbox, counts: Counter[str], publish: Publish) -> None:
        self.wire: Wire | None = None
        self._clock, self._outbox, self._counts, self._publish = clock, outbox, counts, publish
        self._answered: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """What is still held back is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- up

    async def send(self, message: Waiting) -> None:
        """Publish a message, as often and as soon as the wire lets it through."""
        self._counts["crossings"] += 1
        now, number = self._clock.now(), self._counts["crossings"]
        delays = AT_ONCE if self.wire is None else self.wire.up(number, now)
        self._count(delays, "ups")
        for delay in filter(None, delays):
            self._later(now + delay, lambda: self._come_late(message))
        if all(delays):
            self._miss_receipt([message.message_id], now)
        for _ in range(sum(not delay for delay in delays)):
            await self._publish(message.topic, message.payload)

    async def _come_late(self, message: Waiting) -> None:
        """What was held back goes on.  It may have been answered long ago: the platform answers copies too."""
        answered = self._answered.setdefault(message.message_id, asyncio.Event())
        self._outbox.under_way(message.message_id)
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):  # gone with the connection: it is sent again anyway
            await self._publish(message.topic, message.payload)
            await asyncio.wait_for(answered.wait(), COPY_ANSWERED_WITHIN_S)
        self._answered.pop(message.message_id, None)

    def _miss_receipt(self, message_ids: Iterable[str], now: datetime) -> None:
        again_at = now + SEND_AGAIN_AFTER
        for name in message_ids:
            if self._outbox.set_adrift(name, again_at):
                self._later(again_at, lambda name=name: self._send_again(name))  # type: ignore[misc]

    async def _send_again(self, message_id: str) -> None:
        self._outbox.send_again(message_id, self._clock.now())

    # ---- down

    def loses_receipt(self, message_ids: Iterable[str]) -> bool:
        """True if the receipt of these messages, the newest of ``receipts``, is lost on the way."""
        names = list(message_ids)
        for name in names:
            if name in self._answered:
                self._answered[name].set()
        now = self._clock.now()
        if self.wire is None or not self.wire.loses_receipt(self._counts["receipts"], now):
            return False
        self._counts["lost_receipts"] += 1
        self._miss_receipt(names, now)
        return True

    def loses_ack(self, at: datetime) -> bool:
        """True if the newest of ``ack_messages`` is lost before it is sent."""
        if self.wire is None or not self.wire.loses_ack(self._counts["ack_messages"], at):
            return False
        self._counts["lost_acks"] += 1
        return True

    def bring(self, take: Callable[[], None]) -> None:
        """Have the newest of ``batches`` taken, as often and as soon as the wire lets it through."""
        now = self._clock.now()
        delays = AT_ONCE if self.wire is None else self.wire.down(self._counts["batches"], now)
        self._count(delays, "batches")

        async def come_late() -> None:
            take()

        for delay in delays:
            if delay:
                self._later(now + delay, come_late)
            else:
                take()

    # ---- pieces

    def _count(self, delays: tuple[timedelta, ...], what: str) -> None:
        self._counts[f"lost_{what}"] += not delays
        self._counts[f"held_{what}"] += sum(map(bool, delays))
        self._counts[f"doubled_{what}"] += len(delays) > 1

    def _later(self, due: datetime, act: Callable[[], Awaitable[None]]) -> None:
        async def wait() -> None:
            await self._clock.sleep_until(due)
            await act()

        task = asyncio.create_task(wait(), name="on the wire")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
