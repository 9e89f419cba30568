"""Bytes to messages: golden samples, every way to be wrong, and arbitrary noise."""

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mqtt import asyncapi
from adapters.mqtt.decode import DecodeContext, decode_down, decode_up, peek_message_id
from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, DownTopic, Refusal, UpTopic, encode, shown
from adapters.mqtt.payloads import (
    EventMessage,
    EventResponseMessage,
    Register,
    SetpointsMessage,
    StorageUpdate,
    Telemetry,
    event_notice,
    event_response,
    setpoint_batch,
)
from adapters.mqtt.uplink import Answer, Received
from models.errors import MessageError
from models.events import EventNotice, EventResponse
from models.plan import SetpointBatch
from models.resources import ResourceKind, Storage

GOLDEN = Path(asyncapi.__file__).with_name("golden")
NOW = datetime(2025, 7, 16, 5, 6, tzinfo=UTC)
CONTEXT = DecodeContext(NOW, "charging-east", lambda name: 250.0 if name == "battery-001" else None)


def golden(topic: UpTopic | DownTopic) -> bytes:
    return (GOLDEN / f"{topic.value}.json").read_bytes().rstrip(b"\n")


def changed(topic: UpTopic, **fields: Any) -> bytes:
    return json.dumps({**json.loads(golden(topic)), **fields}).encode()


def whole_fault(payload: bytes, topic: UpTopic = UpTopic.TELEMETRY) -> str:
    with pytest.raises(MessageError) as broken:
        decode_up(topic, payload, CONTEXT)
    return str(broken.value)


@pytest.mark.parametrize("topic", UpTopic)
def test_a_golden_sample_from_an_aggregator_round_trips_byte_by_byte(topic: UpTopic) -> None:
    decoded = decode_up(topic, golden(topic), CONTEXT)
    assert decoded.refusals == ()
    assert encode(decoded.message) == golden(topic)


@pytest.mark.parametrize("topic", DownTopic)
def test_a_golden_sample_from_the_platform_round_trips_byte_by_byte(topic: DownTopic) -> None:
    assert encode(decode_down(topic, golden(topic))) == golden(topic)


def test_there_is_one_golden_sample_for_each_topic_and_no_other() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {topic.value for topic in (*UpTopic, *DownTopic)}


def test_the_published_asyncapi_document_is_the_one_that_the_types_make() -> None:
    assert asyncapi.PATH.read_text() == asyncapi.asyncapi_text(), "run python -m adapters.mqtt.asyncapi"


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi.asyncapi_document()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            for key, value in part.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert set(document["channels"]) == {topic.value for topic in (*UpTopic, *DownTopic)}


def test_what_is_inside_the_envelope_is_the_type_of_the_house() -> None:
    setpoints = decode_down(DownTopic.SETPOINTS, golden(DownTopic.SETPOINTS))
    event = decode_down(DownTopic.EVENT, golden(DownTopic.EVENT))
    response = decode_up(UpTopic.EVENT_RESPONSE, golden(UpTopic.EVENT_RESPONSE), CONTEXT).message
    register = decode_up(UpTopic.REGISTER, golden(UpTopic.REGISTER), CONTEXT).message
    assert isinstance(setpoints, SetpointsMessage)
    assert isinstance(event, EventMessage)
    assert isinstance(response, EventResponseMessage)
    assert isinstance(register, Register)
    assert type(setpoint_batch(setpoints)) is SetpointBatch
    assert type(event_notice(event)) is EventNotice
    assert type(event_response(response)) is EventResponse
    first = register.changes[0]
    assert isinstance(first, StorageUpdate)
    assert type(first.resource) is Storage
    assert first.resource.model_dump() == Storage.model_validate(first.resource.model_dump()).model_dump()


@pytest.mark.parametrize("kind", ResourceKind)
def test_every_kind_of_resource_can_be_registered(kind: ResourceKind) -> None:
    assert kind.value in json.dumps(asyncapi.asyncapi_document()["components"]["schemas"]["Register"])


def test_absent_and_null_sessions_are_told_apart() -> None:
    message = decode_up(UpTopic.TELEMETRY, golden(UpTopic.TELEMETRY), CONTEXT).message
    assert isinstance(message, Telemetry)
    battery, plugged, unplugged, _ = message.readings
    assert not battery.says_session
    assert plugged.says_session
    assert plugged.session is not None
    assert unplugged.says_session
    assert unplugged.session is None


