"""Statements: what an event came to, in versions that are added and never overwritten, and what differs between two.

A dispute ends in a corrected version: other readings, another rule version, another award.  The old one stays as it
was, the new one names it, says why, and the difference is told line by line, so that only it has to be paid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from models.errors import InputError, InputFault
from models.settlement.lines import LineKey, Lines, StatementLine


@dataclass(frozen=True, eq=False)
class Statement:
    """One version of the settlement of an event; ``corrects`` and ``reason`` are those of every version but the first.

    ``parts``: the lines under one rule each, such as the call's and a month's reserve.
    """

    event_id: str
    version: int
    parts: tuple[Lines, ...]
    corrects: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        first = self.version == 1
        if self.version < 1 or self.corrects != (None if first else self.version - 1):
            rule = "must be the version before, and none of version 1"
            raise InputError([InputFault(self.event_id, "corrects", self.corrects, rule)])
        if first == bool(self.reason.strip()):
            rule = "a correction must say why, and a first version corrects nothing"
            raise InputError([InputFault(self.event_id, "reason", self.reason, rule)])

    def __iter__(self) -> Iterator[StatementLine]:
        return (line for part in self.parts for line in part)

    def of(self, party_id: str, *, is_aggregator: bool = False) -> tuple[StatementLine, ...]:
        """The lines of one party."""
        return tuple(line for part in self.parts for line in part.of(party_id, is_aggregator=is_aggregator))

    def market_total_cny(self) -> Decimal:
        """What the market pays in all: the sum of its lines."""
        return sum((part.market_total_cny() for part in self.parts), Decimal("0.00"))

    def corrected(self, parts: tuple[Lines, ...], reason: str) -> "Statement":
        """A next version; the present one stays."""
        return Statement(self.event_id, self.version + 1, parts, self.version, reason)


@dataclass(frozen=True)
class StatementHistory:
    """All versions of one event's statement, the first one first; grows only."""

    versions: tuple[Statement, ...]

    def __post_init__(self) -> None:
        numbers = [statement.version for statement in self.versions]
        events = {statement.event_id for statement in self.versions}
        if len(events) != 1 or numbers != list(range(1, len(numbers) + 1)):
            rule = "must be versions 1, 2, … of one event"
            raise InputError([InputFault("statements", "versions", [*sorted(events), *numbers], rule)])

    @property
    def latest(self) -> Statement:
        """The version that holds."""
        return self.versions[-1]

    def with_correction(self, parts: tuple[Lines, ...], reason: str) -> "StatementHistory":
        """A history longer by one version; the present one stays."""
        return StatementHistory((*self.versions, self.latest.corrected(parts, reason)))


@dataclass(frozen=True, slots=True)
class LineDifference:
    """A line that is new, gone or different; ``due_cny``: what is still to be paid to its party for it."""

    key: LineKey
    before: StatementLine | None
    after: StatementLine | None

    @property
    def due_cny(self) -> Decimal:
        """Net of after less net of before."""
        nothing = Decimal("0.00")
        before = nothing if self.before is None else self.before.net_cny
        return (nothing if self.after is None else self.after.net_cny) - before


def difference(old: Statement, new: Statement) -> tuple[LineDifference, ...]:
    """All lines in which two versions differ in anything, by party and time.

    A digest is of all that a resource is settled from, so with one reading changed all its lines are told, and those
    of its aggregator; ``due_cny`` is 0 where it is the evidence alone that changed.
    """
    if old.event_id != new.event_id:
        rule = f"must be of the same event, {old.event_id}"
        raise InputError([InputFault("statements", "event_id", new.event_id, rule)])
    before, after = ({line.key: line for line in statement} for statement in (old, new))
    keys = sorted(before.keys() | after.keys())
    changes = (LineDifference(key, before.get(key), after.get(key)) for key in keys)
    return tuple(change for change in changes if change.before != change.after)
