"""Whose lines: those of one party, of an aggregator with its users, or all; and what they sum to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from models.settlement.exact import cny, kwh
from models.settlement.issued import IssuedStatement
from models.settlement.lines import LineKind, Lines, Party, StatementLine


@dataclass(frozen=True)
class Scope:
    """``party`` None: everything; ``with_users``: an aggregator and all that it pays."""

    party: Party | None = None
    with_users: bool = False

    @classmethod
    def resource(cls, resource_id: str) -> "Scope":
        """The lines of one resource."""
        return cls(Party(False, resource_id))

    @classmethod
    def aggregator(cls, aggregator_id: str, *, with_users: bool = True) -> "Scope":
        """The lines of an aggregator, and those of its users."""
        return cls(Party(True, aggregator_id), with_users)

    @property
    def name(self) -> str:
        """One word for a file or a log."""
        if self.party is None:
            return "everything"
        return (
            ("aggregator_with_users" if self.with_users else "aggregator") if self.party.is_aggregator else "resource"
        )

    def of(self, lines: Lines) -> Lines:
        """Its lines, in their order; none of a party that has none."""
        if self.party is None:
            return lines
        if self.party not in lines.parties:
            return lines.with_amounts(lines.amounts.take(np.zeros(0, dtype=np.int64)))
        place = lines.parties.index(self.party)
        mine = lines.amounts.party == place
        if self.with_users:
            mine |= lines.amounts.payer == place
        return lines.with_amounts(lines.amounts.take(np.flatnonzero(mine)))

    def holds(self, line: StatementLine) -> bool:
        """Whether a line is one of its own."""
        if self.party is None or line.party == self.party:
            return True
        return self.with_users and not line.party.is_aggregator and line.payer == self.party.party_id

    def agents_of(self, issued: IssuedStatement) -> tuple[str, ...]:
        """The aggregators whose contracts its lines rest on: nobody is shown the contract of somebody else."""
        if self.party is None:
            return tuple(sorted(issued.contracts))
        if self.party.is_aggregator:
            return (self.party.party_id,)
        inputs = issued.inputs
        owners = dict(zip(inputs.resource_ids, inputs.aggregator_ids, strict=True))
        owner = owners.get(self.party.party_id)
        return () if owner is None else (owner,)


EVERYTHING = Scope()


@dataclass(frozen=True)
class Sums:
    """What lines come to: exactly the sums of what they show.  Energy is of energy lines only, so it counts once."""

    lines: int
    award_kwh: Decimal
    delivered_kwh: Decimal
    effective_kwh: Decimal
    payment_cny: Decimal
    capacity_cny: Decimal
    penalty_cny: Decimal

    @property
    def net_cny(self) -> Decimal:
        """What is paid; negative: what is owed."""
        return self.payment_cny + self.capacity_cny - self.penalty_cny

    @classmethod
    def of(cls, lines: Lines) -> "Sums":
        """Of all lines given."""
        amounts = lines.amounts
        energy = amounts.kind == LineKind.ENERGY
        quantities = (amounts.award_wh, amounts.delivered_wh, amounts.effective_wh)
        money = (amounts.payment_fen, amounts.capacity_fen, amounts.penalty_fen)
        return cls(
            len(lines),
            *(kwh(int(each[energy].sum())) for each in quantities),
            *(cny(int(each.sum())) for each in money),
        )

    @classmethod
    def of_lines(cls, lines: Sequence[StatementLine]) -> "Sums":
        """The same of lines that are already told one by one."""
        energy = [line for line in lines if line.kind is LineKind.ENERGY]
        return cls(
            len(lines),
            sum((line.award_kwh for line in energy), Decimal("0.000")),
            sum((line.delivered_kwh for line in energy), Decimal("0.000")),
            sum((line.effective_kwh for line in energy), Decimal("0.000")),
            sum((line.payment_cny for line in lines), Decimal("0.00")),
            sum((line.capacity_cny for line in lines), Decimal("0.00")),
            sum((line.penalty_cny for line in lines), Decimal("0.00")),
        )


def paid_by_market(lines: Lines) -> Lines:
    """The lines that the market pays: of aggregators and direct users."""
    return lines.with_amounts(lines.amounts.take(np.flatnonzero(lines.amounts.payer < 0)))


def paid_by_aggregators(lines: Lines) -> Lines:
    """The lines that aggregators pay to their users: part of what they themselves got."""
    return lines.with_amounts(lines.amounts.take(np.flatnonzero(lines.amounts.payer >= 0)))


def by_party(lines: Lines) -> Iterator[tuple[Party, Lines]]:
    """Every party that has lines, with them; in the order of the parties."""
    order = np.argsort(lines.amounts.party, kind="stable")
    places, first = np.unique(lines.amounts.party[order], return_index=True)
    for place, rows in zip(places.tolist(), np.split(order, first[1:]), strict=False):  # no line: no place, one split
        yield lines.parties[place], lines.with_amounts(lines.amounts.take(rows))


AT_ONCE = 5000


def one_by_one(lines: Lines) -> Iterator[StatementLine]:
    """All lines, made as they are asked for: Python's numbers take ten times the room of the columns."""
    for low in range(0, len(lines), AT_ONCE):
        rows = np.arange(low, min(low + AT_ONCE, len(lines)), dtype=np.int64)
        yield from lines.with_amounts(lines.amounts.take(rows))
