"""Messages on their way up: kept and sent again, with the same id, until the platform answers.

QoS 1 alone loses messages across a restart of the broker; only a receipt means that something has arrived.  What a
receipt calls refused is answered too, and never sent again.

A message is *adrift* while nothing can come of it: the wire has lost it, or holds it, or has lost its receipt.  Nobody
waits for it then, and it is sent again when its time on the gateway's clock has come.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from models.errors import BrokerError


@dataclass(slots=True)
class Waiting:
    """A message without an answer; ``sent_at_s``: monotonic time of the last try, None before the first.

    ``adrift_until``: nothing comes of it before then.
    """

    message_id: str
    topic: str
    payload: bytes
    sent_at_s: float | None = None
    tries: int = 0
    adrift_until: datetime | None = None


class Outbox:
    """Messages in the order in which they were put in; ``answer_timeout_s`` is real time."""

    def __init__(self, answer_timeout_s: float) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._waiting: dict[str, Waiting] = {}
        self._adrift = 0
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
            self._drift(known, None)
        return known is not None

    def set_adrift(self, message_id: str, until: datetime) -> bool:
        """Expect nothing of a message until then; False if it was not waiting."""
        known = self._waiting.get(message_id)
        if known is not None:
            self._drift(known, until)
        return known is not None

    def under_way(self, message_id: str) -> None:
        """What the wire held back goes on: if it is not answered yet, its answer may come at any time."""
        known = self._waiting.get(message_id)
        if known is not None:
            known.sent_at_s = time.monotonic()
            self._drift(known, None)

    def send_again(self, message_id: str, now: datetime) -> None:
        """Send a message again that has been adrift until now."""
        known = self._waiting.get(message_id)
        if known is not None and known.adrift_until is not None and known.adrift_until <= now:
            known.sent_at_s = None
            self._drift(known, None)
            self._stirred.set()

    def _drift(self, message: Waiting, until: datetime | None) -> None:
        self._adrift += (until is not None) - (message.adrift_until is not None)
        message.adrift_until = until
        if len(self._waiting) == self._adrift:
            self.empty.set()
        else:
            self.empty.clear()

    def forget_tries(self) -> None:
        """After a lost connection: everything unanswered is due again at once."""
        for each in self._waiting.values():
            each.sent_at_s = None
            self._drift(each, None)
        self._stirred.set()

    async def next_due(self) -> Waiting:
        """The next message to send, first try or again; waits until there is one."""
        while True:
            now = time.monotonic()
            self._stirred.clear()
            soonest = None
            for each in self._waiting.values():
                if each.adrift_until is not None:
                    continue
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
        """Return when all that is not adrift is answered; ``BrokerError`` naming what is not after ``timeout_s``."""
        try:
            await asyncio.wait_for(self.empty.wait(), timeout_s)
        except TimeoutError:
            late = [name for name, each in self._waiting.items() if each.adrift_until is None]
            raise BrokerError(f"{len(late)} messages unanswered after {timeout_s:g} s: {', '.join(late[:5])}") from None
