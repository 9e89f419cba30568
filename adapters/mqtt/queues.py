"""What aggregators have sent and nobody has looked at yet: a queue for each, bounded in bytes, each and together."""

import asyncio
from dataclasses import dataclass

_OVERHEAD_BYTES = 200


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
        self._waiting: asyncio.Queue[Incoming] = asyncio.Queue()
        self._held_bytes = 0

    def put(self, message: Incoming) -> bool:
        """Keep a message; False if there is no room for it."""
        size, queues = message.held_bytes, self._queues
        if self._held_bytes + size > queues.each_bytes or queues.held_bytes + size > queues.all_bytes:
            return False
        self._held_bytes += size
        queues.held_bytes += size
        self._waiting.put_nowait(message)
        return True

    async def get(self) -> Incoming:
        """The next message, once there is one."""
        message = await self._waiting.get()
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
