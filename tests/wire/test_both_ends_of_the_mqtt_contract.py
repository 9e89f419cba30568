"""The far side and our side were written apart from the same text: here each reads what the other writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt import payloads
from adapters.mqtt.decode import DecodeContext, decode_up
from adapters.mqtt.envelope import DownTopic, UpTopic
from adapters.mqtt.market_payloads import AwardsMessage, BidsMessage, InvitationMessage, StatementMessage
from simulations.scenarios import load_scenario
from simulations.scenarios.generator import generate_fleet
from simulations.wire import codec, market_codec
from simulations.wire.market import flat_price

GOLDEN = Path(payloads.__file__).parent / "golden"
NOW = datetime(2025, 7, 16, 5, tzinfo=UTC)


@pytest.mark.parametrize("topic", DownTopic)
def test_devices_read_every_golden_sample_that_comes_down(topic: DownTopic) -> None:
    received = codec.decode(topic.value, (GOLDEN / f"{topic.value}.json").read_bytes())
    assert received is not None


def test_devices_understand_the_golden_setpoints() -> None:
    batch = codec.decode("setpoints", (GOLDEN / "setpoints.json").read_bytes())
    assert isinstance(batch, codec.ReceivedSetpoints)
    ours = payloads.SetpointsMessage.model_validate_json((GOLDEN / "setpoints.json").read_bytes())
    assert (batch.command_id, batch.sequence, batch.valid_from, batch.valid_until) == (
        ours.command_id,
        ours.sequence,
        ours.valid_from,
        ours.valid_until,
    )
    assert batch.setpoints == tuple((each.resource_id, each.power_kw) for each in ours.setpoints)


def test_the_platform_reads_every_registration_of_the_scenario() -> None:
    fleet = generate_fleet(load_scenario("chengdu-2025-07-16"))
    for changes in fleet.registrations.values():
        fields = {"changes": changes, "profiles": fleet.profiles}
        message = payloads.Register.model_validate_json(codec.encode("m-1", NOW, fields))
        assert len(message.changes) == len(changes)


SESSION = {
    "session_id": "s-1",
    "arrival": "2025-07-16T04:00:00Z",
    "departure": "2025-07-16T09:00:00Z",
    "energy_needed_kwh": 20.0,
    "battery_capacity_kwh": 60.0,
    "battery_start_kwh": 10.0,
}
ACK = {"command_id": "c-1", "status": "refused", "resource_id": "a", "reason": "does not want to"}
RESPONSE = {"event_id": "e-1", "answer": "accept_part", "accepted_kw": 5.0, "opted_out_resource_ids": ["a"]}


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 1.5, 1, energy_kwh=3.0, temperature_celsius=25.0)]}),
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 1.5, 1) | {"session": SESSION}]}),
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 0.0, 2) | {"session": None}]}),
        (UpTopic.ACK, {"acks": [ACK, {"command_id": "c-2", "status": "done", "resource_id": None, "reason": ""}]}),
        (UpTopic.EVENT_RESPONSE, RESPONSE),
        (UpTopic.STATUS, {"status": "online", "reason": ""}),
        (UpTopic.BIDS, {"event_id": "e-1", "sequence": 1, "bids": [market_codec.withdraw("north")]}),
        (UpTopic.DISPUTES, market_codec.dispute("e-1", 2, "meter stood still")),
        (UpTopic.DISPUTES, market_codec.dispute("e-1", 2, "meter stood still", "mall-003")),
    ],
)
def test_the_platform_reads_what_gateways_send(topic: UpTopic, fields: dict[str, Any]) -> None:
    message = payloads.UP_TYPES[topic].model_validate_json(codec.encode("m-1", NOW, fields))
    assert message.message_id == "m-1"
    if isinstance(message, payloads.Telemetry) and "session" in fields["readings"][0]:
        assert message.readings[0].says_session


def test_both_ends_understand_the_golden_market_alike() -> None:
    theirs = codec.decode("invitations", (GOLDEN / "invitations.json").read_bytes())
    ours = InvitationMessage.model_validate_json((GOLDEN / "invitations.json").read_bytes())
    assert isinstance(theirs, market_codec.ReceivedInvitation)
    for name in ("event_id", "status", "direction", "start", "end", "zone_ids", "pricing", "bids_until", "reason"):
        assert getattr(theirs, name) == getattr(ours, name), name
    for name in ("floor_per_kwh", "cap_per_kwh", "tick_per_kwh", "quantum_kw"):
        assert getattr(theirs, name) == getattr(ours, name), name
    for one, other in zip(theirs.intervals, ours.intervals, strict=True):
        assert (one.start, one.end, one.need_kw) == (other.start, other.end, other.need_kw)
        for area, same in zip(one.areas, other.areas, strict=True):
            assert (area.area_id, area.zone_ids) == (same.area_id, same.zone_ids)
            assert (area.at_least_kw, area.at_most_kw) == (same.at_least_kw, same.at_most_kw)


def test_both_ends_understand_golden_awards_and_statements_alike() -> None:
    awards = codec.decode("awards", (GOLDEN / "awards.json").read_bytes())
    ours = AwardsMessage.model_validate_json((GOLDEN / "awards.json").read_bytes())
    assert isinstance(awards, market_codec.ReceivedAwards)
    assert (awards.cleared_at, awards.part, awards.parts) == (ours.cleared_at, ours.part, ours.parts)
    for one, other in zip(awards.awards, ours.awards, strict=True):
        for name in market_codec.ReceivedAward.__dataclass_fields__:
            assert getattr(one, name) == getattr(other, name), name
    statement = codec.decode("statements", (GOLDEN / "statements.json").read_bytes())
    mine = StatementMessage.model_validate_json((GOLDEN / "statements.json").read_bytes())
    assert isinstance(statement, market_codec.ReceivedStatement)
    for name in market_codec.ReceivedStatement.__dataclass_fields__:
        assert getattr(statement, name) == getattr(mine.totals if name.endswith("_cny") else mine, name), name


def test_the_platform_reads_what_a_bidder_offers_on_an_invitation() -> None:
    invitation = codec.decode("invitations", (GOLDEN / "invitations.json").read_bytes())
    assert isinstance(invitation, market_codec.ReceivedInvitation)
    offers = flat_price({"jinjiang": 120.7, "elsewhere": 50.0}, 0.3334)(invitation)
    placed = [market_codec.place(zone_id, wanted) for zone_id, wanted in offers.items()]
    payload = codec.encode("m-1", NOW, {"event_id": invitation.event_id, "sequence": 1, "bids": placed})
    decoded = decode_up(UpTopic.BIDS, payload, DecodeContext(NOW, "industry"))
    assert decoded.refusals == ()
    assert isinstance(decoded.message, BidsMessage)
    [bid] = decoded.message.bids
    assert bid.zone_id == "jinjiang"
    assert [each.start for each in bid.offers] == [each.start for each in invitation.intervals]
    assert {(step.price_per_kwh, step.up_to_kw) for each in bid.offers for step in each.steps} == {(0.333, 120.0)}
