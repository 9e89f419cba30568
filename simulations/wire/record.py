"""What went through a gateway, written down for whoever asks afterwards whether anything was lost, doubled or mixed up.

It is kept beside the rules that the gateway follows, and knows none of them: it can tell when they are broken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulations.wire.codec import ReceivedSetpoints


@dataclass(frozen=True, slots=True)
class Told:
    """An order that a device took at an instant; ``power_kw`` None: it was released to its own control."""

    at: datetime
    resource_id: str
    command_id: str
    sequence: int
    valid_from: datetime
    valid_until: datetime
    power_kw: float | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What was said of a command, for one device or (None) for all of it, in a message that was put on its way."""

    at: datetime
    message_id: str
    command_id: str
    resource_id: str | None
    status: str


@dataclass
class GatewayRecord:
    """``said``: readings (JSON texts) as they were put on their way, and when.  ``came``: commands as they came, copies
    and what the wire then loses among them.  ``told``: orders in the order in which devices took them.  ``answered``:
    answers to commands, but for those that the gateway itself has lost.  ``received``: by message, when it was first
    heard that the platform has it.
    """

    said: list[tuple[datetime, Sequence[str]]] = field(default_factory=list)
    came: list[tuple[datetime, ReceivedSetpoints]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    received: dict[str, datetime] = field(default_factory=dict)

    def answers(self, at: datetime, message_id: str, acks: Iterable[Mapping[str, Any]]) -> None:
        """Note what a message says of commands."""
        self.answered += [
            Answered(at, message_id, ack["command_id"], ack["resource_id"], ack["status"]) for ack in acks
        ]
