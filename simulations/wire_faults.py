"""What goes wrong on the wire between a gateway and the platform, message by message, by seed.

    setpoints   lost, held back (so that newer ones overtake them, or their time runs out), doubled
    answers     what devices have said is lost inside the gateway: nothing is sent, nothing is sent again
    upwards     readings, registrations, answers: lost, held back, doubled on the way; the gateway only sees no receipt
    receipts    lost: the platform has the message, the gateway sends it again

Both ends know nothing of it.  Every throw depends on the seed, the gateway and the message's number alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from simulations.devices.dice import Keys, between, keys_of, uniform

HELD_LEAST_S, HELD_MOST_S = 20.0, 420.0
"""For so long a message is held back: beyond a cycle of five minutes, else no newer command would overtake it."""
AT_ONCE = timedelta(0)
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class WireShares:
    """Shares of messages, 0 to 1, each thrown by itself: a doubled one's two copies may each be held back.

    ``command``: messages of setpoints.  ``up``: whatever the gateway sends and sends again.  ``lost_ack``:
    acknowledgement messages that the gateway itself loses.
    """

    lost_command: float = 0.0
    held_command: float = 0.0
    doubled_command: float = 0.0
    lost_ack: float = 0.0
    lost_up: float = 0.0
    held_up: float = 0.0
    doubled_up: float = 0.0
    lost_receipt: float = 0.0

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name}: must lie between 0 and 1 (got {share})")

    @classmethod
    def of_everything(cls, share: float) -> "WireShares":
        """The same share of everything, both ways."""
        return cls(*[share] * 8)


@dataclass(frozen=True)
class WireFaults:
    """The wire of one gateway; outside its ``spans`` (start included, end not) nothing happens to anything.

    Answers to ``simulations.wire.transit.Wire``.
    """

    gateway: str
    seed: int
    spans: Sequence[Span]
    shares: WireShares

    def down(self, number: int, now: datetime) -> tuple[timedelta, ...]:
        """After how long each copy of the ``number``-th setpoint message gets through; none: it is lost."""
        shares = self.shares
        return self._copies("command", number, now, shares.lost_command, shares.held_command, shares.doubled_command)

    def up(self, number: int, now: datetime) -> tuple[timedelta, ...]:
        """The same of the ``number``-th message that is sent upwards."""
        shares = self.shares
        return self._copies("up", number, now, shares.lost_up, shares.held_up, shares.doubled_up)

    def loses_ack(self, number: int, now: datetime) -> bool:
        """True if the gateway loses its ``number``-th acknowledgement message."""
        return self._is_on(now) and self._throws("lost-ack", number, self.shares.lost_ack)

    def loses_receipt(self, number: int, now: datetime) -> bool:
        """True if the ``number``-th receipt does not come."""
        return self._is_on(now) and self._throws("lost-receipt", number, self.shares.lost_receipt)

    def _copies(
        self, way: str, number: int, now: datetime, lost: float, held: float, doubled: float
    ) -> tuple[timedelta, ...]:
        if not self._is_on(now):
            return (AT_ONCE,)
        if self._throws(f"lost-{way}", number, lost):
            return ()
        copies = 2 if self._throws(f"doubled-{way}", number, doubled) else 1
        return tuple(self._delay(way, 2 * number + copy, held) for copy in range(copies))

    def _delay(self, way: str, copy: int, held: float) -> timedelta:
        if not self._throws(f"held-{way}", copy, held):
            return AT_ONCE
        seconds = between(self._keys, f"held-{way}-for", HELD_LEAST_S, HELD_MOST_S, copy)[0]
        return timedelta(seconds=round(float(seconds)))

    def _is_on(self, now: datetime) -> bool:
        return any(start <= now < end for start, end in self.spans)

    def _throws(self, purpose: str, number: int, share: float) -> bool:
        return bool(uniform(self._keys, purpose, number)[0] < share)

    @cached_property
    def _keys(self) -> Keys:
        return keys_of([self.gateway], self.seed)
