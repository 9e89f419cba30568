"""From a market, its clearing and a statement to what one aggregator is told of them."""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from models.clearing.market import Market, Need
from models.clearing.result import Award, Clearing
from models.clearing.words import sentence_en, sentence_zh
from models.events import Direction
from models.market_messages import (
    AwardNotice,
    Invitation,
    InvitedArea,
    InvitedInterval,
    OfferAward,
)
from models.money_messages import StatementNotice, StatementTotals
from models.settlement.issued import IssuedStatement
from models.settlement.statement import Statement

MOST_REASON = 500
"""Of the reason for a correction so much is told; all of it stands in the statement."""

_NOTHING = Decimal("0.00")
_MICRO_DIGITS = 6


def invitation(
    market: Market,
    event_id: str,
    direction: Direction,
    bids_until: datetime,
    *,
    status: Literal["open", "closed", "cancelled"] = "open",
    reason: str = "",
) -> Invitation:
    """The invitation to a market; bids that it has already are nobody's business."""
    rule = market.rule
    return Invitation(
        event_id=event_id,
        status=status,
        direction=direction,
        start=market.needs[0].start,
        end=market.needs[-1].end,
        zone_ids=market.zone_ids,
        intervals=tuple(_invited(need) for need in market.needs),
        rule_id=rule.rule_id,
        pricing=rule.pricing,
        floor_per_kwh=rule.floor_per_kwh,
        cap_per_kwh=rule.cap_per_kwh,
        tick_per_kwh=rule.tick_per_kwh,
        quantum_kw=rule.quantum_kw,
        bids_until=bids_until,
        reason=reason,
    )


def _invited(need: Need) -> InvitedInterval:
    areas = tuple(InvitedArea(**dict(area)) for area in need.areas)
    return InvitedInterval(start=need.start, end=need.end, need_kw=need.need_kw, areas=areas)


def award_notice(
    clearing: Clearing, event_id: str, aggregator_id: str, cleared_at: datetime, zone: tzinfo
) -> AwardNotice:
    """Awards of one aggregator, by zone and time; ``zone``: of the clock in the sentences."""
    ends = {row.start: row.end for row in clearing.intervals}
    mine = [award for award in clearing.awards if award.aggregator_id == aggregator_id]
    mine.sort(key=lambda award: (award.zone_id, award.start))
    return AwardNotice(
        event_id=event_id,
        cleared_at=cleared_at,
        rule_id=clearing.rule_id,
        pricing=clearing.pricing,
        awards=tuple(_told(award, ends[award.start], zone) for award in mine),
    )


def _told(award: Award, end: datetime, zone: tzinfo) -> OfferAward:
    energy_kwh = award.accepted_kw * (end - award.start).total_seconds() / 3600
    return OfferAward(
        bid_id=award.bid_id,
        zone_id=award.zone_id,
        start=award.start,
        end=end,
        offered_kw=award.offered_kw,
        minimum_kw=award.minimum_kw,
        accepted_kw=award.accepted_kw,
        price_per_kwh=award.price_per_kwh,
        paid_per_kwh=round(award.payment_cny / energy_kwh, _MICRO_DIGITS) if energy_kwh > 0 else None,
        payment_cny=_cents(award.payment_cny),
        supplement_cny=_cents(award.supplement_cny),
        reason=award.reason,
        next_price_per_kwh=award.next_price_per_kwh,
        accepted_below_per_kwh=award.accepted_below_per_kwh,
        limit_area_id=award.limit_area_id,
        reason_zh=sentence_zh(award, zone),
        reason_en=sentence_en(award, zone),
    )


def _cents(money_cny: float) -> Decimal:
    return Decimal(repr(money_cny)).quantize(_NOTHING, rounding=ROUND_HALF_EVEN)


def totals_of(statement: Statement, aggregator_id: str) -> StatementTotals:
    """Sums over the lines of an aggregator; all 0 if it has none."""
    lines = statement.of(aggregator_id, is_aggregator=True)
    net = _sum(line.net_cny for line in lines)
    kept = _sum(part.margins_cny().get(aggregator_id, _NOTHING) for part in statement.parts)
    return StatementTotals(
        payment_cny=_sum(line.payment_cny for line in lines),
        capacity_cny=_sum(line.capacity_cny for line in lines),
        penalty_cny=_sum(line.penalty_cny for line in lines),
        net_cny=net,
        to_users_cny=net - kept,
        kept_cny=kept,
    )


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, _NOTHING)


def statement_notice(
    issued: IssuedStatement,
    aggregator_id: str,
    path: str,
    *,
    settled: bool = False,
    dispute_until: datetime | None = None,
) -> StatementNotice:
    """What one aggregator is told of an issued statement."""
    statement = issued.statement
    return StatementNotice(
        event_id=statement.event_id,
        version=statement.version,
        status="settled" if settled else "issued" if statement.version == 1 else "corrected",
        issued_at=issued.made_at,
        totals=totals_of(statement, aggregator_id),
        sha256=issued.sha256,
        path=path,
        corrects=statement.corrects,
        reason=statement.reason[:MOST_REASON],
        dispute_until=dispute_until,
    )
