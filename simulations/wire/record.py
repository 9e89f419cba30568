"""What went through a gateway, written down for whoever asks afterwards whether anything was lost, doubled or mixed up.

It is kept beside the rules that the gateway follows, and knows none of them: it can tell when they are broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Told:
    """An order that a device took at an instant."""

    at: datetime
    resource_id: str
    command_id: str
    sequence: int
    valid_from: datetime
    valid_until: datetime


@dataclass
class GatewayRecord:
    """``said``: readings (JSON texts) as they were put on their way, and when.  ``told``: orders in the order in which
    devices took them.
    """

    said: list[tuple[datetime, Sequence[str]]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
