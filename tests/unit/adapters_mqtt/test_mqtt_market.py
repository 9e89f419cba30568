"""Market and money on the wire: round trips, every rule by name, awards in parts, and the way to a handler."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from amqtt.contexts import Action
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mqtt import asyncapi
from adapters.mqtt.broker_mosquitto import access_rule
from adapters.mqtt.credentials import FileCredentialStore
from adapters.mqtt.decode import DecodeContext, decode_down, decode_up
from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, DownTopic, UpTopic, encode
from adapters.mqtt.guarded_broker import Guard
from adapters.mqtt.market_payloads import (
    BidsMessage,
    DisputeMessage,
    StatementMessage,
    bid_submission,
    dispute_of,
    encode_awards,
)
from adapters.mqtt.market_uplink import NO_BIDS, NO_DISPUTES, MarketUplink
from adapters.mqtt.uplink import Answer, Received
from models.clearing.market import Offer, Pricing, Step
from models.clearing.result import Reason
from models.errors import InputError, InputFault, MessageError, StoreError
from models.market_messages import Arrival, AwardNotice, BidSubmission, OfferAward, ZoneBid
from models.money_messages import Dispute, StatementTotals

GOLDEN = Path(asyncapi.__file__).with_name("golden")
START = datetime(2025, 7, 16, 5, tzinfo=UTC)
CONTEXT = DecodeContext(START, "charging-east")
MARKET = (UpTopic.BIDS, UpTopic.DISPUTES, DownTopic.INVITATIONS, DownTopic.AWARDS, DownTopic.STATEMENTS)


def golden(topic: UpTopic | DownTopic) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{topic.value}.json").read_bytes())
    return content


def raw(content: Any) -> bytes:
    return json.dumps(content).encode()


def read(topic: UpTopic, **changed: Any) -> Received[Any]:
    payload = raw({**golden(topic), **changed})
    return Received("charging-east", topic, decode_up(topic, payload, CONTEXT), payload, START)


def with_field(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The content with something else at a dotted path."""
    changed: dict[str, Any] = json.loads(json.dumps(content))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = changed
    for step in way:
        place = place[step]
    place[last] = value
    return changed


# ---- round trips

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:\-]{0,20}\Z")
moments = st.integers(0, 10**6).map(lambda seconds: START + timedelta(seconds=seconds))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
cents = st.integers(-(10**12), 10**12).map(lambda number: Decimal(number).scaleb(-2))


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    count = draw(st.integers(1, 4))
    prices = sorted(draw(st.lists(st.integers(0, 3000), min_size=count, max_size=count)))
    powers = sorted(draw(st.lists(st.integers(1, 10**6), min_size=count, max_size=count, unique=True)))
    steps = tuple(
        Step(price_per_kwh=price / 1000, up_to_kw=float(power)) for price, power in zip(prices, powers, strict=True)
    )
    return Offer(start=draw(moments), steps=steps, minimum_kw=float(draw(st.integers(0, powers[-1]))))


@st.composite
def zone_bids(draw: st.DrawFn) -> ZoneBid:
    if draw(st.booleans()):
        return ZoneBid(action="withdraw", zone_id=draw(names))
    given = draw(st.lists(offers(), min_size=1, max_size=3))
    return ZoneBid(action="place", zone_id=draw(names), offers=tuple(given))


