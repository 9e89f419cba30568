"""What aggregators have sent and nobody has looked at yet: a queue for each, bounded in bytes, each and together."""

import asyncio
from collections import deque
from dataclasses import dataclass

from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, UpTopic

_OVERHEAD_BYTES = 200
MOST_TOGETHER = 500
"""So many messages are worked off together at most, and no more bytes than one message may have."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it arrived: the full name of its topic, the part behind ``up/``, and its bytes."""

    topic: str
    last: str
    payload: bytes

    @property
    def held_bytes(self) -> int:
        """What it costs to keep."""
        return len(self.payload) + _OVERHEAD_BYTES


class AggregatorQueue:
    """The messages of one aggregator, in the order in which they came."""

    def __init__(self, queues: "AggregatorQueues") -> None:
        self._queues = queues
        self._waiting: deque[Incoming] = deque()
        self._is_filled = asyncio.Event()
        self._held_bytes = 0

    def put(self, message: Incoming) -> bool:
        """Keep a message; False if there is no room for it."""
        size, queues = message.held_bytes, self._queues
        if self._held_bytes + size > queues.each_bytes or queues.held_bytes + size > queues.all_bytes:
            return False
        self._held_bytes += size
        queues.held_bytes += size
        self._waiting.append(message)
        self._is_filled.set()
        return True

    async def get(self) -> list[Incoming]:
        """The next message once there is one; of telemetry also those that wait behind it, in order."""
        while not self._waiting:
            self._is_filled.clear()
            await self._is_filled.wait()
        taken = [self._take()]
        size = len(taken[0].payload)
        while taken[0].last == UpTopic.TELEMETRY and self._waiting and len(taken) < MOST_TOGETHER:
            following = self._waiting[0]
            size += len(following.payload)
            if following.last != UpTopic.TELEMETRY or size > MAX_MESSAGE_BYTES:
                break
            taken.append(self._take())
        return taken

    def _take(self) -> Incoming:
        message = self._waiting.popleft()
        self._held_bytes -= message.held_bytes
        self._queues.held_bytes -= message.held_bytes
        return message


class AggregatorQueues(dict[str, AggregatorQueue]):
    """The queues by aggregator; a queue is made by ``open``."""

    def __init__(self, each_bytes: int, all_bytes: int) -> None:
        super().__init__()
        self.each_bytes, self.all_bytes = each_bytes, all_bytes
        self.held_bytes = 0

    def open(self, aggregator_id: str) -> AggregatorQueue:
        """A new queue for an aggregator."""
        made = self[aggregator_id] = AggregatorQueue(self)
        return made
