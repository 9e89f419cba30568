"""A market over real brokers: invitation, bids, awards, statement, dispute; and nobody in the place of another."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiomqtt
import pytest

from models.bid_intake import faults_of_bids
from models.clearing.clear import clear
from models.clearing.market import Bid, Market, MarketRule, Need
from models.errors import StoreError
from models.events import Direction
from models.market_messages import Arrival, AwardNotice, BidSubmission, Invitation
from models.market_notices import award_notice, invitation
from models.money_messages import Dispute, StatementNotice, StatementTotals
from simulations.clock import VirtualClock
from simulations.wire.gateway import AggregatorGateway
from simulations.wire.market import flat_price
from simulations.wire.orders import Outcome

pytestmark = pytest.mark.wire
START = datetime(2025, 7, 16, 5, tzinfo=UTC)
LOCAL = ZoneInfo("Asia/Shanghai")
GATEWAY = Path(__file__).parents[2] / "adapters/mqtt/examples/gateway.py"


class MemoryMarket:
    """A market of one event that keeps the rule: effects and answer in one step, or neither."""

    def __init__(self, answers: dict[tuple[str, str], bytes], start: datetime, now: datetime) -> None:
        needs = (Need(start=start, end=start + timedelta(minutes=15), need_kw=150.0),)
        self.market = Market(market_id="event-1", zone_ids=frozenset({"jinjiang", "wuhou"}), needs=needs)
        self.invitation: Invitation = invitation(self.market, "event-1", Direction.SHAVE, now + timedelta(minutes=20))
        self.bids: dict[tuple[str, str], Bid] = {}
        self.sequences: dict[tuple[str, str], int] = {}
        self.disputes: list[tuple[str, Dispute]] = []
        self.failures_to_come: list[Exception] = []
        self._answers = answers

    def _keep(self, arrival: Arrival, answer: bytes) -> bytes:
        key = (arrival.aggregator_id, arrival.message_id)
        assert key not in self._answers, "applied twice"
        self._answers[key] = answer
        return answer

    async def take_bids(self, arrival: Arrival, submission: BidSubmission) -> bytes:
        if self.failures_to_come:
            raise self.failures_to_come.pop(0)
        sender, at = arrival.aggregator_id, arrival.received_at
        mine = {zone: number for (name, zone), number in self.sequences.items() if name == sender}
        faults = faults_of_bids(submission, sender, at, self.invitation, MarketRule(), mine)
        bad = {fault.row for fault in faults}
        for row, bid in enumerate(submission.bids):
            if row in bad or None in bad:
                continue
            self.sequences[sender, bid.zone_id] = submission.sequence
            if bid.action == "withdraw":
                self.bids.pop((sender, bid.zone_id), None)
            else:
                self.bids[sender, bid.zone_id] = bid.as_bid(f"{sender}.{bid.zone_id}", sender, at)
        return self._keep(arrival, arrival.answer(faults))

    async def take_dispute(self, arrival: Arrival, dispute: Dispute) -> bytes:
        self.disputes.append((arrival.aggregator_id, dispute))
        return self._keep(arrival, arrival.answer([]))

    def awards(self, aggregator_id: str) -> AwardNotice:
        """Clear with the bids that are there."""
        full = self.market.model_copy(update={"bids": tuple(self.bids.values())})
        return award_notice(clear(full), "event-1", aggregator_id, self.invitation.bids_until, LOCAL)


class NoDevices:
    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        return Outcome("taken")


@pytest.fixture
async def market(platform: Any) -> MemoryMarket:
    """The platform's market, from now on."""
    now = datetime.now(UTC)  # noqa: TID251
    made = MemoryMarket(platform.handler.answers, now + timedelta(hours=1), now)
    await platform.stop_link()
    platform.market = made
    await platform.start_link()
    return made


def placed(zone_id: str, price: float, power_kw: float, start: datetime) -> dict[str, Any]:
    steps = [{"price_per_kwh": price, "up_to_kw": power_kw}]
    return {"action": "place", "zone_id": zone_id, "offers": [{"start": start.isoformat(), "steps": steps}]}


def statement() -> StatementNotice:
    money = {"payment_cny": "10.00", "capacity_cny": "0.00", "penalty_cny": "1.50", "net_cny": "8.50"}
    totals = StatementTotals.model_validate({**money, "to_users_cny": "6.80", "kept_cny": "1.70"})
    return StatementNotice(
        event_id="event-1",
        version=1,
        status="issued",
        issued_at=START,
        totals=totals,
        sha256="f" * 64,
        path="/api/v1/statements/event-1/1",
    )