submissions = st.builds(
    BidSubmission,
    event_id=names,
    sequence=st.integers(0, 2**40),
    bids=st.lists(zone_bids(), max_size=4, unique_by=lambda bid: bid.zone_id).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(submission=submissions)
def test_bids_come_over_the_wire_as_they_were_given(submission: BidSubmission) -> None:
    payload = encode(BidsMessage.new(START, "m-1", **dict(submission)))
    decoded = decode_up(UpTopic.BIDS, payload, CONTEXT)
    assert decoded.refusals == ()
    assert isinstance(decoded.message, BidsMessage)
    assert bid_submission(decoded.message) == submission
    assert encode(decoded.message) == payload


@settings(max_examples=40, deadline=None)
@given(event_id=names, version=st.integers(1, 99), resource_id=st.none() | names, reason=texts.filter(str.strip))
def test_disputes_come_over_the_wire_as_they_were_given(
    event_id: str, version: int, resource_id: str | None, reason: str
) -> None:
    dispute = Dispute(event_id=event_id, version=version, resource_id=resource_id, reason=reason)
    message = decode_up(UpTopic.DISPUTES, encode(DisputeMessage.new(START, **dict(dispute))), CONTEXT).message
    assert isinstance(message, DisputeMessage)
    assert dispute_of(message) == dispute


@settings(max_examples=40, deadline=None)
@given(amounts=st.tuples(cents, cents, cents, cents))
def test_money_of_a_statement_comes_over_the_wire_to_the_cent(amounts: tuple[Decimal, ...]) -> None:
    payment, capacity, penalty, users = amounts
    net = payment + capacity - penalty
    totals = StatementTotals(
        payment_cny=payment,
        capacity_cny=capacity,
        penalty_cny=penalty,
        net_cny=net,
        to_users_cny=users,
        kept_cny=net - users,
    )
    sent = StatementMessage.model_validate({**golden(DownTopic.STATEMENTS), "totals": totals})
    content = json.loads(encode(sent))
    assert all(isinstance(value, str) for value in content["totals"].values())
    got = decode_down(DownTopic.STATEMENTS, encode(sent))
    assert isinstance(got, StatementMessage)
    assert got.totals == totals


def award(place: int, text: str = "为什么") -> OfferAward:
    return OfferAward(
        bid_id="b-1",
        zone_id=f"zone-{place}",
        start=START,
        end=START + timedelta(minutes=15),
        offered_kw=10.0,
        minimum_kw=0.0,
        accepted_kw=5.0,
        price_per_kwh=0.5,
        paid_per_kwh=0.5,
        payment_cny=Decimal("0.62"),
        supplement_cny=Decimal("0.00"),
        reason=Reason.AT_THE_MARGIN,
        reason_zh=text,
        reason_en="because",
    )


@pytest.mark.parametrize(("count", "letters", "parts"), [(0, 1, 1), (3, 1, 1), (1200, 500, 3), (4000, 250, 5)])
def test_awards_travel_in_as_many_parts_as_they_need_and_none_is_too_large(
    count: int, letters: int, parts: int
) -> None:
    notice = AwardNotice(
        event_id="e",
        cleared_at=START,
        rule_id="r",
        pricing=Pricing.AS_CLEARED,
        awards=tuple(award(place, "因" * letters) for place in range(count)),
    )
    payloads = encode_awards(notice, START)
    assert len(payloads) == parts
    assert max(map(len, payloads)) <= MAX_MESSAGE_BYTES
    messages = [decode_down(DownTopic.AWARDS, payload) for payload in payloads]
    assert [(each.part, each.parts) for each in messages] == [(k + 1, parts) for k in range(parts)]  # type: ignore[attr-defined]
    assert tuple(each for message in messages for each in message.awards) == notice.awards  # type: ignore[attr-defined]


def test_equal_invitations_are_equal_bytes_whatever_the_order_of_zones() -> None:
    content = golden(DownTopic.INVITATIONS)
    turned = {**content, "zone_ids": content["zone_ids"][::-1]}
    turned["intervals"][0]["areas"][0]["zone_ids"].reverse()
    assert encode(decode_down(DownTopic.INVITATIONS, raw(turned))) == encode(
        decode_down(DownTopic.INVITATIONS, raw(golden(DownTopic.INVITATIONS)))
    )


# ---- every rule by name


@pytest.mark.parametrize(
    ("path", "value", "field", "rule"),
    [
        ("action", "change", "action", "'place' or 'withdraw'"),
        ("action", "withdraw", "offers", "must not be there when a bid is withdrawn"),
        ("offers", [], "offers", "must be there when a bid is placed"),
        ("zone_id", "with space", "zone_id", "pattern"),
        ("price", 1, "price", "not permitted"),
        ("aggregator_id", "beta", "aggregator_id", "not permitted"),
        ("offers.0.start", "2025-07-16T05:00:00", "offers.0.start", "timezone"),
        ("offers.0.minimum_kw", 501.0, "offers.0.minimum_kw", "must not be more than is offered"),
        ("offers.0.minimum_kw", -1, "offers.0.minimum_kw", "greater than or equal to 0"),
        ("offers.0.steps", [], "offers.0.steps", "at least 1"),
        ("offers.0.steps", [{"price_per_kwh": 0, "up_to_kw": 1}] * 51, "offers.0.steps", "at most 50"),
        ("offers.0.steps.1.up_to_kw", 300.0, "offers.0.steps.1.up_to_kw", "more than that of the step before"),
        ("offers.0.steps.1.price_per_kwh", 0.1, "offers.0.steps.1.price_per_kwh", "must not fall"),
        ("offers.0.steps.0.price_per_kwh", "0.35", "offers.0.steps.0.price_per_kwh", "number"),
        ("offers.0.steps.0.price_per_kwh", -0.1, "offers.0.steps.0.price_per_kwh", "greater than or equal to 0"),
        ("offers.0.steps.0.price_per_kwh", float("nan"), "offers.0.steps.0.price_per_kwh", "finite"),
        ("offers.0.steps.0.up_to_kw", 0, "offers.0.steps.0.up_to_kw", "greater than 0"),
    ],
)
def test_a_bad_bid_is_refused_alone_by_field_rule_and_value(path: str, value: Any, field: str, rule: str) -> None:
    [good, other] = golden(UpTopic.BIDS)["bids"]
    bad = with_field({**good, "zone_id": "qingyang"}, path, value)
    received = read(UpTopic.BIDS, bids=[good, bad, other])
    [refusal] = received.refusals
    assert (refusal.index, refusal.field) == (1, field)
    assert rule in refusal.rule
    assert received.indexes == (0, 2)
    assert [bid.zone_id for bid in received.message.bids] == ["jinjiang", "wuhou"]
    receipt = json.loads(received.answer().messages[-1][1])
    assert [item["index"] for item in receipt["refused"]] == [1]


def test_of_two_bids_for_one_zone_in_a_message_the_second_is_refused() -> None:
    [good, _] = golden(UpTopic.BIDS)["bids"]
    received = read(UpTopic.BIDS, bids=[good, good])
    [refusal] = received.refusals
    assert (refusal.index, refusal.field, refusal.rule) == (1, "zone_id", "may occur only once in a message")


@pytest.mark.parametrize(
    ("topic", "fields", "said"),
    [
        (UpTopic.BIDS, {"schema_version": 2}, "bids, schema_version:"),
        (UpTopic.BIDS, {"event_id": ""}, "bids, event_id:"),
        (UpTopic.BIDS, {"event_id": 7}, "bids, event_id:"),
        (UpTopic.BIDS, {"sequence": -1}, "bids, sequence:"),
        (UpTopic.BIDS, {"sequence": 1.5}, "bids, sequence:"),
        (UpTopic.BIDS, {"submitted_at": "2025-07-16T05:00:00Z"}, "bids, submitted_at:"),
        (UpTopic.BIDS, {"bids": None}, "bids, bids:"),
        (UpTopic.BIDS, {"bids": [{"action": "withdraw", "zone_id": "z"}] * 1001}, "at most 1000"),
        (UpTopic.BIDS, {"bids": [{}] * 20_001}, "at most 1000"),
        (UpTopic.DISPUTES, {"version": 0}, "disputes, version:"),
        (UpTopic.DISPUTES, {"version": "1"}, "disputes, version:"),
        (UpTopic.DISPUTES, {"reason": " "}, "disputes, reason: must say what is wrong"),
        (UpTopic.DISPUTES, {"reason": "x" * 501}, "disputes, reason:"),
        (UpTopic.DISPUTES, {"resource_id": "with space"}, "disputes, resource_id:"),
        (UpTopic.DISPUTES, {"amount_cny": "5.00"}, "disputes, amount_cny:"),
    ],
)
def test_a_bad_whole_is_refused_with_message_field_and_rule(topic: UpTopic, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(MessageError) as broken:
        decode_up(topic, raw({**golden(topic), **fields}), CONTEXT)
    assert said in str(broken.value)


@pytest.mark.parametrize("topic", [UpTopic.BIDS, UpTopic.DISPUTES])
def test_an_oversized_message_is_refused_unread(topic: UpTopic) -> None:
    with pytest.raises(MessageError, match=f"{topic.value}: a message has at most 1048576 bytes"):
        decode_up(topic, raw(golden(topic)) + b" " * MAX_MESSAGE_BYTES, CONTEXT)


@pytest.mark.parametrize(
    ("topic", "path", "value", "said"),
    [
        (DownTopic.INVITATIONS, "bids_until", "2025-07-16T05:00:01Z", "bids_until: must not be later than start"),
        (DownTopic.INVITATIONS, "intervals.0.areas.0.at_most_kw", 1.0, "at_most_kw: must not be less"),
        (DownTopic.INVITATIONS, "tick_per_kwh", 0, "tick_per_kwh"),
        (DownTopic.AWARDS, "part", 2, "part: must not be more than parts"),
        (DownTopic.AWARDS, "awards.0.accepted_kw", 501.0, "accepted_kw: must not be more than offered_kw"),
        (DownTopic.AWARDS, "awards.0.payment_cny", 67.5, "text with two digits"),
        (DownTopic.STATEMENTS, "totals.net_cny", "84.26", "net_cny: must be payment"),
        (DownTopic.STATEMENTS, "corrects", None, "corrects: must be the version before"),
    ],
)
def test_the_platform_cannot_say_what_contradicts_itself(topic: DownTopic, path: str, value: Any, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        decode_down(topic, raw(with_field(golden(topic), path, value)))


# ---- to the handler


class Market:
    """A market that refuses the zones it is told to, and keeps what it answered."""

    def __init__(self, faults: Sequence[InputFault] = (), failure: Exception | None = None) -> None:
        self.faults, self.failure = faults, failure
        self.taken: list[tuple[Arrival, BidSubmission | Dispute]] = []
        self.kept: list[bytes] = []

    async def take_bids(self, arrival: Arrival, submission: BidSubmission) -> bytes:
        return self._take(arrival, submission)

    async def take_dispute(self, arrival: Arrival, dispute: Dispute) -> bytes:
        return self._take(arrival, dispute)

    def _take(self, arrival: Arrival, said: BidSubmission | Dispute) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.taken.append((arrival, said))
        self.kept.append(arrival.answer(self.faults))
        return self.kept[-1]


async def test_the_answer_that_goes_out_is_the_one_that_was_kept() -> None:
    market = Market([InputFault("bids", "zone_id", "wuhou", "has no bid to withdraw", 1)])
    [good, other] = golden(UpTopic.BIDS)["bids"]
    received = read(UpTopic.BIDS, bids=[good, {**good, "zone_id": "qingyang", "offers": []}, other])
    answer = await MarketUplink(market).bids("charging-east", received)
    assert answer.to_bytes() == market.kept[0]
    assert Answer.from_bytes(market.kept[0]).messages == answer.messages
    assert [(item.index, item.field) for item in answer.refused] == [(1, "offers"), (2, "zone_id")]
    [(arrival, submission)] = market.taken
    assert isinstance(submission, BidSubmission)
    assert type(submission) is BidSubmission
    assert [bid.zone_id for bid in submission.bids] == ["jinjiang", "wuhou"]
    assert (arrival.aggregator_id, arrival.message_id) == ("charging-east", received.message_id)
    assert (arrival.received_at, arrival.payload) == (START, received.payload)
    assert [(fault.row, fault.field) for fault in arrival.all_faults(market.faults)] == [(1, "offers"), (1, "zone_id")]


async def test_a_refusal_of_the_whole_has_no_index() -> None:
    market = Market([InputFault("disputes", "issued_at", START, "must be a version of the statement")])
    answer = await MarketUplink(market).dispute("charging-east", read(UpTopic.DISPUTES))
    [refusal] = answer.refused
    assert (refusal.index, refusal.field, refusal.value) == (None, "issued_at", repr(START))
    assert type(market.taken[0][1]) is Dispute


async def test_bytes_from_an_earlier_time_go_out_as_they_are() -> None:
    kept = read(UpTopic.BIDS).answer().to_bytes()

    class Remembering(Market):
        async def take_bids(self, arrival: Arrival, submission: BidSubmission) -> bytes:
            return kept

    answer = await MarketUplink(Remembering()).bids("charging-east", read(UpTopic.BIDS))
    assert answer.to_bytes() == kept


async def test_without_a_handler_bids_and_disputes_are_refused_by_rule() -> None:
    nobody = MarketUplink(None)
    with pytest.raises(InputError) as refused:
        await nobody.bids("charging-east", read(UpTopic.BIDS))
    [fault] = refused.value.faults
    assert (fault.place, fault.field, fault.rule) == ("bids", "event_id", NO_BIDS)
    with pytest.raises(InputError, match=NO_DISPUTES):
        await nobody.dispute("charging-east", read(UpTopic.DISPUTES))


async def test_what_the_store_refuses_is_not_answered() -> None:
    with pytest.raises(StoreError):
        await MarketUplink(Market(failure=StoreError("away"))).bids("charging-east", read(UpTopic.BIDS))


# ---- access


@pytest.mark.parametrize("topic", MARKET)
async def test_an_aggregator_reads_its_own_awards_and_bids_in_its_own_name_only(
    topic: UpTopic | DownTopic, tmp_path: Path
) -> None:
    store = FileCredentialStore(tmp_path / "credentials.json")
    for name in ("alpha", "beta"):
        store.set_hash(name, "unused")
    guard = Guard("vpp/v1", store, "secret")
    await guard.read()
    way = "up" if isinstance(topic, UpTopic) else "down"
    own, right = f"vpp/v1/alpha/{way}/{topic.value}", Action.PUBLISH if way == "up" else Action.SUBSCRIBE
    wrong = Action.SUBSCRIBE if way == "up" else Action.PUBLISH
    assert guard.allows("alpha", own, right)
    assert not guard.allows("alpha", own, wrong)
    assert not guard.allows("beta", own, right)
    assert not guard.allows("beta", f"vpp/v1/+/{way}/{topic.value}", right)
    assert not guard.allows("nobody", own, right)
    assert guard.allows("_platform", own, wrong)


@pytest.mark.parametrize("topic", MARKET)
def test_one_of_the_two_lines_of_the_access_file_covers_the_topic(topic: UpTopic | DownTopic) -> None:
    channel = asyncapi.asyncapi_document()["channels"][topic.value]["address"]
    rights = [line.split() for line in access_rule("vpp/v1").splitlines() if line.startswith("pattern")]
    allowed = [
        right for _, right, pattern in rights if channel.startswith(pattern.replace("%u", "{aggregator_id}")[:-1])
    ]
    assert allowed == ["write" if isinstance(topic, UpTopic) else "read"]
