"""Lines of a statement: columns of whole numbers inside, ``StatementLine`` in Decimal for whoever looks at one.

A line says who pays whom for what, and all that it was computed from.  Four kinds:

- ``energy``: a party in one period.  Payment = effective · price.  A penalty that is not netted over the day stands
  here too: penalised · penalty price.
- ``netted``: a penalty of a market day, on the sums of its periods.
- ``share``: what a user bears of its agent's penalty; penalised and penalty price are the user's own, the penalty is
  its part of the agent's (``models.settlement.agency``).
- ``reserve``: capacity kept ready.

Aggregators and direct users are paid by the market; an agent's users are paid by their agent.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from models.settlement.exact import IntArray, cny, cny_per_kwh, kwh

MARKET = ""
"""Payer of aggregators and direct users."""


class LineKind(IntEnum):
    """What a line is about."""

    ENERGY = 0
    NETTED = 1
    SHARE = 2
    RESERVE = 3


class Party(NamedTuple):
    """Who is paid; a resource and an aggregator may bear the same name."""

    is_aggregator: bool
    party_id: str


class LineKey(NamedTuple):
    """What makes a line the same line in two versions of a statement."""

    party: Party
    start: datetime
    end: datetime
    kind: LineKind


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line; ``payment + capacity - penalty = net``, each to the cent."""

    party: Party
    payer: str
    kind: LineKind
    start: datetime
    end: datetime
    called_s: int
    baseline_kwh: Decimal
    metered_kwh: Decimal
    award_kwh: Decimal
    delivered_kwh: Decimal
    effective_kwh: Decimal
    price_cny_per_kwh: Decimal
    payment_cny: Decimal
    penalised_kwh: Decimal
    penalty_price_cny_per_kwh: Decimal
    penalty_cny: Decimal
    capacity_kw: Decimal
    capacity_price_cny_per_kw: Decimal
    capacity_cny: Decimal
    rule_id: str
    rule_version: int
    input_digest: str

    @property
    def key(self) -> LineKey:
        """See ``LineKey``."""
        return LineKey(self.party, self.start, self.end, self.kind)

    @property
    def net_cny(self) -> Decimal:
        """What the party gets; negative: what it owes."""
        return self.payment_cny + self.capacity_cny - self.penalty_cny


@dataclass(frozen=True)
class Amounts:
    """The numbers of N lines, (N,) each; ``party``, ``payer`` and ``span`` are positions (payer -1: the market)."""

    party: IntArray
    payer: IntArray
    kind: IntArray
    span: IntArray
    called_s: IntArray
    baseline_wh: IntArray
    metered_wh: IntArray
    award_wh: IntArray
    delivered_wh: IntArray
    effective_wh: IntArray
    price_micro: IntArray
    payment_fen: IntArray
    penalised_wh: IntArray
    penalty_price_micro: IntArray
    penalty_fen: IntArray
    capacity_w: IntArray
    capacity_price_micro: IntArray
    capacity_fen: IntArray

    @classmethod
    def of(cls, count: int, **given: IntArray | int) -> "Amounts":
        """Columns of ``count`` lines; what is not given is 0."""
        zero = np.zeros(count, dtype=np.int64)
        columns = (np.broadcast_to(np.asarray(given.get(field.name, zero)), count) for field in fields(cls))
        return cls(*(np.asarray(column, dtype=np.int64) for column in columns))

    def take(self, rows: IntArray) -> "Amounts":
        """Some lines, in this order."""
        return Amounts(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Amounts"]) -> "Amounts":
        """All lines of the parts, ordered by party, span and kind."""
        whole = cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
        return whole.take(np.lexsort((whole.kind, whole.span, whole.party)))


@dataclass(frozen=True, eq=False)
class Lines:
    """All lines of one statement under one rule; ``parties``, ``digests``: by position, resources first."""

    parties: tuple[Party, ...]
    digests: tuple[str, ...]
    spans: tuple[tuple[datetime, datetime], ...]
    amounts: Amounts
    rule_id: str
    rule_version: int

    def __len__(self) -> int:
        return len(self.amounts.party)

    def __iter__(self) -> Iterator[StatementLine]:
        columns = [getattr(self.amounts, field.name).tolist() for field in fields(self.amounts)]
        return (self._line(row) for row in zip(*columns, strict=True))

    def _line(self, row: Sequence[int]) -> StatementLine:
        party, payer, kind, span, called_s, *numbers = row
        base, load, award, delivered, effective, price, payment, penalised, dear, penalty, *capacity = numbers
        return StatementLine(
            self.parties[party],
            MARKET if payer < 0 else self.parties[payer].party_id,
            LineKind(kind),
            *self.spans[span],
            called_s,
            kwh(base),
            kwh(load),
            kwh(award),
            kwh(delivered),
            kwh(effective),
            cny_per_kwh(price),
            cny(payment),
            kwh(penalised),
            cny_per_kwh(dear),
            cny(penalty),
            kwh(capacity[0]),  # W as kW: the same three digits
            cny_per_kwh(capacity[1]),
            cny(capacity[2]),
            self.rule_id,
            self.rule_version,
            self.digests[party],
        )

    def of(self, party_id: str, *, is_aggregator: bool = False) -> tuple[StatementLine, ...]:
        """The lines of one party."""
        party = Party(is_aggregator, party_id)
        if party not in self.parties:
            return ()
        rows = np.flatnonzero(self.amounts.party == self.parties.index(party))
        return tuple(self.with_amounts(self.amounts.take(rows)))

    def with_amounts(self, amounts: Amounts) -> "Lines":
        """Other lines of the same parties."""
        return Lines(self.parties, self.digests, self.spans, amounts, self.rule_id, self.rule_version)

    def net_fen(self) -> IntArray:
        """What each line comes to."""
        return self.amounts.payment_fen + self.amounts.capacity_fen - self.amounts.penalty_fen

    def market_total_cny(self) -> Decimal:
        """What the market pays in all."""
        return cny(int(self.net_fen()[self.amounts.payer < 0].sum()))

    def totals_cny(self) -> dict[Party, Decimal]:
        """Net of every party, before an aggregator has paid its users."""
        sums = np.zeros(len(self.parties), dtype=np.int64)
        np.add.at(sums, self.amounts.party, self.net_fen())
        return {party: cny(total) for party, total in zip(self.parties, sums.tolist(), strict=True)}

    def margins_cny(self) -> dict[str, Decimal]:
        """What is left to every aggregator after it has paid its users."""
        sums = np.zeros(len(self.parties), dtype=np.int64)
        np.add.at(sums, self.amounts.party, self.net_fen())
        paid_on = self.amounts.payer >= 0
        np.subtract.at(sums, self.amounts.payer[paid_on], self.net_fen()[paid_on])
        return {p.party_id: cny(s) for p, s in zip(self.parties, sums.tolist(), strict=True) if p.is_aggregator}


def digest_of(members: Iterable[tuple[str, str]]) -> str:
    """Digest of an aggregator: sha256 over ``id digest`` lines of its resources in the order of their ids."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(members))
    return hashlib.sha256(text.encode()).hexdigest()
