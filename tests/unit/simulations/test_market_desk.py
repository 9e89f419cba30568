"""The market side of a simulated gateway: bids by policy, keeps awards and statements, disputes."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import MessageError
from simulations.clock import VirtualClock
from simulations.wire import codec, market_codec
from simulations.wire.gateway import AggregatorGateway
from simulations.wire.market import MarketDesk, ZoneOffers, flat_price, no_bids
from simulations.wire.market_codec import IntervalOffer, ReceivedAwards, ReceivedInvitation, ReceivedStatement
from simulations.wire.orders import Outcome

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
ENVELOPE = {"schema_version": 1, "message_id": "m-1", "sent_at": "2025-07-16T05:00:00Z"}
INVITATION: dict[str, Any] = {
    "event_id": "event-1",
    "status": "open",
    "direction": "shave",
    "start": "2025-07-16T13:00:00+08:00",
    "end": "2025-07-16T05:15:00Z",
    "zone_ids": ["north", "south"],
    "intervals": [
        {
            "start": "2025-07-16T05:00:00Z",
            "end": "2025-07-16T05:15:00Z",
            "need_kw": 500.0,
            "areas": [{"area_id": "station", "zone_ids": ["north"], "at_least_kw": 0, "at_most_kw": None}],
        }
    ],
    "rule_id": "r-1",
    "pricing": "as_cleared",
    "floor_per_kwh": 0.1,
    "cap_per_kwh": 3.0,
    "tick_per_kwh": 0.05,
    "quantum_kw": 10.0,
    "bids_until": "2025-07-16T04:00:00Z",
    "reason": "",
}
AWARD: dict[str, Any] = {
    "zone_id": "north",
    "start": "2025-07-16T05:00:00Z",
    "end": "2025-07-16T05:15:00Z",
    "offered_kw": 100.0,
    "accepted_kw": 40.0,
    "price_per_kwh": 0.5,
    "payment_cny": "5.00",
    "reason": "at_the_margin",
    "reason_zh": "边际中标",
    "reason_en": "at the margin",
}
AWARDS: dict[str, Any] = {
    "event_id": "event-1",
    "cleared_at": "2025-07-16T04:05:00Z",
    "part": 1,
    "parts": 1,
    "awards": [AWARD],
}
MONEY = ("payment_cny", "capacity_cny", "penalty_cny", "net_cny", "to_users_cny", "kept_cny")
STATEMENT: dict[str, Any] = {
    "event_id": "event-1",
    "version": 1,
    "status": "issued",
    "totals": dict.fromkeys(MONEY, "5.00"),
    "sha256": "f" * 64,
    "path": "/api/v1/statements/event-1/1",
    "corrects": None,
    "reason": "",
}
SAMPLES = {"invitations": INVITATION, "awards": AWARDS, "statements": STATEMENT}


def read(topic_end: str, **changed: Any) -> Any:
    return codec.decode(topic_end, json.dumps({**ENVELOPE, **SAMPLES[topic_end], **changed}).encode())


class Sent(list[tuple[str, dict[str, Any]]]):
    """What a desk has put on its way."""

    def put(self, topic_end: str, fields: Mapping[str, Any]) -> str:
        self.append((topic_end, dict(fields)))
        return f"m-{len(self)}"


@pytest.fixture
def sent() -> Sent:
    return Sent()


# ---- codec


def test_what_comes_down_about_a_market_is_read() -> None:
    invitation, awards, statement = read("invitations"), read("awards"), read("statements")
    assert isinstance(invitation, ReceivedInvitation)
    assert (invitation.start, invitation.zone_ids) == (START, frozenset({"north", "south"}))
    [area] = invitation.intervals[0].areas
    assert area == market_codec.InvitedArea("station", frozenset({"north"}), 0.0, None)
    assert isinstance(awards, ReceivedAwards)
    assert awards.awards[0].payment_cny == Decimal("5.00")
    assert isinstance(statement, ReceivedStatement)
    assert statement.net_cny == Decimal("5.00")
    assert read("awards", novelty=1) == awards


@pytest.mark.parametrize(
    ("topic_end", "changed", "said"),
    [
        ("invitations", {"bids_until": "2025-07-16T04:00:00"}, "bids_until: must carry an offset"),
        ("invitations", {"tick_per_kwh": "0.05"}, "tick_per_kwh: must be a finite number"),
        ("invitations", {"intervals": {}}, "intervals: must be a list"),
        ("invitations", {"intervals": [1]}, "must be an object"),
        ("invitations", {"schema_version": 2}, "schema_version: must be 1"),
        ("awards", {"part": 2}, "part: must lie between 1 and parts"),
        ("awards", {"awards": [{**AWARD, "payment_cny": 5.0}]}, "payment_cny: must be money as text"),
        ("awards", {"awards": [{**AWARD, "reason_zh": None}]}, "reason_zh: must be a text"),
        ("statements", {"totals": None}, "must be an object"),
        ("statements", {"totals": dict.fromkeys(MONEY, "5.0")}, "must be money as text"),
        ("statements", {"version": 1.0}, "version: must be a whole number"),
    ],
)
def test_what_could_mislead_a_bidder_is_refused_by_field_and_rule(
    topic_end: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(MessageError, match=said):
        read(topic_end, **changed)


@given(topic_end=st.sampled_from(sorted(SAMPLES)), data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_sample_without_a_field_raises_message_errors_and_nothing_else(topic_end: str, data: st.DataObject) -> None:
    content = {**ENVELOPE, **SAMPLES[topic_end]}
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(
        st.none() | st.text() | st.integers() | st.lists(st.none())
    )
    try:
        codec.decode(topic_end, json.dumps(content).encode())
    except MessageError:
        return


# ---- policies


def test_a_flat_price_keeps_to_tick_quantum_floor_and_cap() -> None:
    power_kw = {"north": 125.0, "south": 9.0, "elsewhere": 50.0}
    for price, allowed in ((0.333, 0.35), (0.0, 0.1), (9.0, 3.0)):
        offers = flat_price(power_kw, price)(read("invitations"))
        assert offers == {"north": [IntervalOffer(START, ((allowed, 120.0),))]}


# ---- desk


def test_an_open_invitation_is_answered_once_and_again_when_it_has_news(sent: Sent) -> None:
    desk = MarketDesk(sent.put, Counter(), flat_price({"north": 100.0}, 0.5))
    desk.take(read("invitations"))
    desk.take(read("invitations", message_id="m-2"))
    desk.take(read("invitations", cap_per_kwh=0.4))
    assert [(topic, fields["sequence"]) for topic, fields in sent] == [("bids", 1), ("bids", 2)]
    prices = [fields["bids"][0]["offers"][0]["steps"] for _, fields in sent]
    assert prices == [[{"price_per_kwh": price, "up_to_kw": 100.0}] for price in (0.5, 0.4)]


@pytest.mark.parametrize("status", ["closed", "cancelled"])
def test_what_is_not_open_is_kept_and_not_answered(status: str, sent: Sent) -> None:
    desk = MarketDesk(sent.put, Counter(), flat_price({"north": 100.0}, 0.5))
    desk.take(read("invitations", status=status, reason="rain"))
    assert desk.invitations["event-1"].status == status
    assert sent == []


def test_a_bidder_who_thinks_better_of_it_withdraws_what_it_has_placed(sent: Sent) -> None:
    def bidder(invitation: ReceivedInvitation) -> ZoneOffers:
        return flat_price({"north": 100.0}, 0.5)(invitation) if invitation.cap_per_kwh > 1 else no_bids(invitation)

    desk = MarketDesk(sent.put, Counter(), bidder)
    desk.take(read("invitations"))
    desk.take(read("invitations", cap_per_kwh=0.5))
    assert [fields["bids"][0]["action"] for _, fields in sent] == ["place", "withdraw"]
    assert desk.bid("event-1", {"north": ()}) is None


def test_who_has_no_policy_stays_away(sent: Sent) -> None:
    MarketDesk(sent.put, Counter()).take(read("invitations"))
    assert sent == []


def test_awards_are_complete_when_all_parts_of_the_latest_clearing_are_there(sent: Sent) -> None:
    desk = MarketDesk(sent.put, Counter())
    later = "2025-07-16T04:09:00Z"
    desk.take(read("awards"))
    desk.take(read("awards", cleared_at=later, part=2, parts=2, awards=[{**AWARD, "zone_id": "south"}]))
    was_complete = [desk.awards["event-1"].is_complete]
    desk.take(read("awards"))  # what was cleared before is late
    desk.take(read("awards", cleared_at=later, part=1, parts=2))
    was_complete.append(desk.awards["event-1"].is_complete)
    assert was_complete == [False, True]
    assert [award.zone_id for award in desk.awards["event-1"].awards] == ["north", "south"]


def test_every_version_of_a_statement_is_kept_once(sent: Sent) -> None:
    counts: Counter[str] = Counter()
    desk = MarketDesk(sent.put, counts)
    for changed in ({}, {"message_id": "m-2"}, {"version": 2, "status": "corrected", "corrects": 1, "reason": "why"}):
        desk.take(read("statements", **changed))
    assert [each.version for each in desk.statements["event-1"]] == [1, 2]
    assert (counts["statements"], counts["duplicates"]) == (3, 1)
    desk.dispute("event-1", 2, "still wrong", "mall-003")
    assert sent == [("disputes", market_codec.dispute("event-1", 2, "still wrong", "mall-003"))]


# ---- over sockets


class NoDevices:
    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        return Outcome("taken")


async def test_a_gateway_bids_and_disputes_until_it_is_answered(platform: Any) -> None:
    clock = VirtualClock(START - timedelta(hours=2))
    bidder = flat_price({"south": 40.0}, 0.5)
    gateway = AggregatorGateway("industry", clock, NoDevices(), [], bidder=bidder, answer_timeout_s=0.2)
    await gateway.start(f"mqtt://127.0.0.1:{platform.port}", "secret")
    platform.silent_for = 1
    await platform.down("industry", "invitations", **INVITATION)
    await platform.down("industry", "awards", **AWARDS)
    await platform.down("industry", "statements", **STATEMENT)
    async with asyncio.timeout(10):
        while not gateway.market.statements:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    gateway.market.dispute("event-1", 1, "meter stood still")
    await gateway.settled(10)
    bids = platform.messages["bids"]
    assert len({message["message_id"] for message in bids}) == 1
    assert len(bids) + len(platform.messages["disputes"]) >= 3  # one of them was not answered at first
    assert bids[0]["bids"][0]["zone_id"] == "south"
    assert bids[0]["sent_at"] == "2025-07-16T03:00:00Z"
    assert platform.messages["disputes"][0]["reason"] == "meter stood still"
    assert gateway.market.awards["event-1"].is_complete
    assert gateway.state.counts["malformed"] == 0
    await gateway.stop()