READING = {"resource_id": "battery-001", "measured_at": "2025-07-16T05:05:00Z", "power_kw": 1.0}


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"power_kw": math.nan}, "power_kw", "finite"),
        ({"power_kw": math.inf}, "power_kw", "finite"),
        ({"power_kw": "1"}, "power_kw", "number"),
        ({"power_kw": True}, "power_kw", "number"),
        ({"power_kw": None}, "power_kw", "number"),
        ({"power_kw": 5001.0}, "power_kw", "20 times the registered 250 kW"),
        ({"power_kw": -5001.0}, "power_kw", "20 times the registered 250 kW"),
        ({"measured_at": "2025-07-16T05:05:00"}, "measured_at", "timezone"),
        ({"measured_at": 1752642300}, "measured_at", "valid datetime"),
        ({"measured_at": "2025-07-16T05:07:01Z"}, "measured_at", "60 s ahead"),
        ({"measured_at": "9999-12-31T23:59:59-12:00"}, "measured_at", "9999"),
        ({"resource_id": "with space"}, "resource_id", "pattern"),
        ({"temperature_celsius": 400.0}, "temperature_celsius", "150"),
        ({"sequence": 1.5}, "sequence", "integer"),
        ({"kw": 3}, "kw", "not permitted"),
        ({"session": {"session_id": "s"}}, "session.arrival", "required"),
    ],
)
def test_a_bad_reading_is_refused_by_field_rule_and_value(fields: dict[str, Any], field: str, rule: str) -> None:
    readings = [READING, {**READING, **fields}, READING]
    decoded = decode_up(UpTopic.TELEMETRY, changed(UpTopic.TELEMETRY, readings=readings), CONTEXT)
    [refusal] = decoded.refusals
    assert (refusal.index, refusal.field) == (1, field)
    assert rule in refusal.rule
    assert decoded.indexes == (0, 2)
    assert isinstance(decoded.message, Telemetry)
    assert len(decoded.message.readings) == 2
    json.dumps(refusal.model_dump(), allow_nan=False)


def test_readings_at_the_limits_are_taken() -> None:
    readings = [
        {**READING, "power_kw": 5000.0},
        {**READING, "measured_at": (NOW + timedelta(seconds=60)).isoformat()},
        {**READING, "resource_id": "unknown-here", "power_kw": 1e9},
    ]
    decoded = decode_up(UpTopic.TELEMETRY, changed(UpTopic.TELEMETRY, readings=readings), CONTEXT)
    assert decoded.refusals == ()


def test_a_message_of_nothing_but_bad_items_is_taken_empty() -> None:
    decoded = decode_up(UpTopic.TELEMETRY, changed(UpTopic.TELEMETRY, readings=[1, 2]), CONTEXT)
    assert isinstance(decoded.message, Telemetry)
    assert decoded.message.readings == ()
    assert [refusal.index for refusal in decoded.refusals] == [0, 1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
        ({"message_id": ""}, "message_id"),
        ({"message_id": None}, "message_id"),
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"readings": None}, "readings"),
        ({"readings": {}}, "readings"),
        ({"readings": [1] * 20_001}, "readings"),
        ({"more": 1}, "more"),
    ],
)
def test_a_bad_envelope_costs_the_whole_message(fields: dict[str, Any], said: str) -> None:
    assert f"telemetry, {said}:" in whole_fault(changed(UpTopic.TELEMETRY, **fields))


def test_a_message_has_at_most_one_mebibyte() -> None:
    payload = golden(UpTopic.TELEMETRY)
    fits = payload + b" " * (MAX_MESSAGE_BYTES - len(payload))
    assert decode_up(UpTopic.TELEMETRY, fits, CONTEXT).refusals == ()
    assert "at most 1048576 bytes" in whole_fault(fits + b" ")
    assert peek_message_id(fits + b" ") == json.loads(payload)["message_id"]


def test_a_flood_of_bad_items_is_refused_in_one_line() -> None:
    for flood in (b"[" + b"1," * 500_000 + b"1]", b"[" + b"{}," * 20_000 + b"{}]"):
        head = b'{"schema_version":1,"message_id":"m","sent_at":"2025-07-16T05:00:00Z","readings":'
        start = time.perf_counter()
        assert "20000" in whole_fault(head + flood + b"}")
        assert time.perf_counter() - start < 10.0


