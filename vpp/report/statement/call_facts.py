"""What all lines of one call share, looked up once: its price row, its periods, who is valid, who belongs to whom."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.settlement.agency import PASS_THROUGH, AgencyTerms
from models.settlement.exact import IntArray, cny, fen, kwh
from models.settlement.inputs import Periods, SettlementInputs, periods_of
from models.settlement.issued import IssuedStatement
from models.settlement.lines import LineKind, Lines, Party, StatementLine
from models.settlement.rules.evaluate import excess_wh, price_terms
from models.settlement.rules.schema import PriceTerms, Rule
from models.settlement.validity import interval_s, valid

Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Call:
    """One issued call, for those who explain its numbers."""

    issued: IssuedStatement

    @property
    def inputs(self) -> SettlementInputs:
        """Baselines, readings, awards."""
        return self.issued.inputs

    @property
    def rule(self) -> Rule:
        """The rule in that version."""
        return self.issued.rule

    @property
    def lines(self) -> Lines:
        """All lines."""
        return self.issued.lines

    @cached_property
    def terms(self) -> PriceTerms:
        """The row of prices that fits this call."""
        called = self.inputs.award_wh.any(axis=0)
        duration_h = int(interval_s(self.inputs)[called].sum()) / 3600
        return price_terms(self.rule, self.inputs.stage, self.inputs.direction, duration_h)

    @cached_property
    def periods(self) -> Periods:
        """As the rule assesses them."""
        return periods_of(self.inputs, self.rule)

    @cached_property
    def _valid(self) -> NDArray[np.bool_]:
        return valid(self.inputs, self.periods, self.rule.validity)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.inputs.resource_ids)}

    def _period(self, line: StatementLine) -> int:
        return self.periods.spans.index((line.start, line.end))

    def counts(self, line: StatementLine) -> bool:
        """Whether the rule's conditions let a resource's period count."""
        return bool(self._valid[self._row[line.party.party_id], self._period(line)])

    def clearing(self, line: StatementLine) -> Decimal:
        """The market's price in a period."""
        return self.periods.clearing_cny_per_kwh[self._period(line)]

    def is_protected(self, party: Party) -> bool:
        """Users under protection are assessed apart; aggregators never are."""
        return not party.is_aggregator and bool(self.inputs.protected[self._row[party.party_id]])

    def agent_of(self, party: Party) -> str | None:
        """Who deals for a resource."""
        return None if party.is_aggregator else self.inputs.aggregator_ids[self._row[party.party_id]]

    def contract(self, aggregator_id: str) -> AgencyTerms:
        """Its contract with its users; without one all is passed through."""
        return self.issued.contracts.get(aggregator_id, PASS_THROUGH)

    def inside(self, party: Party, window: Window) -> list[StatementLine]:
        """The energy lines of a party within a span."""
        mine = self.lines.of(party.party_id, is_aggregator=party.is_aggregator)
        return [one for one in mine if one.kind is LineKind.ENERGY and window[0] <= one.start and one.end <= window[1]]

    def users_rows(self, aggregator_id: str, kind: LineKind, window: Window) -> IntArray:
        """Rows of the lines of an aggregator's users within a span."""
        amounts, spans = self.lines.amounts, self.lines.spans
        agent = self.lines.parties.index(Party(True, aggregator_id))
        within = np.array([window[0] <= start and end <= window[1] for start, end in spans], dtype=np.bool_)
        mine = (amounts.payer == agent) & (amounts.kind == kind) & within[amounts.span]
        return np.flatnonzero(mine).astype(np.int64)

    def users_effective_kwh(self, aggregator_id: str, window: Window) -> tuple[int, Decimal]:
        """How many users an aggregator had in a period, and the sum of what counts of each."""
        rows = self.users_rows(aggregator_id, LineKind.ENERGY, window)
        return len(rows), kwh(int(self.lines.amounts.effective_wh[rows].sum()))

    def users_excess_kwh(self, aggregator_id: str, window: Window) -> Decimal:
        """What its users delivered beyond the edge that is penalised, summed; it is never netted."""
        rows = self.users_rows(aggregator_id, LineKind.ENERGY, window)
        amounts, total = self.lines.amounts, 0
        resource, span = amounts.party[rows], amounts.span[rows]  # resources come first among the parties
        counted = np.where(self._valid[resource, span], amounts.delivered_wh[rows], 0)
        for guarded in (False, True):
            penalty = self.rule.assessment(protected=guarded).penalty
            mine = self.inputs.protected[resource] == guarded
            total += int(excess_wh(penalty, counted, amounts.award_wh[rows])[mine].sum())
        return kwh(total)

    def agents_penalty_cny(self, aggregator_id: str, window: Window) -> Decimal:
        """What an aggregator owes for a span, in whatever line it stands."""
        mine = self.lines.of(aggregator_id, is_aggregator=True)
        kind = LineKind.NETTED if self.rule.netting.agent == "day" else LineKind.ENERGY
        owed = (one.penalty_cny for one in mine if one.kind is kind and (one.start, one.end) == window)
        return sum(owed, Decimal("0.00"))

    def users_alone_cny(self, aggregator_id: str, window: Window) -> Decimal:
        """What its users would owe, each alone, summed."""
        rows = self.users_rows(aggregator_id, LineKind.SHARE, window)
        amounts = self.lines.amounts
        return cny(int(fen(amounts.penalised_wh[rows], amounts.penalty_price_micro[rows]).sum()))

    def market_price(self, aggregator_id: str, window: Window) -> Decimal:
        """An aggregator's price in a period, as its own line shows it."""
        (own,) = self.inside(Party(True, aggregator_id), window)
        return own.price_cny_per_kwh
