"""Messages on their way up: kept and sent again, with the same id, until the platform answers.

QoS 1 alone loses messages across a restart of the broker; only a receipt means that something has arrived.  What a
receipt calls refused is answered too, and never sent again.
"""

import asyncio
import time
from dataclasses import dataclass

from models.errors import BrokerError


@dataclass(slots=True)
class Waiting:
    """A message without an answer; ``sent_at_s``: monotonic time of the last try, None before the first."""

    message_id: str
    topic: str
    payload: bytes
    sent_at_s: float | None = None
    tries: int = 0


class Outbox:
    """Messages in the order in which they were put in; ``answer_timeout_s`` is real time."""

    def __init__(self, answer_timeout_s: float) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._waiting: dict[str, Waiting] = {}
        self.waiting_bytes = 0
        self._stirred = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message_id: str, topic: str, payload: bytes) -> None:
        """Have a message sent until it is answered."""
        self._waiting[message_id] = Waiting(message_id, topic, payload)
        self.waiting_bytes += len(payload)
        self.empty.clear()
        self._stirred.set()

    def answered(self, message_id: str) -> bool:
        """Stop sending a message; False if it was not waiting (answered before, or never ours)."""
        known = self._waiting.pop(message_id, None)
        if known is not None:
            self.waiting_bytes -= len(known.payload)
        if not self._waiting:
            self.empty.set()
        return known is not None

    def forget_tries(self) -> None:
        """After a lost connection: everything unanswered is due again at once."""
        for each in self._waiting.values():
            each.sent_at_s = None
        self._stirred.set()

    async def next_due(self) -> Waiting:
        """The next message to send, first try or again; waits until there is one."""
        while True:
            now = time.monotonic()
            self._stirred.clear()
            soonest = None
            for each in self._waiting.values():
                due = now if each.sent_at_s is None else each.sent_at_s + self._answer_timeout_s
                if due <= now:
                    each.sent_at_s = now
                    each.tries += 1
                    return each
                soonest = due if soonest is None else min(soonest, due)
            try:
                await asyncio.wait_for(self._stirred.wait(), None if soonest is None else soonest - now)
            except TimeoutError:
                continue

    async def wait_empty(self, timeout_s: float) -> None:
        """Return when everything is answered; ``BrokerError`` naming what is not after ``timeout_s``."""
        try:
            await asyncio.wait_for(self.empty.wait(), timeout_s)
        except TimeoutError:
            names = ", ".join(list(self._waiting)[:5])
            raise BrokerError(f"{len(self._waiting)} messages unanswered after {timeout_s:g} s: {names}") from None