async def test_a_full_round_from_invitation_to_dispute(platform: Any, market: MemoryMarket, until: Any) -> None:
    url, start = f"mqtt://{platform.broker.host}:{platform.broker.port}", market.market.needs[0].start
    bidder = flat_price({"jinjiang": 100.4}, 0.4)
    gateway = AggregatorGateway("alpha", VirtualClock(START), NoDevices(), [], bidder=bidder)
    await gateway.start(url, await platform.add("alpha"))
    try:
        async with platform.gateway("beta") as beta:
            for name in ("alpha", "beta"):
                await platform.link.send_invitation(name, market.invitation)
            invited = await beta.expect("invitations")
            envelope = {"schema_version": 1, "message_id": "bid-1", "sent_at": "2025-07-16T05:00:00Z"}
            bid = {**envelope, "event_id": invited["event_id"], "bids": [placed("wuhou", 0.6, 100.0, start)]}
            await beta.send("bids", bid)
            assert (await beta.receipt("bid-1"))["refused"] == []
            await until(lambda: len(market.bids) == 2)
            await gateway.settled(10)
            for name in ("alpha", "beta"):
                await platform.link.send_awards(name, market.awards(name))
            theirs = await beta.expect("awards")
            await until(lambda: "event-1" in gateway.market.awards)
            await platform.link.send_statement("alpha", statement())
            await until(lambda: "event-1" in gateway.market.statements)
            gateway.market.dispute("event-1", 1, "meter stood still", "mall-003")
            await gateway.settled(10)
    finally:
        await gateway.stop()
    [award] = gateway.market.awards["event-1"].awards
    assert gateway.market.awards["event-1"].is_complete
    assert (award.zone_id, award.accepted_kw, award.price_per_kwh) == ("jinjiang", 100.0, 0.6)
    assert award.payment_cny == Decimal("15.00")
    assert "全部中标" in award.reason_zh
    [other] = theirs["awards"]
    assert (other["zone_id"], other["accepted_kw"], other["reason"]) == ("wuhou", 50.0, "at_the_margin")
    assert gateway.market.statements["event-1"][0].net_cny == Decimal("8.50")
    [(sender, dispute)] = market.disputes
    assert (sender, dispute.version, dispute.resource_id) == ("alpha", 1, "mall-003")
    counters = platform.link.counters
    assert (counters.invitations_sent, counters.awards_sent, counters.statements_sent) == (2, 2, 1)


async def test_a_bid_is_replaced_withdrawn_and_refused_by_rule_until_the_gate_closes(
    platform: Any, market: MemoryMarket, message: Callable[..., dict[str, Any]]
) -> None:
    start = market.market.needs[0].start
    async with platform.gateway("alpha") as alpha:

        async def said(sequence: int, *bids: dict[str, Any]) -> list[tuple[int | None, str]]:
            sent = message(event_id="event-1", sequence=sequence, bids=list(bids))
            await alpha.send("bids", sent)
            receipt = await alpha.receipt(sent["message_id"])
            return [(item["index"], item["field"]) for item in receipt["refused"]]

        assert await said(1, placed("jinjiang", 0.5, 80.0, start), placed("north", 0.5, 80.0, start)) == [
            (1, "zone_id")
        ]
        first = market.bids["alpha", "jinjiang"]
        assert await said(2, placed("jinjiang", 0.4, 90.0, start), {"action": "place"}) == [(1, "zone_id")]
        second = market.bids["alpha", "jinjiang"]
        assert (second.offers[0].offered_kw, second.submitted_at > first.submitted_at) == (90.0, True)
        assert await said(1, placed("jinjiang", 0.3, 10.0, start)) == [(0, "sequence")]
        assert await said(3, placed("jinjiang", 3.5, 10.0, start)) == [(0, "offers.0.steps.0.price_per_kwh")]
        assert market.bids == {("alpha", "jinjiang"): second}
        assert await said(4, {"action": "withdraw", "zone_id": "jinjiang"}) == []
        assert market.bids == {}
        market.invitation = market.invitation.model_copy(update={"status": "closed"})
        assert await said(5, placed("jinjiang", 0.3, 10.0, start)) == [(None, "event_id")]


async def test_a_bid_is_applied_once_and_answered_with_the_same_bytes(
    platform: Any, market: MemoryMarket, message: Callable[..., dict[str, Any]], until: Any
) -> None:
    bids = [placed("jinjiang", 0.5, 80.0, market.market.needs[0].start), {"action": "withdraw", "zone_id": "wuhou"}]
    sent = message("bid-1", event_id="event-1", bids=bids)
    market.failures_to_come = [StoreError("away")]
    async with platform.gateway("alpha") as alpha:
        await alpha.send("bids", sent)
        await until(lambda: platform.link.counters.handler_failures == 1)
        assert alpha.inbox == []
        await alpha.send("bids", sent)
        await alpha.receipt("bid-1")
        await alpha.send("bids", sent)
        await until(lambda: alpha.count("receipt", "bid-1") == 2)
        receipts = [content for topic, content, _ in alpha.inbox if topic == "receipt"]
        assert receipts[0] == receipts[1]
        assert [item["rule"] for item in receipts[0]["refused"]] == ["has no bid to withdraw"]
    assert platform.link.counters.answered_again == 1