def test_a_receipt_never_outgrows_a_message() -> None:
    readings = [{**READING, "resource_id": f"{'x' * 100}{k}", "power_kw": "y" * 130} for k in range(3_000)]
    decoded = decode_up(UpTopic.TELEMETRY, changed(UpTopic.TELEMETRY, readings=readings), CONTEXT)
    received = Received("charging-east", UpTopic.TELEMETRY, decoded, b"", NOW)
    answer = received.answer()
    assert len(answer.refused) == 3_000
    [(topic, payload)] = answer.messages
    assert len(payload) < MAX_MESSAGE_BYTES
    assert "1000 items more" in decode_down(topic, payload).model_dump_json()


def test_at_most_two_thousand_changes_stand_in_a_message() -> None:
    withdrawals = [{"action": "withdraw", "resource_id": f"r{k}"} for k in range(2001)]
    assert decode_up(UpTopic.REGISTER, changed(UpTopic.REGISTER, changes=withdrawals[:2000]), CONTEXT).refusals == ()
    assert "2000" in whole_fault(changed(UpTopic.REGISTER, changes=withdrawals), UpTopic.REGISTER)


def test_a_bad_profile_costs_those_who_need_it() -> None:
    content = json.loads(golden(UpTopic.REGISTER))
    content["profiles"]["mall-summer"]["values"].pop()
    decoded = decode_up(UpTopic.REGISTER, json.dumps(content).encode(), CONTEXT)
    [refusal] = decoded.refusals
    assert (refusal.index, refusal.field, refusal.value) == (2, "baseline_profile", "mall-summer")
    assert decoded.indexes == (0, 1, 3)


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"kind": "windmill"}, "kind", "windmill"),
        ({"action": "explode"}, "action", "explode"),
        ({"aggregator_id": "somebody-else"}, "aggregator_id", "somebody-else"),
        ({"energy_min_kwh": 501.0}, "energy_min_kwh", "501.0"),
        ({"telemetry_ttl_s": 0}, "telemetry_ttl_s", 0),
        ({"charge_limit_kw": -1}, "charge_limit_kw", -1),
        ({"resource_id": "charger-017"}, "resource_id", "charger-017"),
    ],
)
def test_a_bad_change_is_refused_alone(fields: dict[str, Any], field: str, value: Any) -> None:
    content = json.loads(golden(UpTopic.REGISTER))
    content["changes"].append({**content["changes"][0], "resource_id": "battery-002", **fields})
    decoded = decode_up(UpTopic.REGISTER, json.dumps(content).encode(), CONTEXT)
    [refusal] = decoded.refusals
    assert (refusal.index, refusal.field, refusal.value) == (4, field, value)
    assert len(decoded.indexes) == 4


def test_an_answer_survives_being_kept() -> None:
    decoded = decode_up(UpTopic.TELEMETRY, changed(UpTopic.TELEMETRY, readings=[READING, 7]), CONTEXT)
    received = Received("charging-east", UpTopic.TELEMETRY, decoded, b"", NOW)
    answer = received.answer([received.refuse("resource_id", "is not registered", "battery-001", 0)])
    assert [refusal.index for refusal in answer.refused] == [0, 1]
    assert Answer.from_bytes(answer.to_bytes()).messages == answer.messages
    with pytest.raises(TypeError):
        received.answer_registration([])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(topic=st.sampled_from(list(UpTopic)), payload=st.binary(max_size=200))
def test_arbitrary_bytes_raise_message_errors_and_nothing_else(topic: UpTopic, payload: bytes) -> None:
    peek_message_id(payload)
    with pytest.raises(MessageError):
        decode_up(topic, payload, CONTEXT)
    with pytest.raises(MessageError):
        decode_down(DownTopic.RECEIPT, payload)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), topic=st.sampled_from(list(UpTopic)))
def test_a_sample_with_anything_put_anywhere_is_taken_or_refused(data: st.DataObject, topic: UpTopic) -> None:
    content = json.loads(golden(topic))
    place = content
    while True:  # walk to some place in the sample, and put something else there
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        if key is None:
            break
        if isinstance(place[key], (dict, list)) and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON)
        break
    payload = json.dumps(content).encode()
    try:
        decoded = decode_up(topic, payload, CONTEXT)
    except MessageError:
        return
    encode(decoded.message)
    assert len({refusal.index for refusal in decoded.refusals} & set(decoded.indexes)) == 0
    for refusal in decoded.refusals:
        Refusal.model_validate_json(refusal.model_dump_json())


@given(value=JSON)
@settings(max_examples=50)
def test_whatever_is_refused_can_be_shown_in_json(value: Any) -> None:
    json.dumps(shown(value), allow_nan=False)
    Refusal(message_id=None, field="", rule="", value=shown(value)).model_dump_json()
