"""What aggregator and platform say to each other, over real brokers."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
import pytest

from models.errors import BrokerError, DeviceError, EventStateError, StoreError
from models.events import Direction, EventNotice
from models.plan import Setpoint, SetpointBatch

pytestmark = pytest.mark.wire
Make = Callable[..., dict[str, Any]]
START = datetime(2025, 7, 16, 5, tzinfo=UTC)


def batch(count: int = 2, aggregator_id: str = "alpha", sequence: int = 7) -> SetpointBatch:
    return SetpointBatch(
        command_id=f"command-{sequence}",
        aggregator_id=aggregator_id,
        sequence=sequence,
        plan_hash="f" * 64,
        valid_from=START,
        valid_until=START + timedelta(minutes=10),
        setpoints=(
            *(Setpoint(resource_id=f"b{k}", power_kw=-2.5) for k in range(count - 1)),
            Setpoint(resource_id="last", power_kw=None),
        ),
    )


async def test_every_resource_of_a_registration_gets_a_yes_or_a_no(platform: Any, message: Make, battery: Make) -> None:
    async with platform.gateway("beta") as beta, platform.gateway("alpha") as alpha:
        taken = message(changes=[battery("theirs", "beta", meter_id="shared-meter")])
        await beta.send("register", taken)
        await beta.receipt(taken["message_id"])
        sent = message(
            changes=[
                battery("good"),
                battery("bad-level", energy_start_kwh=11.0),
                battery("bad-unit", charge_limit_kw="5 kW"),
                battery("bad-field", colour="red"),
                battery("bad-owner", aggregator_id="beta"),
                battery("bad-meter", meter_id="shared-meter"),
                battery("good"),
                {"action": "withdraw", "resource_id": "gone"},
            ]
        )
        await alpha.send("register", sent)
        result = await alpha.expect("register-result")
        receipt = await alpha.receipt(sent["message_id"])
    assert result["register_message_id"] == sent["message_id"]
    assert [row["index"] for row in result["results"]] == list(range(8))
    assert [row["accepted"] for row in result["results"]] == [True, *[False] * 6, True]
    said = {row["resource_id"]: (row["field"], row["value"]) for row in result["results"][1:6]}
    assert said == {
        "bad-level": ("energy_start_kwh", "11.0"),
        "bad-unit": ("charge_limit_kw", "5 kW"),
        "bad-field": ("colour", "red"),
        "bad-owner": ("aggregator_id", "beta"),
        "bad-meter": ("meter_id", "shared-meter"),
    }
    assert all(row["rule"] for row in result["results"] if not row["accepted"])
    assert [item["index"] for item in receipt["refused"]] == [1, 2, 3, 4, 5, 6]
    assert set(platform.handler.resources) == {"theirs", "good"}


async def test_the_same_message_twice_changes_nothing_and_gets_the_same_answer(
    platform: Any, message: Make, battery: Make, until: Any
) -> None:
    async with platform.gateway("alpha") as alpha:
        sent = message(changes=[battery("one"), battery("two", energy_start_kwh=99.0)])
        for _ in range(3):
            await alpha.send("register", sent)
        await until(lambda: alpha.count("receipt", sent["message_id"]) == 3)
    assert platform.handler.applied == [("alpha", sent["message_id"])]
    answers = [json.dumps(content) for topic, content, _ in alpha.inbox if topic == "register-result"]
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert platform.link.counters.answered_again == 2


async def test_one_bad_reading_does_not_cost_the_others(
    platform: Any, message: Make, battery: Make, reading: Make
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("register", message(changes=[battery("one")]))
        await alpha.expect("register-result")
        later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()  # noqa: TID251
        readings = [reading("one", minute) for minute in range(50)]
        readings[7] = reading("one", 7, power_kw=float("nan"))
        readings[11] = reading("stranger", 11)
        readings[13] = reading("one", 13, power_kw=1000.0)
        readings[17] = reading("one", measured_at=later)
        readings[19] = reading("one", 19, power="1 kW")
        sent = message(readings=readings)
        await alpha.send("telemetry", sent)
        receipt = await alpha.receipt(sent["message_id"])
    refused = {item["index"]: item["field"] for item in receipt["refused"]}
    assert refused == {7: "power_kw", 11: "resource_id", 13: "power_kw", 17: "measured_at", 19: "power"}
    assert len(platform.handler.readings) == 45
    assert platform.link.counters.refused_items == 5


async def test_a_message_that_was_not_committed_is_not_answered_until_it_is(
    platform: Any, message: Make, battery: Make, reading: Make, until: Any
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("register", message(changes=[battery("one")]))
        await alpha.expect("register-result")
        platform.handler.failures_to_come = [StoreError("disk full")]
        sent = message(readings=[reading("one")])
        await alpha.send("telemetry", sent)
        await until(lambda: platform.link.counters.handler_failures == 1)
        await alpha.send("telemetry", message("after", readings=[reading("one", 1)]))
        await alpha.receipt("after")
        assert alpha.count("receipt", sent["message_id"]) == 0
        assert len(platform.handler.readings) == 1
        await alpha.send("telemetry", sent)
        assert (await alpha.receipt(sent["message_id"]))["refused"] == []
    assert len(platform.handler.readings) == 2


async def test_the_receipt_comes_after_the_commit_and_not_before(platform: Any, message: Make, until: Any) -> None:
    platform.handler.gate = asyncio.Event()
    async with platform.gateway("alpha") as alpha:
        await alpha.send("ack", message("waiting", acks=[{"command_id": "c", "status": "done"}]))
        await until(lambda: platform.link.counters.received == 1)
        await asyncio.sleep(0.2)
        assert alpha.inbox == []
        platform.handler.gate.set()
        await alpha.receipt("waiting")


async def test_a_slow_aggregator_does_not_hold_up_another(platform: Any, message: Make, until: Any) -> None:
    platform.handler.gate = asyncio.Event()
    async with platform.gateway("alpha") as alpha, platform.gateway("beta") as beta:
        await alpha.send("ack", message("slow", acks=[{"command_id": "c", "status": "done"}]))
        await until(lambda: platform.link.counters.received == 1)
        await beta.send("ack", b"not json")
        await beta.expect("receipt")
        assert alpha.inbox == []
        platform.handler.gate.set()
        await alpha.receipt("slow")


async def test_a_handler_that_breaks_does_not_stop_the_stream_and_is_given_up_after_three_tries(
    platform: Any, message: Make, until: Any
) -> None:
    platform.handler.failures_to_come = [RuntimeError("bug")] * 3
    poison = message("poison", acks=[{"command_id": "c", "status": "done"}])
    async with platform.gateway("alpha") as alpha:
        for tries in (1, 2, 3):
            await alpha.send("ack", poison)
            await until(lambda tries=tries: platform.link.counters.handler_failures == tries)
        receipt = await alpha.receipt("poison")
        assert "3 times" in receipt["refused"][0]["rule"]
        await alpha.send("ack", message("fine", acks=[{"command_id": "c", "status": "done"}]))
        await alpha.receipt("fine")
    assert [topic for _, topic, _, _ in platform.handler.dead] == ["vpp/v1/alpha/up/ack"]


async def test_setpoints_carry_their_end_their_order_and_the_way_home(platform: Any) -> None:
    async with platform.gateway("alpha") as alpha:
        await platform.link.send_setpoints(batch())
        content = await alpha.expect("setpoints")
    assert alpha.inbox[0][2] is False, "a command is never retained"
    assert content["command_id"] == "command-7"
    assert content["sequence"] == 7
    assert content["plan_hash"] == "f" * 64
    assert (content["valid_from"], content["valid_until"]) == ("2025-07-16T05:00:00Z", "2025-07-16T05:10:00Z")
    assert content["setpoints"] == [
        {"resource_id": "b0", "power_kw": -2.5},
        {"resource_id": "last", "power_kw": None},
    ]
    async with platform.gateway("alpha") as late:
        await asyncio.sleep(0.3)
        assert late.inbox == []


async def test_a_batch_too_large_for_a_message_is_an_error_here_and_not_a_loss_there(platform: Any) -> None:
    with pytest.raises(DeviceError, match="more than 1048576"):
        await platform.link.send_setpoints(batch(30_000))


async def test_an_event_is_announced_and_answered(platform: Any, message: Make) -> None:
    notice = EventNotice(
        event_id="event-1",
        status="notified",
        direction=Direction.SHAVE,
        start=START,
        end=START + timedelta(hours=1),
        share_kw=120.0,
        respond_by=START - timedelta(hours=1),
    )
    async with platform.gateway("alpha") as alpha:
        await platform.link.send_event("alpha", notice)
        content = await alpha.expect("event")
        assert (content["event_id"], content["share_kw"]) == ("event-1", 120.0)
        answer = message(event_id="event-1", answer="accept_part", accepted_kw=100.0)
        await alpha.send("event-response", answer)
        assert (await alpha.receipt(answer["message_id"]))["refused"] == []
    assert platform.handler.others[0].accepted_kw == 100.0


async def test_acknowledgements_say_taken_refused_and_done(platform: Any, message: Make, golden: Any) -> None:
    async with platform.gateway("charging-east") as gateway:
        sent = golden("ack")
        await gateway.send("ack", sent)
        await gateway.receipt(sent["message_id"])
        bad = message(acks=[{"command_id": "c", "status": "refused"}, {"command_id": "c", "status": "done"}])
        await gateway.send("ack", bad)
        receipt = await gateway.receipt(bad["message_id"])
    assert [each.status for each in platform.handler.others[0].acks] == ["taken", "refused", "done"]
    assert [(item["index"], item["field"]) for item in receipt["refused"]] == [(0, "reason")]


async def test_capability_is_taken(platform: Any, golden: Any) -> None:
    async with platform.gateway("charging-east") as gateway:
        await gateway.send("capability", golden("capability"))
        await gateway.receipt(golden("capability")["message_id"])
    assert platform.handler.others[0].capabilities[0].decrease_kw == 1850.0


async def test_a_gateway_that_drops_dead_is_reported_by_its_last_will(platform: Any, message: Make, until: Any) -> None:
    await platform.add("alpha")
    will = aiomqtt.Will("vpp/v1/alpha/up/status", json.dumps(message(status="offline")), qos=1, retain=True)
    client = platform.client("alpha", will=will, keepalive=5)
    await client.__aenter__()
    await client.publish("vpp/v1/alpha/up/status", json.dumps(message(status="online")), qos=1, retain=True)
    await until(lambda: platform.handler.statuses == [("alpha", "online")])
    client._client._sock_close()  # no goodbye
    await until(lambda: ("alpha", "offline") in platform.handler.statuses)


BROKEN = {
    "garbage": b"\xff\xfe\x00 no json",
    "unknown field": b'{"schema_version":1,"message_id":"m","sent_at":"2025-07-16T05:00Z","acks":[],"x":1}',
    "wrong version": b'{"schema_version":2,"message_id":"m","sent_at":"2025-07-16T05:00:00Z","acks":[]}',
    "not a number": b'{"schema_version":NaN,"message_id":"m","sent_at":"2025-07-16T05:00:00Z","acks":[]}',
    "no list": b'{"schema_version":1,"message_id":"m","sent_at":"2025-07-16T05:00:00Z"}',
    "naive time": b'{"schema_version":1,"message_id":"m","sent_at":"2025-07-16T05:00:00","acks":[]}',
    "too large": b'{"schema_version":1,"message_id":"m",' + b" " * 1024 * 1024 + b'"acks":[]}',
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_is_set_aside_and_its_sender_told(name: str, platform: Any, message: Make) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("ack", BROKEN[name])
        receipt = await alpha.expect("receipt")
        await alpha.send("ack", message("fine", acks=[{"command_id": "c", "status": "done"}]))
        await alpha.receipt("fine")
    expected = [] if name == "garbage" else ["m"]
    assert receipt["message_ids"] == expected
    assert receipt["refused"][0]["rule"]
    [(aggregator_id, topic, payload, refusals)] = platform.handler.dead
    assert (aggregator_id, topic, payload) == ("alpha", "vpp/v1/alpha/up/ack", BROKEN[name])
    assert refusals
    assert platform.link.counters.dead_letters == 1


async def test_a_dead_letter_that_could_not_be_kept_is_not_answered(platform: Any, message: Make, until: Any) -> None:
    platform.handler.failures_to_come = [StoreError("disk full")]
    broken = BROKEN["wrong version"]
    async with platform.gateway("alpha") as alpha:
        await alpha.send("ack", broken)
        await until(lambda: platform.link.counters.handler_failures == 1)
        assert alpha.inbox == []
        await alpha.send("ack", broken)
        await alpha.receipt("m")
    assert len(platform.handler.dead) == 1


async def test_a_step_that_the_house_does_not_allow_is_refused_and_not_asked_for_again(
    platform: Any, message: Make
) -> None:
    platform.handler.failures_to_come = [EventStateError("event-1", "ended", "answer", "it is over")]
    async with platform.gateway("alpha") as alpha:
        await alpha.send("event-response", message("late", event_id="event-1", answer="accept"))
        receipt = await alpha.receipt("late")
    assert "it is over" in receipt["refused"][0]["rule"]
    assert len(platform.handler.dead) == 1


async def test_a_status_that_cannot_be_read_is_set_aside_without_an_answer(
    platform: Any, message: Make, until: Any
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("status", message(status="asleep"))
        await until(lambda: len(platform.handler.dead) == 1)
        await asyncio.sleep(0.1)
        assert alpha.inbox == []


async def test_an_unknown_topic_is_set_aside(platform: Any, message: Make) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("telepathy", message("m"))
        receipt = await alpha.receipt("m")
    assert receipt["refused"][0]["value"] == "telepathy"
    assert len(platform.handler.dead) == 1


async def test_without_a_broker_sending_is_an_error_that_may_be_tried_again(platform: Any, until: Any) -> None:
    await platform.broker.stop()
    await until(lambda: not platform.link.connected)
    with pytest.raises(BrokerError, match="not connected") as failed:
        await platform.link.send_setpoints(batch())
    assert failed.value.retryable