@pytest.mark.parametrize("last", ["bids", "disputes"])
async def test_a_platform_without_a_market_says_so_and_sets_the_message_aside(
    last: str, platform: Any, golden: Callable[[str], dict[str, Any]]
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send(last, golden(last))
        receipt = await alpha.receipt(golden(last)["message_id"])
    [refusal] = receipt["refused"]
    assert (refusal["index"], refusal["field"], refusal["rule"]) == (
        None,
        "event_id",
        f"this platform takes no {last}",
    )
    assert [topic for _, topic, _, _ in platform.handler.dead] == [f"vpp/v1/alpha/up/{last}"]
    assert platform.handler.applied == []


async def test_nobody_reads_the_awards_of_another_or_bids_in_its_name(
    platform: Any, market: MemoryMarket, message: Callable[..., dict[str, Any]]
) -> None:
    start = market.market.needs[0].start
    async with platform.gateway("beta") as beta, platform.gateway("alpha") as alpha:
        for last in ("awards", "statements", "invitations", "#"):
            with contextlib.suppress(aiomqtt.MqttError):
                await alpha.client.subscribe(f"vpp/v1/beta/down/{last}", qos=1)
            with contextlib.suppress(aiomqtt.MqttError):
                await alpha.client.subscribe(f"vpp/v1/+/down/{last}", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):
            await alpha.client.subscribe("vpp/v1/beta/up/bids", qos=1)
        own = message("own", event_id="event-1", bids=[placed("jinjiang", 0.5, 80.0, start)])
        await beta.send("bids", own)
        await beta.receipt("own")
        forged = message("forged", event_id="event-1", sequence=9, bids=[placed("jinjiang", 0.1, 1.0, start)])
        for topic in ("vpp/v1/beta/up/bids", "vpp/v1/beta/down/awards", "vpp/v1/alpha/down/awards"):
            with contextlib.suppress(aiomqtt.MqttError):
                await alpha.client.publish(topic, json.dumps(forged), qos=1)
        await platform.link.send_awards("beta", market.awards("beta"))
        await platform.link.send_statement("beta", statement())
        await beta.expect("statements")
        mine = message("mine", event_id="event-1", bids=[placed("wuhou", 0.5, 80.0, start)])
        await alpha.send("bids", mine)
        await alpha.receipt("mine")
        await asyncio.sleep(0.2)
        assert [topic for topic, _, _ in alpha.inbox] == ["receipt"]
        assert [topic for topic, _, _ in beta.inbox] == ["receipt", "awards", "statements"]
    assert {key: bid.offers[0].offered_kw for key, bid in market.bids.items()} == {
        ("beta", "jinjiang"): 80.0,
        ("alpha", "wuhou"): 80.0,
    }


async def test_the_example_gateway_bids_from_a_price_file(
    platform: Any, market: MemoryMarket, tmp_path: Path, until: Callable[..., Any]
) -> None:
    secret, prices = tmp_path / "secret", tmp_path / "prices.csv"
    secret.write_text(await platform.add("alpha"))
    prices.write_text("zone_id,price_per_kwh,up_to_kw\njinjiang,0.35,100\njinjiang,0.6,190.5\nelsewhere,0.1,5\n")
    command = [sys.executable, "-W", "error", str(GATEWAY), "--aggregator", "alpha", "--batteries", "2"]
    command += ["--host", platform.broker.host, "--port", str(platform.broker.port)]
    command += ["--password-file", str(secret), "--bid-file", str(prices)]
    pipe = asyncio.subprocess.PIPE
    gateway = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        await until(lambda: ("alpha", "online") in platform.handler.statuses, 60)
        await platform.link.send_invitation("alpha", market.invitation)
        await until(lambda: bool(market.bids), 30)
        bid = market.bids["alpha", "jinjiang"]
        await platform.link.send_invitation("alpha", market.invitation)  # the same again: no reason to bid again
        await platform.link.send_awards("alpha", market.awards("alpha"))
        await platform.link.send_statement("alpha", statement())
        async with asyncio.timeout(30):
            said = ""
            while "statement 1" not in said:
                assert gateway.stdout is not None
                said += (await gateway.stdout.readline()).decode()
    finally:
        gateway.kill()
        rest = (await gateway.communicate())[0].decode()
    assert "Traceback" not in said + rest, said + rest
    assert [(step.price_per_kwh, step.up_to_kw) for step in bid.offers[0].steps] == [(0.35, 100.0), (0.6, 190.0)]
    assert market.bids == {("alpha", "jinjiang"): bid}
    assert "150 of 190 kW accepted" in said
    assert "issued: 8.50 CNY" in said
