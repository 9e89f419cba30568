"""Invitations, bids, awards and statements as records: what they refuse, and what is made of a market."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.bid_intake import MOST_FAULTS, faults_of_bids
from models.clearing.clear import clear
from models.clearing.market import AreaNeed, Market, MarketRule, Need, Offer, Pricing, Step
from models.events import Direction
from models.market_messages import BidSubmission, Invitation, ZoneBid
from models.market_notices import award_notice, invitation
from models.money_messages import Cny, Dispute, StatementNotice, StatementTotals

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
GATE = START - timedelta(hours=1)
RULE = MarketRule()
MONEY: TypeAdapter[Decimal] = TypeAdapter(Cny)


def market(**changed: Any) -> Market:
    area = AreaNeed(area_id="station", zone_ids=frozenset({"north", "south"}), at_most_kw=300.0)
    needs = tuple(
        Need(start=START + k * QUARTER, end=START + (k + 1) * QUARTER, need_kw=500.0, areas=(area,)) for k in range(2)
    )
    return Market(**{"market_id": "m", "zone_ids": frozenset({"north", "south", "east"}), "needs": needs, **changed})


def invited(**changed: Any) -> Invitation:
    made = invitation(market(), "event-1", Direction.SHAVE, GATE)
    return Invitation.model_validate({**dict(made), **changed})


def offer(price: float = 0.5, power_kw: float = 100.0, start: datetime = START, minimum_kw: float = 0.0) -> Offer:
    return Offer(start=start, steps=(Step(price_per_kwh=price, up_to_kw=power_kw),), minimum_kw=minimum_kw)


def bids(*given: ZoneBid, sequence: int = 0, event_id: str = "event-1") -> BidSubmission:
    return BidSubmission(event_id=event_id, sequence=sequence, bids=given)


def placed(zone_id: str = "north", *offers: Offer) -> ZoneBid:
    return ZoneBid(action="place", zone_id=zone_id, offers=offers or (offer(),))


def withdrawn(zone_id: str = "north") -> ZoneBid:
    return ZoneBid(action="withdraw", zone_id=zone_id)


# ---- invitation


def test_an_invitation_says_of_a_market_what_bidders_must_know() -> None:
    made = invited()
    assert (made.start, made.end, made.zone_ids) == (START, START + 2 * QUARTER, market().zone_ids)
    assert [dict(each.areas[0]) for each in made.intervals] == [dict(need.areas[0]) for need in market().needs]
    assert (made.floor_per_kwh, made.cap_per_kwh, made.pricing) == (0.0, 3.0, Pricing.AS_CLEARED)
    assert Market(market_id="m", zone_ids=made.zone_ids, needs=made.intervals).needs == made.intervals


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"end": START}, "end: must be later than start"),
        ({"bids_until": START + QUARTER}, "bids_until: must not be later than start"),
        ({"cap_per_kwh": 0.1, "floor_per_kwh": 0.2}, "cap_per_kwh: must not be less"),
        ({"status": "cancelled", "reason": " "}, "reason: is required"),
        ({"start": START + QUARTER}, "intervals: must lie in the window"),
        ({"zone_ids": {"north", "east"}}, "zones of the market only"),
        ({"intervals": invited().intervals[::-1]}, "intervals: must not begin before the last one ends"),
        ({"intervals": ()}, "intervals"),
        ({"zone_ids": ()}, "zone_ids"),
        ({"status": "perhaps"}, "status"),
    ],
)
def test_an_invitation_that_contradicts_itself_is_not_made(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        invited(**changed)


# ---- bids


def test_a_bid_is_of_the_time_when_the_platform_received_it() -> None:
    made = placed().as_bid("b-1", "alpha", GATE)
    assert (made.bid_id, made.aggregator_id, made.zone_id, made.submitted_at) == ("b-1", "alpha", "north", GATE)
    assert made.offers == (offer(),)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "place"}, "offers: must be there when a bid is placed"),
        ({"action": "withdraw", "offers": (offer(),)}, "offers: must not be there when a bid is withdrawn"),
        ({"action": "change"}, "action"),
        ({"action": "place", "offers": (offer(),) * 401}, "at most 400"),
    ],
)
def test_a_zone_bid_either_offers_or_withdraws(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ZoneBid.model_validate({"zone_id": "north", **fields})


@pytest.mark.parametrize(
    ("submission", "changed", "at", "row", "field", "rule"),
    [
        (bids(placed(), event_id="event-2"), {}, GATE, None, "event_id", "such as event-1"),
        (bids(placed()), {"status": "closed"}, GATE, None, "event_id", "its invitation is closed"),
        (bids(placed()), {"status": "cancelled", "reason": "rain"}, GATE, None, "event_id", "is cancelled"),
        (bids(placed()), {}, GATE + timedelta(seconds=1), None, "event_id", "takes no bids after"),
        (bids(placed("east"), placed(), sequence=3), {}, GATE, 1, "sequence", "must not be below 4"),
        (bids(withdrawn(), sequence=3), {}, GATE, 0, "sequence", "must not be below 4"),
        (bids(withdrawn("east")), {}, GATE, 0, "zone_id", "has no bid to withdraw"),
        (bids(placed("west")), {}, GATE, 0, "zone_id", "must be a zone of the market"),
        (bids(placed("east", offer(3.001))), {}, GATE, 0, "offers.0.steps.0.price_per_kwh", "floor 0 and cap 3"),
        (bids(placed("east", offer(0.0005))), {}, GATE, 0, "offers.0.steps.0.price_per_kwh", "multiple of 0.001"),
        (bids(placed("east", offer(0.5, 1.5))), {}, GATE, 0, "offers.0.steps.0.up_to_kw", "multiple of 1 kW"),
        (bids(placed("east", offer(minimum_kw=0.5))), {}, GATE, 0, "offers.0.minimum_kw", "multiple of 1 kW"),
        (bids(placed("east", offer(start=GATE))), {}, GATE, 0, "offers.0.start", "start of an interval"),
        (bids(placed("east", offer(), offer())), {}, GATE, 0, "offers.1.start", "must be there once"),
    ],
)
def test_bids_that_cannot_be_taken_say_field_rule_and_place(
    submission: BidSubmission, changed: dict[str, Any], at: datetime, row: int | None, field: str, rule: str
) -> None:
    [fault] = faults_of_bids(submission, "alpha", at, invited(**changed), RULE, {"north": 4})
    assert (fault.place, fault.row, fault.field) == ("bids", row, field)
    assert rule in fault.rule


def test_of_a_bid_that_is_wrong_everywhere_the_first_faults_are_named() -> None:
    wrong = placed("east", *(offer(9.0, start=START + k * QUARTER) for k in range(50)))
    faults = faults_of_bids(bids(wrong, placed("north")), "alpha", GATE, invited(), RULE, {})
    assert [fault.row for fault in faults] == [0] * MOST_FAULTS


def test_bids_at_the_last_moment_and_with_the_same_sequence_are_taken() -> None:
    both = bids(placed("north"), withdrawn("south"), placed("east"), sequence=4)
    assert faults_of_bids(both, "alpha", GATE, invited(), RULE, {"north": 4, "south": 2}) == []


# ---- awards


@pytest.mark.parametrize("pricing", Pricing)
def test_an_award_tells_its_aggregator_alone_what_it_gets_and_why(pricing: Pricing) -> None:
    mine = placed("north", offer(0.4, 200.0), offer(0.4, 200.0, START + QUARTER))
    theirs = placed("east", offer(0.6, 400.0), offer(0.6, 400.0, START + QUARTER))
    full = market(
        rule=MarketRule(pricing=pricing),
        bids=(mine.as_bid("b-1", "alpha", GATE), theirs.as_bid("b-2", "beta", GATE)),
    )
    notice = award_notice(clear(full), "event-1", "alpha", GATE, ZoneInfo("Asia/Shanghai"))
    assert [(each.zone_id, each.start) for each in notice.awards] == [("north", START), ("north", START + QUARTER)]
    first = notice.awards[0]
    assert (first.bid_id, first.accepted_kw, first.end) == ("b-1", 200.0, START + QUARTER)
    paid = 0.4 if pricing is Pricing.AS_BID else 0.6
    assert (first.paid_per_kwh, first.payment_cny) == (paid, Decimal("50.00") * Decimal(str(paid)))
    assert first.reason_en.startswith("13:00, north: 200 of 200 kW accepted")
    assert "申报 200 千瓦，中标 200 千瓦" in first.reason_zh
    assert award_notice(clear(full), "event-1", "gamma", GATE, ZoneInfo("Asia/Shanghai")).awards == ()


# ---- money


@given(cents=st.integers(-(10**17), 10**17))
def test_money_travels_as_text_and_comes_back_to_the_cent(cents: int) -> None:
    amount = Decimal(cents).scaleb(-2)
    text = MONEY.dump_json(amount)
    assert text.startswith(b'"')
    assert MONEY.validate_json(text, strict=True) == amount
    assert MONEY.dump_json(MONEY.validate_json(text, strict=True)) == text


@pytest.mark.parametrize("text", ["12.5", '"12.5"', '"1e3"', "12", '"NaN"', '"Infinity"', '"12,50"', "null", '""'])
def test_money_that_is_not_text_with_two_digits_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        MONEY.validate_json(text, strict=True)


TOTALS = {
    "payment_cny": "87.50",
    "capacity_cny": "1.00",
    "penalty_cny": "4.25",
    "net_cny": "84.25",
    "to_users_cny": "67.40",
    "kept_cny": "16.85",
}


@pytest.mark.parametrize(("name", "said"), [("net_cny", "net_cny: must be payment"), ("kept_cny", "kept_cny: must be")])
def test_totals_add_up_to_the_cent(name: str, said: str) -> None:
    StatementTotals.model_validate(TOTALS)
    with pytest.raises(ValidationError, match=said):
        StatementTotals.model_validate({**TOTALS, name: "84.26"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 2, "status": "corrected", "reason": "why"}, "corrects: must be the version before"),
        ({"corrects": 1}, "corrects: must be the version before"),
        ({"status": "corrected"}, "status: must be issued for version 1"),
        ({"version": 2, "corrects": 1, "reason": "why"}, "status: must be issued for version 1"),
        ({"version": 2, "corrects": 1, "status": "corrected"}, "reason: is required"),
        ({"version": 0}, "version"),
        ({"sha256": "F" * 64}, "sha256"),
        ({"path": "http://elsewhere/"}, "path"),
    ],
)
def test_a_statement_notice_names_what_it_corrects_and_why(changed: dict[str, Any], said: str) -> None:
    fields = {"event_id": "e", "version": 1, "status": "issued", "issued_at": START, "totals": TOTALS}
    fields |= {"sha256": "f" * 64, "path": "/api/v1/statements/e/1"}
    StatementNotice.model_validate(fields)
    StatementNotice.model_validate({**fields, "status": "settled"})
    with pytest.raises(ValidationError, match=said):
        StatementNotice.model_validate({**fields, **changed})


@pytest.mark.parametrize("changed", [{"reason": "  "}, {"reason": "x" * 501}, {"version": 0}, {"resource_id": ""}])
def test_a_dispute_says_what_is_wrong_with_which_version(changed: dict[str, Any]) -> None:
    fields = {"event_id": "e", "version": 1, "reason": "meter stood still"}
    Dispute.model_validate(fields)
    with pytest.raises(ValidationError):
        Dispute.model_validate({**fields, **changed})
